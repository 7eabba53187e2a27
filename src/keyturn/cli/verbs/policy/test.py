"""`keyturn policy test`: run the cases of a policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit, home_of
from keyturn.cli.output import AsJson, Column, emit, emit_json, json_option, note

if TYPE_CHECKING:
    from keyturn.assembly.changing import Tested
    from keyturn.policy.cases.running import CaseResult


@click.command(short_help="Run the cases of policy.toml.")
@click.option("--text", metavar="SEQ|DIGEST", help="Test a policy of the ledger, not the file on disk.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML as well.")
@json_option
@click.pass_context
def command(ctx: click.Context, text: str | None, junit: Path | None, as_json: AsJson) -> None:
    """Run the cases in the folder that policy.toml names as `tests`, each PASS or FAIL.

    Rules that no case reached are listed. Exits 1 when a case fails, and when there is none.
    """
    from keyturn.assembly.changing import run_tests

    found = run_tests(home_of(ctx), text)
    if junit is not None:
        _write(junit, found)
    if as_json:
        emit_json(_json(found), as_json)
    else:
        _say(found)
    if found.run.failures:
        ctx.exit(Exit.FAILURE)


def _write(path: Path, found: Tested) -> None:
    from keyturn.model.errors import ConfigurationError
    from keyturn.policy.cases.junit import junit

    try:
        path.write_text(junit(found.run, found.policy), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error


def _json(found: Tested) -> dict[str, object]:
    run = found.run
    return {
        "ok": not run.failures,
        "policy": found.policy,
        "passed": len(run.results) - len(run.failures),
        "failed": len(run.failures),
        "cases": [_case(result) for result in run.results],
        "unreached": [{"kind": kind, "rule": rule, "place": place} for kind, rule, place in run.unreached],
    }


def _case(result: CaseResult) -> dict[str, object]:
    return {
        "place": result.case.place,
        "name": result.case.name,
        "ok": not result.wrong,
        "expected": result.case.expect,
        "verdict": result.verdict,
        "rules": list(result.rules),
        "wrong": list(result.wrong),
    }


def _say(found: Tested) -> None:
    run = found.run
    rows = [
        {
            "result": "FAIL" if result.wrong else "PASS",
            "name": result.case.name,
            "verdict": result.verdict,
            "rules": ", ".join(result.rules) or "-",
            "text": f"{result.case.place}: {'; '.join(result.wrong)}" if result.wrong else "",
        }
        for result in run.results
    ]
    columns = [Column("RESULT", "result"), Column("CASE", "name"), Column("DECISION", "verdict")]
    emit(rows, as_json=False, columns=[*columns, Column("RULES", "rules"), Column("WRONG", "text")])
    for kind, rule, place in run.unreached:
        note(f'no case reached the {kind} "{rule}" ({place})')
    note(f"{len(run.results) - len(run.failures)} passed, {len(run.failures)} failed")
