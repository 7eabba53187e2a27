"""`keyturn action wait`: waits until an action is over, and says by the exit code how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit
from keyturn.cli.ids import full_id
from keyturn.cli.looking import keep_looking, look
from keyturn.cli.output import AsJson, Column, emit, json_option, note
from keyturn.model.errors import Refused

if TYPE_CHECKING:
    from keyturn.canon import Json
    from keyturn.gateway.desk import Look

ENDS = {
    "succeeded": Exit.OK,
    "shadowed": Exit.OK,
    "denied": Exit.REFUSED,
    "rejected": Exit.REFUSED,
    "expired": Exit.REFUSED,
    "stale": Exit.CONFLICT,
    "cancelled": Exit.FAILURE,
    "failed": Exit.FAILURE,
    "unknown": Exit.FAILURE,
}
"""The exit code of each state in which waiting ends."""

_COLUMNS = (
    Column("ID", "action_id", identifier=True),
    Column("STATUS", "status"),
    Column("MESSAGE", "message"),
)


class Duration(click.ParamType[float]):
    """Seconds as a number, or a duration such as 30s, 5m or 1h."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        from keyturn.model.time import parse_duration

        text = str(value)
        try:
            return float(text) if text.isdecimal() else parse_duration(text).total_seconds()
        except ValueError:
            self.fail(f"{text} is no duration: give seconds, or something like 30s, 5m or 1h", param, ctx)


@click.command(name="wait")
@click.argument("id_", metavar="ID")
@click.option("--timeout", type=Duration(), metavar="DURATION", help="Wait no longer than this (0: only look).")
@json_option
@click.pass_context
def command(ctx: click.Context, /, id_: str, timeout: float | None, as_json: AsJson) -> None:
    """Wait until an action is over.

    Exits 0 when it succeeded, 3 when it was denied, rejected or expired, 6 when it went stale, 1 when it failed, was
    cancelled or its outcome is unknown, 9 when the time is up, and 8 at once with --timeout 0 while it waits.
    """
    action_id = look(ctx, lambda view: full_id(view, id_))
    envelope: dict[str, Json] = {}
    for envelope in keep_looking(ctx, lambda view: _envelope(view, action_id), timeout):
        if envelope["status"] in ENDS:
            break
    emit(envelope, as_json=as_json, columns=_COLUMNS)
    status = str(envelope["status"])
    if status not in ENDS and timeout:
        note(f"keyturn: {id_} is still {status} after {timeout:g} seconds")
    ctx.exit(ENDS.get(status, Exit.TIMED_OUT if timeout else Exit.PENDING))


def _envelope(view: Look, action_id: str) -> dict[str, Json]:
    from keyturn.gateway.envelope import envelope_of
    from keyturn.gateway.finding import find_beginning

    begin = find_beginning(view, action_id)
    if begin is None:
        raise Refused("not_found", f"there is no action {action_id}")
    return envelope_of(view, begin)
