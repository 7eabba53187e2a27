"""`keyturn action list`: the newest actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from keyturn.approvals.action import STATES
from keyturn.cli.looking import look
from keyturn.cli.output import AsJson, emit, json_option
from keyturn.cli.rows import BESIDE, COLUMNS, rows_of, without

if TYPE_CHECKING:
    from keyturn.canon import Json
    from keyturn.gateway.desk import Look

SEARCHED = 1000  # newest actions among which those of one status are looked for


@click.command(name="list")
@click.option("--status", type=click.Choice(STATES), metavar="STATUS", help=f"Only these: {', '.join(STATES)}.")
@click.option("--principal", metavar="NAME", help="Only what this assistant asked for.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=30, show_default=True, help="At most so many.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, status: str | None, principal: str | None, limit: int, as_json: AsJson) -> None:
    """List actions and refusals, newest first. With --json each is what the assistant was told."""
    rows = look(ctx, lambda view: _rows(view, status, principal, limit))
    if as_json:
        emit(without(rows, BESIDE), as_json=as_json, columns=())
    else:
        emit(rows, as_json=False, columns=COLUMNS, empty=_none(status, principal))


def _none(status: str | None, principal: str | None) -> str:
    about = f" of {principal}" if principal else ""
    return f"no {status} actions{about} among the newest {SEARCHED}" if status else f"no actions{about}"


def _rows(view: Look, status: str | None, principal: str | None, limit: int) -> list[dict[str, Json]]:
    from keyturn.gateway.finding import find_requests

    entries = find_requests(view, principal=principal, limit=SEARCHED if status else limit)
    return [row for row in rows_of(view, entries) if status is None or row["status"] == status][:limit]
