"""Describes single values: texts, lists of them, numbers, durations, globs, moments."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from keyturn.canon import MAX_INTEGER, Json
from keyturn.policy.schema.keys import Fragment
from keyturn.policy.tables import LONGEST_LIST, LONGEST_TEXT

NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
DURATION = r"[1-9][0-9]{0,6}[smhd]"
TEXT: Fragment = {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}
YES_OR_NO: Fragment = {"type": "boolean"}
MOMENT: Fragment = {"type": "string", "format": "date-time"}
"""A date and time as TOML writes it without quotes; editors' tools see a string."""


def texts(*, least: int = 0, item: Fragment = TEXT) -> Fragment:
    """Return a list of different texts."""
    few: dict[str, Json] = {"minItems": least} if least else {}
    return {"type": "array", "items": dict(item), **few, "maxItems": LONGEST_LIST, "uniqueItems": True}


def written(pattern: str) -> Fragment:
    """Return a text that matches as a whole."""
    return {**TEXT, "pattern": f"^{pattern}$"}


def choice(*known: str) -> Fragment:
    """Return one of these words; the first is the default."""
    return {"type": "string", "enum": list(known), "default": known[0]}


def listed(known: Iterable[str]) -> Fragment:
    """Return one of these words, without a default."""
    return {"type": "string", "enum": sorted(known)}


def integer(low: int, high: int = MAX_INTEGER, default: int | None = None) -> Fragment:
    """Return an integer between two bounds, both included."""
    return {"type": "integer", "minimum": low, "maximum": high, **({} if default is None else {"default": default})}


def duration(default: str | None = None) -> Fragment:
    """Return a duration such as `30m`; how long it may be is for the reader to say."""
    return {**written(DURATION), **({} if default is None else {"default": default})}


def length(span: timedelta) -> str:
    """Return a span of time as a policy writes it."""
    seconds = span // timedelta(seconds=1)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
