"""`keyturn suspend`: stop an assistant, a tool, an environment or everything, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, emit, json_option, note, on_terminal, say
from keyturn.cli.scopes import scope_of, scope_options

if TYPE_CHECKING:
    from keyturn.fold.suspensions import Scope
    from keyturn.gateway.suspensions import Halted

_COLUMNS = (
    Column("SCOPE", "scope", identifier=True),
    Column("MODE", "mode"),
    Column("ENTRY", "entry"),
    Column("CHANGED", "changed"),
    Column("CANCELLED", "cancelled"),
    Column("RUNNING", "running"),
    Column("WAITING", "waiting"),
)


@click.command(short_help="Stop an assistant, a tool, an environment, everything.")
@scope_options
@click.option("--read-only", is_flag=True, help="Let reads go on, and stop only what changes something.")
@click.option("-m", "--reason", metavar="REASON", required=True, help="Why; it is recorded, and assistants are told.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, read_only: bool, reason: str, as_json: AsJson) -> None:
    """Stop an assistant, a tool, an environment or everything, from the next call on.

    Takes no signature: your account is recorded. What waits there is cancelled; what runs is listed, and finishes.
    With --read-only nothing is cancelled: what is approved waits, until it expires. `keyturn resume` ends it, signed.
    """
    from keyturn.assembly.suspending import suspend
    from keyturn.fold.suspensions import READ_ONLY, SUSPENDED

    scope = scope_of(ctx)
    halted = suspend(home_of(ctx), scope, mode=READ_ONLY if read_only else SUSPENDED, reason=reason)
    row = _row(scope, halted, READ_ONLY if read_only else SUSPENDED)
    if on_terminal() and not as_json:
        _say(scope, row)
    else:
        emit(row, as_json=as_json, columns=_COLUMNS)
    if halted.entry is None:
        note(f"{scope} was {row['mode']} already, since entry {row['entry']}; nothing was recorded")


def _row(scope: Scope, halted: Halted, mode: str) -> dict[str, Any]:
    already = halted.present if halted.entry is None else None
    return {
        "scope": scope.subject,
        "mode": already.mode if already else mode,
        "entry": already.seq if already else halted.entry,
        "changed": halted.entry is not None,
        "cancelled": [action.id for action in halted.cancelled],
        "running": [action.id for action in halted.running],
        "waiting": [action.id for action in halted.waiting],
    }


def _say(scope: Scope, row: dict[str, Any]) -> None:
    if row["changed"]:
        say(f"✓ {scope} is {row['mode']} (entry {row['entry']})", style="yellow")
    for told, name in (
        ("cancelled", "cancelled"),
        ("running, and not stopped by this", "running"),
        ("waits, and does not begin unless this is resumed before it expires", "waiting"),
    ):
        for action in row[name]:
            say(f"  {action[-6:]}  {told}")
