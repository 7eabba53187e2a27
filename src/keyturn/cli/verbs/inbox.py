"""`keyturn inbox`: what waits for people."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit
from keyturn.cli.looking import keep_looking, look
from keyturn.cli.output import AsJson, Column, emit, json_option, note, on_terminal
from keyturn.cli.rows import INBOX, ONLY_SHOWN, RISK_AT, RISK_COLUMN, WIDEST, rows_of, without

if TYPE_CHECKING:
    from keyturn.canon import Json
    from keyturn.gateway.desk import Look

FRAME = 6  # lines of the watching screen that are no rows
BESIDE_WHAT = 60  # cells that the columns before the last take, one for scores among them
FROM_THE_TOP = "\x1b[H\x1b[J"  # to the first column of the first line, and clear from there


@click.command(name="inbox", short_help="Show what waits for people.")
@click.option("-w", "--watch", is_flag=True, help="Stay, and show what comes and goes until Ctrl-C.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, watch: bool, as_json: AsJson) -> None:
    """Show what waits for a review, or for a person to execute it, oldest first.

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
    opened = view.state.open_actions(view.now)
    waits = [a.seq for a, state in opened if state == "pending" or (state == "approved" and a.waits_for_a_hand)]
    return rows_of(view, [view.entry(seq) for seq in sorted(waits)])


def _print(rows: list[dict[str, Json]], as_json: AsJson) -> None:
    if as_json:
        emit(without(rows, ONLY_SHOWN), as_json=as_json, columns=())
        return
    emit(rows, as_json=False, columns=_columns(rows), empty="nothing waits for a review")
    if rows and on_terminal():
        note("")
        note(f"Look: keyturn action show {rows[0]['short_id']}")


def _watch(ctx: click.Context, as_json: AsJson) -> None:
    known: set[Json] = set()
    for rows in keep_looking(ctx, waiting):
        if on_terminal() and not as_json:
            _redraw(rows)
        elif news := [row for row in rows if row["action_id"] not in known]:
            _print(news, as_json)
        known = {row["action_id"] for row in rows}


def _columns(rows: list[dict[str, Json]]) -> tuple[Column, ...]:
    """Return the columns, with one for scores where there are any."""
    scored = any(row["risk"] is not None for row in rows)
    return (*INBOX[:RISK_AT], RISK_COLUMN, *INBOX[RISK_AT:]) if scored else INBOX


def _redraw(rows: list[dict[str, Json]]) -> None:
    """Draw the screen again from its first line, as much as fits on it."""
    shown = rows[: _fitting(rows)]
    click.echo(FROM_THE_TOP, nl=False)
    note(f"{_count(rows)} for a review · watching; Ctrl-C ends it")
    note("")
    if rows:
        emit(shown, as_json=False, columns=_columns(shown))
        note("")
        more = f"{len(rows) - len(shown)} more: keyturn inbox · " if len(rows) > len(shown) else ""
        note(f"{more}Look: keyturn action show {rows[0]['short_id']}")


def _count(rows: list[dict[str, Json]]) -> str:
    return f"{len(rows)} wait" if len(rows) > 1 else "1 waits" if rows else "nothing waits"


def _fitting(rows: list[dict[str, Json]]) -> int:
    """Return how many rows fit below each other; what an action is about is folded in the width left for it."""
    columns, lines = shutil.get_terminal_size()
    left, width = lines - FRAME, max(20, columns - BESIDE_WHAT)
    for index, row in enumerate(rows):
        left -= 1 + min(WIDEST, len(str(row["plan_summary"]))) // width
        if left < 0:
            return max(1, index)
    return len(rows)
