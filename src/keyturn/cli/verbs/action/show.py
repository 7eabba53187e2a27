"""`keyturn action show`: all there is to see of one action."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from keyturn.cli.ids import full_id, short_in
from keyturn.cli.looking import look
from keyturn.cli.output import AsJson, emit_json, json_option
from keyturn.cli.sheet import refusal_sheet, sheet, speak, speak_heading

if TYPE_CHECKING:
    from keyturn.gateway.desk import Look
    from keyturn.gateway.show import Shown, ShownRefusal


@click.command(name="show")
@click.argument("id_", metavar="ID")
@json_option
@click.pass_context
def command(ctx: click.Context, id_: str, as_json: AsJson) -> None:
    """Show all there is to see of one action.

    What it is, who asked, which rule holds it, who said what, and what came of it. The diff is apart:
    keyturn action diff ID.
    """
    shown, short = look(ctx, lambda view: _see(view, id_))
    if as_json:
        from keyturn.gateway.show import details

        emit_json(details(shown), as_json)
    else:
        _print(shown, short)


def _see(view: Look, given: str) -> tuple[Shown | ShownRefusal, str]:
    from keyturn.gateway.show import show

    action_id = full_id(view, given)
    return show(view, action_id), short_in(view, action_id)


def _print(shown: Shown | ShownRefusal, short: str) -> None:
    from keyturn.gateway.show import Shown

    if isinstance(shown, Shown):
        speak_heading(shown.asked.plan.summary, shown.state, _counts(shown))
        speak(list(sheet(shown, short)))
    else:
        speak_heading(f"A call of {shown.envelope['tool']}", "denied")
        speak(list(refusal_sheet(shown)))


def _counts(shown: Shown) -> str:
    reviews = shown.envelope["reviews"]
    if shown.state != "pending" or not isinstance(reviews, dict):
        return ""
    return f" {reviews['have']}/{reviews['need']}"
