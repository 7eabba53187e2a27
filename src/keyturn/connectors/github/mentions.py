"""Finds the people whom a text mentions, for GitHub tells them of it."""

from __future__ import annotations

import re
from html import unescape
from typing import Final

from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible

# GitHub looks for them in what Markdown makes of a text: emphasis (`_@ann_`) is gone then, and `&#64;` is an `@`.
_MENTION: Final = re.compile(r"(?<![a-z0-9])@([a-z0-9](?:-?[a-z0-9]){0,38})(/[a-z0-9._-]+)?", re.IGNORECASE)


def mentions(text: str) -> tuple[str, ...]:
    """Return the logins that a text mentions. Raises `ConnectorError` for a team: nobody sees how many that are.

    https://docs.github.com/get-started/writing-on-github/getting-started-with-writing-and-formatting-on-github
    """
    found = _MENTION.findall(unescape(text))
    for name, team in found:
        if team:
            words = f"mentions the team @{visible(name + team)}, and nobody sees how many people it has"
            raise ConnectorError(f"{words}; leave out the @")
    return tuple(dict.fromkeys(name.lower() for name, _ in found))
