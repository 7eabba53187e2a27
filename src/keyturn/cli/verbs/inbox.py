"""`keyturn inbox`: what waits for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit
from keyturn.cli.looking import keep_looking, look
from keyturn.cli.output import AsJson, emit, json_option, note, on_terminal
from keyturn.cli.rows import INBOX, ONLY_SHOWN, rows_of, without

if TYPE_CHECKING:
    from keyturn.canon import Json
    from keyturn.gateway.desk import Look


@click.command(name="inbox")
@click.option("-w", "--watch", is_flag=True, help="Stay, and show what comes and goes until Ctrl-C.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, watch: bool, as_json: AsJson) -> None:
    """Show what waits for a review, oldest first.

    With --watch in a pipe each action is printed once, when it begins to wait.
    """
    if not watch:
        _print(look(ctx, waiting), as_json)
        return
    try:
        _watch(ctx, as_json)
    except KeyboardInterrupt:
        ctx.exit(Exit.INTERRUPTED)


def waiting(view: Look) -> list[dict[str, Json]]:
    """Return a row for each action that waits for people, oldest first."""
    pending = [action.seq for action, state in view.state.open_actions(view.now) if state == "pending"]
    return rows_of(view, [view.entry(seq) for seq in sorted(pending)])


def _print(rows: list[dict[str, Json]], as_json: AsJson) -> None:
    if as_json:
        emit(without(rows, ONLY_SHOWN), as_json=as_json, columns=())
        return
    emit(rows, as_json=False, columns=INBOX, empty="nothing waits for a review")
    if rows and on_terminal():
        note("")
        note(f"Look: keyturn action show {rows[0]['short_id']}")


def _watch(ctx: click.Context, as_json: AsJson) -> None:
    known: set[Json] = set()
    for rows in keep_looking(ctx, waiting):
        if on_terminal() and not as_json:
            click.clear()
            _print(rows, as_json)
            note("watching; Ctrl-C ends it")
        elif news := [row for row in rows if row["action_id"] not in known]:
            _print(news, as_json)
        known = {row["action_id"] for row in rows}
