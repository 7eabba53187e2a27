"""`keyturn audit show`: one action's story, or one entry in full."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from keyturn.cli.ids import LEAST, full_id
from keyturn.cli.looking import look
from keyturn.cli.output import AsJson, Column, emit, emit_json, json_option, say
from keyturn.cli.screen import safe
from keyturn.model.errors import Refused

if TYPE_CHECKING:
    from keyturn.canon import Json
    from keyturn.gateway.desk import Look

_STORY = (
    Column("ENTRY", "seq"),
    Column("TIME", "at"),
    Column("KIND", "kind"),
    Column("WHAT", "text"),
)


@click.command(short_help="Tell the story of an action or an entry.")
@click.argument("named", metavar="ID|ENTRY")
@json_option
@click.pass_context
def command(ctx: click.Context, named: str, as_json: AsJson) -> None:
    """Tell the story of the action ID, or print the entry at the place ENTRY with all it carries.

    A number that is a place in the log means the entry; to name an action that ends in digits, give more of its id.
    """
    found = look(ctx, lambda view: _find(view, named))
    if as_json:
        emit_json(found, as_json)
    elif isinstance(found, list):
        say(f"action {found[0]['action']}", style="bold")
        emit(found, as_json=False, columns=_STORY)
    else:
        _say_entry(found)


def _find(view: Look, named: str) -> list[dict[str, Json]] | dict[str, Json]:
    """Return an action's entries in full, or one entry."""
    from keyturn.gateway.finding import find_entries
    from keyturn.gateway.journal import full

    if named.isascii() and named.isdigit() and int(named) < view.head.size:
        return full(view, view.entry(int(named)))
    if named.isascii() and named.isdigit() and len(named) < LEAST:
        raise Refused("not_found", f"there is no entry {named}; the last is {view.head.size - 1}")
    return [full(view, entry) for entry in find_entries(view, full_id(view, named))]


def _say_entry(entry: dict[str, Any]) -> None:
    payloads, facts = entry.pop("payloads"), entry.pop("facts")
    values = {**facts, **{f"payload {name}": value for name, value in payloads.items()}}
    short = {name: value for name, value in values.items() if _is_short(value)}
    record = {**{name: value for name, value in entry.items() if value is not None}, **short}
    emit(record, as_json=False, columns=[Column(name, name) for name in record])
    for name in (name for name in values if name not in short):
        for path, text in _texts(name, values[name]):
            say()
            say(path, style="bold")
            click.echo(safe(text, lines=True))


def _is_short(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return not isinstance(value, dict) and "\n" not in str(value)


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield a value as text; files one by one, as they are."""
    if name.endswith(".files") and isinstance(value, dict):
        yield from ((f"{name}: {path}", str(text)) for path, text in value.items())
    else:
        yield name, value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
