"""Writes a value that was seen so that it fits one line and cannot mislead the person who reads it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from enum import Enum

LONGEST = 80
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


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
    if text.isascii() and text.isprintable():
        return text
    return "".join("\ufffd" if unicodedata.category(letter) in _HIDDEN else letter for letter in text)


def is_plain(text: str) -> bool:
    """Say whether `text` holds no character that `plain` would replace."""
    return plain(text) == text


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
