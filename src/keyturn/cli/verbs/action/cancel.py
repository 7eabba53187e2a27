"""`keyturn action cancel`: stops what has not begun; takes no signature."""

from __future__ import annotations

from contextlib import closing

import click

from keyturn.cli.frame import home_of
from keyturn.cli.ids import full_id
from keyturn.cli.output import AsJson, Column, emit, json_option, on_terminal, say

_COLUMNS = (
    Column("ID", "action_id", identifier=True),
    Column("STATUS", "status"),
    Column("BY", "by", identifier=True),
)


@click.command(name="cancel")
@click.argument("id_", metavar="ID")
@click.option("-m", "--reason", default="", help="Why; it is recorded, and the assistant is told.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, id_: str, reason: str, as_json: AsJson) -> None:
    """Cancel an action that waits. Stopping needs no signature: your account is recorded."""
    from keyturn.assembly.outside import account
    from keyturn.assembly.standing import open_desk
    from keyturn.gateway.review import Actor, cancel

    desk = open_desk(home_of(ctx), "keyturn action cancel")
    with closing(desk.ledger):
        action_id = desk.ledger.look(lambda view: full_id(view, id_))
        actor = Actor("account", account())
        cancel(desk, action_id, actor, reason)
    if on_terminal() and not as_json:
        say(f"✗ {id_}: cancelled. Nothing was or will be done.", style="yellow")
    else:
        emit({"action_id": action_id, "status": "cancelled", "by": actor.name}, as_json=as_json, columns=_COLUMNS)
