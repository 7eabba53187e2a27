"""`keyturn policy check`: what is wrong with the proposed policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit, home_of
from keyturn.cli.output import AsJson, Column, emit, emit_json, json_option, note, on_terminal, say

if TYPE_CHECKING:
    from keyturn.assembly.proposal import Check


@click.command(short_help="Show every error and warning in policy.toml.")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: AsJson) -> None:
    """Read policy.toml as it would be activated: every error and warning at once. Exits 1 when it does not load."""
    from keyturn.assembly.proposal import check_proposal

    found = check_proposal(home_of(ctx))
    if as_json:
        emit_json(_json(found), as_json)
    else:
        _say(found)
    if found.errors:
        ctx.exit(Exit.FAILURE)


def _json(found: Check) -> dict[str, object]:
    return {
        "ok": not found.errors,
        "errors": list(found.errors),
        "warnings": list(found.warnings),
        "findings": [one.to_json() for one in found.findings],
        "policy": found.digest,
        "in_force": found.in_force.digest if found.in_force else None,
        "differs": found.differs,
        "contracts_moved": found.contracts_moved,
    }


def _say(found: Check) -> None:
    told = [("error", text, "red") for text in found.errors]
    told += [("warning", text, "yellow") for text in found.warnings]
    if on_terminal():
        for kind, text, style in told:
            say(f"{kind}: {text}", style=style)
    else:
        rows = [{"kind": kind, "text": text} for kind, text, _ in told]
        emit(rows, as_json=False, columns=[Column("KIND", "kind"), Column("TEXT", "text")])
    if found.errors:
        note(f"policy.toml does not load: {_count(len(found.errors), 'error')}")
    else:
        note(f"policy.toml loads, with {_count(len(found.warnings), 'warning')}")
    note(_standing(found))


def _standing(found: Check) -> str:
    if found.in_force is None:
        return "this home has no ledger yet, so no policy is in force"
    if not found.differs:
        return f"it is the policy in force (entry {found.in_force.seq})"
    what = "tool_schemas/ differs from the published contracts" if found.contracts_moved else "it differs"
    if found.contracts_moved and found.digest != found.in_force.digest:
        what = "it differs, and so does tool_schemas/,"
    verb = "activate" if found.in_force.guard is None else "propose"
    then = "" if found.errors else f"; to put it in force: keyturn policy {verb} -m REASON"
    return f"{what} from the policy in force (entry {found.in_force.seq}){then}"


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
