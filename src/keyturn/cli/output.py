"""What a verb answers with: tables on a terminal, tab-separated lines in a pipe, exact JSON on request."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, TypeVar

import click

from keyturn.cli.screen import plain, safe

F = TypeVar("F", bound=Callable[..., Any])

Row: TypeAlias = Mapping[str, Any]
Cell: TypeAlias = "str | Callable[[Row], object]"
AsJson: TypeAlias = "bool | str"
"""What `--json` asks for: False, True (everything), or the names of fields separated by commas."""

GAP = 2  # spaces after each column of a table

EVERYTHING = "*"
"""What `--json` without fields means; `frame` puts it after a bare `--json`."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, or one line of a record.

    `cell` names the row's field, or works the value out of the row; `piped` takes its place where nobody reads it on
    a terminal (the whole id, the exact time). With `identifier` everything outside printable ASCII is written out,
    for names where a look-alike letter would mislead. On a terminal a table shows `widest` characters at most
    (0: all), and breaks no cell of a `whole` column over rows.
    """

    title: str
    cell: Cell
    identifier: bool = False
    piped: Cell | None = None
    widest: int = 0
    whole: bool = False

    def text(self, row: Row) -> str:
        """Return the cell of a row, safe to print and on one line."""
        terminal = on_terminal()
        shown = as_text(_value(row, self.cell if terminal or self.piped is None else self.piped))
        text = plain(shown) if self.identifier else safe(shown)
        clipped = terminal and 0 < self.widest < len(text)
        return f"{text[: self.widest - 1]}…" if clipped else text


def _value(row: Row, cell: Cell) -> object:
    return row.get(cell) if isinstance(cell, str) else cell(row)


def as_text(value: object) -> str:
    """Write a value as people read it: nothing for None, yes or no, lists with commas, objects as JSON."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case Mapping():
            return json.dumps(value, ensure_ascii=False)
        case list() | tuple() | set() | frozenset():
            return ", ".join(as_text(item) for item in value)
    return str(value)


def json_option(command: F) -> F:
    """Give a verb `--json` and `--json=FIELDS`; the function takes `as_json: bool | str`."""
    option = click.option(
        "--json",
        "as_json",
        metavar="[=FIELDS]",
        is_flag=False,
        flag_value=EVERYTHING,
        default=None,
        callback=lambda _context, _option, value: _asked(value),
        help="Print JSON; with =FIELDS (separated by commas) only those.",
    )
    return option(command)


def _asked(value: str | None) -> AsJson:
    if value is None:
        return False
    return True if value in {EVERYTHING, ""} else value


def emit(
    value: Row | Sequence[Row], *, as_json: AsJson, columns: Sequence[Column], empty: str = "nothing to show"
) -> None:
    """Print rows, or one record, in the form the caller and the place ask for.

    `as_json` prints `value` itself, without `columns`. On a terminal rows become an aligned table (`empty` on stderr
    when there are none) and a record one line per column; elsewhere both are tab-separated, complete, without
    colour and without a heading. Raises `click.UsageError` for a field that no row has.
    """
    if as_json:
        emit_json(value, as_json)
    elif isinstance(value, Mapping):
        _emit_record(value, columns)
    elif on_terminal():
        _emit_table(value, columns, empty)
    else:
        for row in value:
            click.echo("\t".join(column.text(row) for column in columns))


def emit_json(value: Any, as_json: AsJson = True, *, spread: bool = True) -> None:
    """Print a value as JSON in ASCII, so that nothing in it reaches the terminal raw; select fields if asked.

    On a terminal it is spread over several lines, unless told not to.
    """
    chosen = select(value, as_json) if isinstance(as_json, str) else value
    text = json.dumps(chosen, ensure_ascii=True, indent=2 if spread and on_terminal() else None)
    click.echo(text.replace("\x7f", "\\u007f"))


def select(value: Any, fields: str) -> Any:
    """Return only the named fields of an object, or of each object in an array. Raises `click.UsageError`."""
    names = [name.strip() for name in fields.split(",") if name.strip()]
    rows = [value] if isinstance(value, Mapping) else list(value)
    known = dict.fromkeys(name for row in rows for name in row)
    if unknown := [name for name in names if rows and name not in known]:
        raise click.UsageError(f"--json: no field {', '.join(unknown)}; there are: {', '.join(known)}")
    chosen = [{name: row.get(name) for name in names} for row in rows]
    return chosen[0] if isinstance(value, Mapping) else chosen


