"""`keyturn action watch`: a line for each change of state, as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit
from keyturn.cli.ids import full_id
from keyturn.cli.looking import keep_looking, look
from keyturn.cli.output import AsJson, Column, emit, emit_json, json_option, note, on_terminal, select, styled
from keyturn.cli.rows import ONLY_SHOWN
from keyturn.cli.screen import plain, safe
from keyturn.cli.verbs.action.wait import ENDS

if TYPE_CHECKING:
    from keyturn.canon import Json
    from keyturn.gateway.changes import Change
    from keyturn.gateway.desk import Look

_STYLES = {"pending": "yellow", "approved": "cyan", "running": "cyan", "succeeded": "green", "shadowed": "dim"}
_PIPED = ("at", "action_id", "status", "principal", "environment", "tool", "what")
_COLUMNS = tuple(Column(name, name, identifier=name != "what") for name in _PIPED)


@click.command(name="watch", short_help="Print a line for each change of state.")
@click.argument("id_", metavar="[ID]", required=False)
@json_option
@click.pass_context
def command(ctx: click.Context, /, id_: str | None, as_json: AsJson) -> None:
    """Print a line whenever an action changes its state: of all actions, or of one until it is over.

    It begins with those that are open. With --json each line is an object. For one ID it exits as action wait does.
    """
    from keyturn.gateway.changes import Changes

    action = None if id_ is None else look(ctx, lambda view: full_id(view, id_))
    changes = Changes()
    if on_terminal() and action is None:
        note("watching; Ctrl-C ends it")
    try:
        for rows in keep_looking(ctx, lambda view: _rows(view, changes.since(view), action)):
            for row in rows:
                _print(row, as_json)
                if action is not None and row["status"] in ENDS:
                    ctx.exit(ENDS[str(row["status"])])
    except KeyboardInterrupt:
        ctx.exit(Exit.INTERRUPTED)


def _rows(view: Look, changes: list[Change], only: str | None) -> list[dict[str, Json]]:
    rows = [_row(view, change) for change in changes if only in {None, change.action}]
    return rows or ([] if only is None else _ended(view, only))


def _ended(view: Look, action: str) -> list[dict[str, Json]]:
    """Return the last state of an action that was over before anybody watched."""
    from keyturn.gateway.changes import Change
    from keyturn.gateway.envelope import envelope_of
    from keyturn.gateway.finding import find_beginning

    begin = find_beginning(view, action)
    state = "" if begin is None else str(envelope_of(view, begin)["status"])
    return [_row(view, Change(action=action, status=state, at=view.now))] if state in ENDS else []


def _row(view: Look, change: Change) -> dict[str, Json]:
    from keyturn.cli.rows import rows_of
    from keyturn.gateway.finding import find_beginning
    from keyturn.model.time import format_timestamp

    begin = find_beginning(view, change.action)
    [row] = rows_of(view, [] if begin is None else [begin])
    return {
        "at": format_timestamp(change.at),
        "action_id": change.action,
        "status": change.status,
        "what": row["plan_summary"] or row["message"],
        **{name: row[name] for name in ("short_id", "tool", "principal", "target", "environment")},
    }


def _print(row: dict[str, Json], as_json: AsJson) -> None:
    if as_json:
        value = {name: item for name, item in row.items() if name not in ONLY_SHOWN}
        # One line for each, on a terminal too: this has no end at which brackets could be closed.
        emit_json(select(value, as_json) if isinstance(as_json, str) else value, spread=False)
    elif on_terminal():
        at = str(row["at"])[11:19]
        state = styled(str(row["status"]).ljust(9), _STYLES.get(str(row["status"]), "red"))
        who = plain(str(row["principal"]))
        click.echo(f"{at}  {row['short_id']}  {state}  {who}  {safe(str(row['what']))}")
    else:
        emit([row], as_json=False, columns=_COLUMNS)
