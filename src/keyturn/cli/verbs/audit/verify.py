"""`keyturn audit verify`: prove that the log is whole and as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit, home_of
from keyturn.cli.output import AsJson, emit_json, json_option, note, say
from keyturn.model.errors import ConfigurationError

if TYPE_CHECKING:
    from keyturn.verifier import Report

_GIVEN = "the one given with --key"
_KEPT = "this home's own state/keys/log.vkey; compare it with the line you kept elsewhere"
_STYLES = {"PASS": "green", "PASS-UNANCHORED": "green", "FAIL": "red"}


@click.command(short_help="Check every entry, signature and rule.")
@click.option(
    "--ledger",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A ledger file elsewhere, such as a copy or a backup (default: this home's).",
)
@click.option(
    "--key", "verifier", metavar="VERIFIER", help="The log's verifier string you kept (default: this home's)."
)
@click.option("--require-anchor", is_flag=True, help="Exit 11 when nothing outside this machine vouches for the end.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, ledger: Path | None, verifier: str | None, require_anchor: bool, as_json: AsJson
) -> None:
    """Check every entry, signature, payload and rule of the log from its bytes, and name the first that is wrong.

    Exits 7 when one is. What a verdict without an anchor cannot tell: whether entries were cut off at the end.
    """
    from keyturn.assembly.standing import remembered_end
    from keyturn.verifier import verify_ledger

    file, pinned, given = _what(ctx, ledger, verifier)
    # Read before the ledger: entries may come in meanwhile, and none that it names may be missing.
    end = remembered_end(home_of(ctx)) if ledger is None else None
    report = verify_ledger(file, pinned=pinned, head=end)
    if as_json:
        emit_json(report.to_json(), as_json)
    else:
        _say(report, given, at_home=ledger is None)
    if ledger is None and end is None:
        note("note: state/head is missing or damaged, so nothing here tells whether entries were cut off at the end")
    ctx.exit(_exit(report, require_anchor))


def _what(ctx: click.Context, ledger: Path | None, verifier: str | None) -> tuple[Path, str | None, str | None]:
    """Return the file to verify, the verifier string to hold it against, and where that came from, if anywhere."""
    from keyturn.assembly.standing import kept_verifier, require_founded

    if ledger is not None and verifier is not None:
        return ledger, verifier.strip(), _GIVEN
    try:
        home = home_of(ctx)
        require_founded(home)
    except ConfigurationError:
        if ledger is None:
            raise
        return ledger, None, None
    file = ledger or home.place.database
    return (file, verifier.strip(), _GIVEN) if verifier else (file, kept_verifier(home), _KEPT)


def _say(report: Report, given: str | None, *, at_home: bool) -> None:
    first, *rest = report.lines(given)
    say(first, style=_STYLES.get(report.verdict))
    for line in rest:
        say(line)
    if at_home:
        from keyturn.assembly.boundary import SAME_ACCOUNT

        note(f"note: {SAME_ACCOUNT}")


def _exit(report: Report, require_anchor: bool) -> Exit:
    if report.verdict == "FAIL":
        return Exit.VERIFICATION_FAILED
    return Exit.UNANCHORED if require_anchor and report.verdict == "PASS-UNANCHORED" else Exit.OK
