"""`keyturn audit show`: one action's story, or one entry in full."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from keyturn.cli.ids import LEAST, full_id, short_in
from keyturn.cli.looking import look
from keyturn.cli.output import AsJson, Column, emit, emit_json, json_option, say
from keyturn.cli.screen import safe
from keyturn.model.errors import Refused

if TYPE_CHECKING:
    from keyturn.canon import Json
    from keyturn.gateway.desk import Look
    from keyturn.gateway.show import Shown, ShownRefusal


@click.command(short_help="Tell the story of an action or an entry.")
@click.argument("named", metavar="ID|ENTRY")
@json_option
@click.pass_context
def command(ctx: click.Context, named: str, as_json: AsJson) -> None:
    """Tell the story of the action ID, or print the entry at the place ENTRY with all it carries.

    The story is for somebody who was not there: who asked for what and when, under which rule, who agreed with which
    key, what was looked at and changed, what came of it, and the receipts. With --json its entries are printed.

    A number that is a place in the log means the entry; to name an action that ends in digits, give more of its id.
    """
    if as_json:
        emit_json(look(ctx, lambda view: _entries(view, named)), as_json)
        return
    found = look(ctx, lambda view: _find(view, named))
    if isinstance(found, dict):
        _say_entry(found)
    else:
        _tell(*found)


def _entries(view: Look, named: str) -> list[dict[str, Json]] | dict[str, Json]:
    """Return an action's entries in full, or one entry."""
    from keyturn.gateway.finding import find_entries
    from keyturn.gateway.journal import full

    place = _place(view, named)
    if place is not None:
        return full(view, view.entry(place))
    return [full(view, entry) for entry in find_entries(view, full_id(view, named))]


def _find(view: Look, named: str) -> tuple[Shown | ShownRefusal, str] | dict[str, Json]:
    """Return what there is to tell of an action with its short id, or one entry in full."""
    from keyturn.gateway.journal import full
    from keyturn.gateway.show import show

    place = _place(view, named)
    if place is not None:
        return full(view, view.entry(place))
    action = full_id(view, named)
    return show(view, action), short_in(view, action)


def _place(view: Look, named: str) -> int | None:
    """Return the entry that a number means; None for the id of an action."""
    if named.isascii() and named.isdigit() and int(named) < view.head.size:
        return int(named)
    if named.isascii() and named.isdigit() and len(named) < LEAST:
        raise Refused("not_found", f"there is no entry {named}; the last is {view.head.size - 1}")
    return None


def _tell(shown: Shown | ShownRefusal, short: str) -> None:
    from keyturn.cli.sheet import speak, speak_heading
    from keyturn.cli.story import refusal_story, story
    from keyturn.gateway.show import Shown

    if isinstance(shown, Shown):
        speak_heading(shown.asked.plan.summary, shown.state)
        speak(list(story(shown, short)))
    else:
        speak_heading(f"A call of {shown.envelope['tool']}", "denied")
        speak(list(refusal_story(shown)))


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
