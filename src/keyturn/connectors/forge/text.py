"""Which titles and bodies may be posted: text that other programs would read as a command is refused."""

from __future__ import annotations

import re

from keyturn.connectors.forge.names import shown
from keyturn.connectors.posting import line_problem
from keyturn.model.errors import ConnectorError

MAX_TITLE = 200
"""Characters of a title."""
MAX_BODY = 20_000
"""Characters of a body."""

_OURS = re.compile(r"keyturn-[a-z]+\s*:", re.IGNORECASE)


def clean_title(title: str) -> str:
    """Return a title fit to be posted. Refused: empty, more than one line, invisible characters, commands."""
    if not title.strip() or len(title) > MAX_TITLE:
        raise ConnectorError(f"title: 1 to {MAX_TITLE} characters")
    if "\t" in title:
        raise ConnectorError("title: one line without tabs or invisible characters")
    _check_line("title", title)
    return title.strip()


def clean_body(body: str) -> str:
    """Return a body fit to be posted, with line feeds as line ends. Refused: invisible characters, commands."""
    text = body.replace("\r\n", "\n").strip("\n")
    if len(text) > MAX_BODY:
        raise ConnectorError(f"body: at most {MAX_BODY} characters")
    for number, line in enumerate(text.split("\n"), 1):
        _check_line(f"body line {number}", line)
    return text


def _check_line(place: str, line: str) -> None:
    if problem := line_problem(line):
        raise ConnectorError(f"{place}: {shown(line)} {problem}")
    if _OURS.match(line.lstrip()):
        raise ConnectorError(f"{place}: {shown(line)} looks like one of Keyturn's own trailers")
