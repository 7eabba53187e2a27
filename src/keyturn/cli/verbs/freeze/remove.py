"""`keyturn freeze remove`: take an event out of the calendar of a proposed freeze."""

from __future__ import annotations

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, emit, json_option, note, on_terminal, say
from keyturn.cli.screen import plain
from keyturn.cli.verbs.freeze.add import ACTIVATE

_COLUMNS = (Column("UID", "uid", identifier=True), Column("CALENDAR", "calendar"))


@click.command("remove", short_help="Remove an event from a proposed freeze's calendar.")
@click.argument("freeze")
@click.argument("uid")
@json_option
@click.pass_context
def command(ctx: click.Context, /, freeze: str, uid: str, as_json: AsJson) -> None:
    """Remove the event UID from the calendar file that FREEZE of the proposed policy names.

    `keyturn freeze list FREEZE` lists the events. Nothing changes before the policy is activated.
    """
    from keyturn.assembly.freezing import remove_event

    path = remove_event(home_of(ctx), freeze, uid)
    if on_terminal() and not as_json:
        say(f"✓ {plain(path)} has the event {plain(uid)} no more")
        note(ACTIVATE)
    else:
        emit({"uid": uid, "calendar": path}, as_json=as_json, columns=_COLUMNS)