def say(text: str = "", *, style: str | None = None) -> None:
    """Print one line on stdout, made safe; `style` is a colour or `bold` or `dim`, used on a terminal only."""
    click.echo(styled(safe(text), style), color=coloured())


def note(text: str) -> None:
    """Print one line for the person on stderr, made safe: what is not the answer itself."""
    click.echo(safe(text), err=True)


def styled(text: str, style: str | None) -> str:
    """Colour a text that is safe already, where colours are wanted."""
    if style is None or not coloured():
        return text
    given = {"bold": {"bold": True}, "dim": {"dim": True}}.get(style, {"fg": style})
    return click.style(text, **given)


def page(text: str) -> None:
    """Show a long text that is safe already: through the pager on a terminal, all of it on stdout elsewhere."""
    ended = text if text.endswith("\n") else f"{text}\n"
    if not (on_terminal() and _paged(ended)):
        click.echo(ended, nl=False, color=coloured())


def _paged(text: str) -> bool:
    """Give a text to $PAGER, or to less; say whether there was one."""
    from keyturn.assembly.outside import environment

    variables = environment()
    # As git does: leave at once when all of it fits, let colours through, leave it on the screen.
    surroundings = {"LESS": "FRX", **variables}
    command = shlex.split(variables.get("PAGER") or "less")
    try:
        pager = subprocess.Popen(command, stdin=subprocess.PIPE, env=surroundings)
    except OSError:
        return False
    # Ctrl-C belongs to the pager while it runs, and whoever leaves it early has seen enough.
    with suppress(BrokenPipeError), ignoring_interrupts(), pager:
        pager.communicate(text.encode("utf-8"))
    return True


@contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """Leave Ctrl-C to a program that runs in the foreground."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def on_terminal() -> bool:
    """Say whether a person reads stdout."""
    return sys.stdout.isatty()


def coloured() -> bool:
    """Say whether stdout takes colours: a terminal that can, and no NO_COLOR (no-color.org)."""
    return on_terminal() and _colours_wanted()


@cache
def _colours_wanted() -> bool:
    from keyturn.assembly.outside import environment

    variables = environment()
    return not variables.get("NO_COLOR") and variables.get("TERM") != "dumb"


def _emit_record(row: Row, columns: Sequence[Column]) -> None:
    width = max((len(column.title) for column in columns), default=0)
    for column in columns:
        if on_terminal():
            click.echo(f"{styled(column.title.ljust(width), 'dim')}  {column.text(row)}")
        else:
            click.echo(f"{column.title.lower()}\t{column.text(row)}")


def _emit_table(rows: Sequence[Row], columns: Sequence[Column], empty: str) -> None:
    if not rows:
        note(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold" if coloured() else "", padding=(0, GAP, 0, 0))
    console = Console(highlight=False, no_color=not coloured())
    cells = [[Text(column.text(row)) for column in columns] for row in rows]
    longest = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    for column, width in zip(columns, widths(columns, longest, console.width), strict=True):
        table.add_column(column.title, overflow="fold", width=width)
    for row_cells in cells:
        table.add_row(*row_cells)
    console.print(table)


def widths(columns: Sequence[Column], longest: Sequence[int], room: int) -> list[int | None]:
    """Share the width of a terminal out: the widest gives first, but neither a heading nor a `whole` column is cut.

    `longest` is what the cells of each column take. All None (whoever draws the table cuts) when that is too narrow.
    """
    shares = [max(len(column.title), cell) for column, cell in zip(columns, longest, strict=True)]
    least = [share if column.whole else len(column.title) for column, share in zip(columns, shares, strict=True)]
    room -= GAP * len(columns)
    if sum(least) > room:
        return [None] * len(columns)
    while sum(shares) > room:
        giving = max((place for place, share in enumerate(shares) if share > least[place]), key=shares.__getitem__)
        shares[giving] -= 1
    return [*shares]
