"""Hides values that look secret from the text shown to reviewers and kept in the ledger.

What counts: the value after `NAME=` or `NAME:` on one line, where the name holds one of the words below, and every
file with a private key in PEM. This is a net with holes (a secret under an innocent name, a value over several
lines), not a proof: releases should not hold secrets at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_WORDS = "secret|token|password|passwd|key|credential"
_TELLING = re.compile(_WORDS, re.IGNORECASE)
# Nothing in it is tried twice: files and annotations come from others, and must not take more than linear time.
_ASSIGNMENT = re.compile(
    rf"""^(?P<lead>(?:[^\S\n]|-)*+(?:export[^\S\n]++)?["']?)
        (?P<name>(?=[\w.\-]*?(?:{_WORDS}))[\w.\-]++)
        (?P<sign>["']?\s*+[=:]\s*+)
        (?P<value>\S[^\r\n]*)""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")


def holds_private_key(data: bytes) -> bool:
    """Say whether a file holds a private key in PEM; such a file is not shown at all."""
    return _PRIVATE_KEY.search(data) is not None


def is_telling(name: str) -> bool:
    """Say whether a name promises a secret, by the words above."""
    return _TELLING.search(name) is not None


def hide_secrets(text: str) -> str:
    """Return `text` with every value that looks secret replaced by `<hidden>`."""
    return _ASSIGNMENT.sub(r"\g<lead>\g<name>\g<sign><hidden>", text)


def hide_pair(old: str, new: str) -> tuple[str, str]:
    """Return both sides of a change with secret-looking values hidden.

    A value that stands under the same name on both sides becomes `<hidden, same>` on both. Any other becomes
    `<hidden, changed>` in the new text and `<hidden>` in the old one: a diff of the two still shows the line.
    """
    before, after = _values(old), _values(new)
    return _hide(old, after, "<hidden>"), _hide(new, before, "<hidden, changed>")


def _values(text: str) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for match in _ASSIGNMENT.finditer(text):
        found.setdefault(match["name"], set()).add(match["value"])
    return found


def _hide(text: str, other: Mapping[str, set[str]], otherwise: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        same = match["value"] in other.get(match["name"], set())
        return match["lead"] + match["name"] + match["sign"] + ("<hidden, same>" if same else otherwise)

    return _ASSIGNMENT.sub(replaced, text)
