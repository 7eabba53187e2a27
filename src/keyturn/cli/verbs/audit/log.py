"""`keyturn audit log`: the newest entries, one line each."""

from __future__ import annotations

from typing import Any

import click

from keyturn.approvals.action import STATES
from keyturn.cli.ids import full_id
from keyturn.cli.looking import look
from keyturn.cli.moments import moment_option
from keyturn.cli.output import AsJson, Column, emit, json_option, on_terminal
from keyturn.log.kinds import KINDS
from keyturn.model.errors import Refused

_COLUMNS = (
    Column("ENTRY", "seq"),
    Column("TIME", lambda row: f"{row['at'][:19]}Z"),
    Column("KIND", "kind"),
    Column("ACTION", lambda row: (row["action"] or "")[-6:]),
    Column("WHAT", "text"),
)
_PIPED = (
    Column("ENTRY", "seq"),
    Column("TIME", "at"),
    Column("KIND", "kind"),
    Column("ACTION", "action"),
    Column("PRINCIPAL", "principal", identifier=True),
    Column("WHAT", "text"),
)


@click.command("log", short_help="List the newest entries.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many."
)
@click.option("--kind", metavar="KIND", help="Only entries of this kind, such as action.requested.")
@click.option("--principal", metavar="NAME", help="Only entries about this assistant and its actions.")
@click.option("--tool", metavar="NAME", help="Only entries about calls of this tool.")
@click.option("--action", metavar="ID", help="Only entries of this action; the end of its id will do.")
@click.option("--status", type=click.Choice(STATES), metavar="STATE", help="Only entries of actions that are so now.")
@moment_option("--since", "Only entries from then on: 2026-11-21, 2026-11-21T09:30Z, or how long ago, like 4h.")
@moment_option("--until", "Only entries before then.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, *, limit: int, kind: str | None, action: str | None, as_json: AsJson, **wanted: Any
) -> None:
    """List what was written into the log, newest last. Nothing here is proved: that is `audit verify`."""
    from keyturn.canon import Json
    from keyturn.gateway.desk import Look
    from keyturn.gateway.journal import Wanted, choose, row

    if kind is not None and kind not in KINDS:
        raise Refused("usage", f"there is no kind {kind!r}; there are: {', '.join(KINDS)}")

    def chosen(view: Look) -> list[dict[str, Json]]:
        named = None if action is None else full_id(view, action)
        found = choose(view, Wanted(limit=limit, kind=kind, action=named, **wanted))
        return [row(view, entry) for entry in found]

    rows = look(ctx, chosen)
    emit(rows, as_json=as_json, columns=_COLUMNS if on_terminal() else _PIPED, empty="no such entries")
