"""`keyturn action diff`: the whole change, as it is signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from keyturn.cli.diffs import shown_diff
from keyturn.cli.ids import full_id
from keyturn.cli.looking import look
from keyturn.cli.output import AsJson, emit_json, json_option, note, page
from keyturn.model.errors import Refused

if TYPE_CHECKING:
    from keyturn.gateway.desk import Look
    from keyturn.gateway.show import Asked


@click.command(name="diff")
@click.argument("id_", metavar="ID")
@json_option
@click.pass_context
def command(ctx: click.Context, id_: str, as_json: AsJson) -> None:
    """Show the whole change of an action.

    It is never shortened; on a terminal it goes through $PAGER.
    """
    asked = look(ctx, lambda view: _asked(view, id_))
    if as_json:
        value = {"action_id": asked.action.id, "digest": asked.action.digest, "diff": asked.plan.diff}
        emit_json(value, as_json)
    elif asked.plan.diff:
        page(shown_diff(asked.plan.diff))
    else:
        note(f"this action changes no text: {asked.plan.summary}")


def _asked(view: Look, given: str) -> Asked:
    from keyturn.gateway.show import Shown, show

    shown = show(view, full_id(view, given))
    if isinstance(shown, Shown):
        return shown.asked
    raise Refused("not_found", f"{given} was refused before it was planned, so there is no diff")
