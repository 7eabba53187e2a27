"""`keyturn freeze list`: how the freezes stand, or the events of one proposed calendar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, emit, json_option
from keyturn.cli.times import minute

if TYPE_CHECKING:
    from keyturn.canon import Json
    from keyturn.gateway.freeze_states import FreezeState

_COLUMNS = (
    Column("FREEZE", "freeze", identifier=True),
    Column("STATE", "state"),
    Column("CHANGES", lambda row: minute(row["changes_at"]), piped="changes_at", whole=True),
    Column("EFFECT", lambda row: row["effect"] if row["mode"] == "live" else f"{row['effect']}, in shadow"),
    Column("CALENDAR", "calendar"),
    Column("SET ASIDE", lambda row: f"until {minute(row['until'])}" if row["until"] else "", piped="until"),
    Column("BY", "by", identifier=True),
)
_EVENTS = (
    Column("UID", "uid", identifier=True),
    Column("BEGINS", "begins"),
    Column("ENDS", "ends"),
    Column("RECURS", "recurs"),
    Column("SUMMARY", "summary"),
)


@click.command("list", short_help="List how the freezes stand now.")
@click.argument("freeze", required=False)
@json_option
@click.pass_context
def command(ctx: click.Context, /, freeze: str | None, as_json: AsJson) -> None:
    """List the freezes of the policy in force: on, off or set aside, and when that changes next.

    With FREEZE, list the events that the proposed calendar of this freeze has.
    """
    from keyturn.assembly.freezing import events, states

    if freeze is None:
        rows = [freeze_row(state) for state in states(home_of(ctx))]
        emit(rows, as_json=as_json, columns=_COLUMNS, empty="the policy in force has no freezes")
        return
    path, found = events(home_of(ctx), freeze)
    listed: list[dict[str, Json]] = [
        {"uid": item.uid, "begins": item.begins, "ends": item.ends, "recurs": item.recurs, "summary": item.summary}
        for item in found
    ]
    emit(listed, as_json=as_json, columns=_EVENTS, empty=f"{path} has no events")


def freeze_row(state: FreezeState) -> dict[str, Json]:
    """Return how one freeze stands, as `--json` prints it."""
    from keyturn.model.time import format_timestamp

    freeze, override = state.freeze, state.override
    return {
        "freeze": freeze.id,
        "state": state.state,
        "changes_at": None if state.changes_at is None else format_timestamp(state.changes_at),
        "effect": freeze.effect,
        "mode": "shadow" if freeze.shadow else "live",
        "calendar": freeze.path,
        "until": None if override is None else format_timestamp(override.until),
        "by": None if override is None else override.by,
    }
