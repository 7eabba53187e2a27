"""`keyturn freeze add`: put an event into the calendar of a proposed freeze."""

from __future__ import annotations

from datetime import datetime

import click

from keyturn.cli.frame import home_of
from keyturn.cli.moments import moment_option
from keyturn.cli.output import AsJson, Column, emit, json_option, note, on_terminal, say
from keyturn.cli.screen import plain

ACTIVATE = "it counts once it is activated: keyturn policy activate -m REASON"
_COLUMNS = (Column("UID", "uid", identifier=True), Column("CALENDAR", "calendar"))


@click.command("add", short_help="Add an event to a proposed freeze's calendar.")
@click.argument("freeze")
@moment_option("--from", "When it begins: 2026-12-21, or 2026-12-21T08:00+01:00; without a zone in UTC.")
@moment_option("--until", "When it ends, that moment left out.")
@click.option("--summary", metavar="TEXT", default="", help="What it is, for people.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, freeze: str, summary: str, as_json: AsJson, **ends: datetime | None) -> None:
    """Add an event to the calendar file that FREEZE of the proposed policy names.

    The file is made where it is missing. Nothing changes before the policy is activated.
    """
    from keyturn.assembly.freezing import add_event

    begin, end = ends["from"], ends["until"]
    if begin is None or end is None:
        raise click.UsageError("give both --from and --until")
    path, uid = add_event(home_of(ctx), freeze, begin, end, summary)
    if on_terminal() and not as_json:
        say(f"✓ {plain(path)} has one more event, {uid}")
        note(ACTIVATE)
    else:
        emit({"uid": uid, "calendar": path}, as_json=as_json, columns=_COLUMNS)
