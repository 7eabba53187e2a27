"""Writes a value that was seen so that it fits one line and cannot mislead the person who reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum

from keyturn.model.text import never_seen, replaced

LONGEST = 80


def shown(value: object) -> str:
    """Return `value` in at most 80 characters, without control, format or bidirectional characters."""
    if isinstance(value, str):
        return _bounded(json.dumps(plain(value[: LONGEST + 1]), ensure_ascii=False))
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a huge number"
    return _bounded(plain(str(value)))


def plain(text: str) -> str:
    """Return `text` with every character a terminal could obey or hide replaced by U+FFFD."""
    return replaced(text)


def is_plain(text: str) -> bool:
    """Say whether `text` holds no character that `plain` would replace."""
    return not never_seen(text)


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
