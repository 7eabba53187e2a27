"""Which titles and bodies may be posted: text that other programs would read as a command is refused."""

from __future__ import annotations

import re

from keyturn.connectors.forge.names import hidden_characters, shown
from keyturn.model.errors import ConnectorError

MAX_TITLE = 200
"""Characters of a title."""
MAX_BODY = 20_000
"""Characters of a body."""

# Bots read a line that begins with / or @ as addressed to them, also behind quote and list marks.
_COMMAND = re.compile(r"[\s>*+\-]*[/@]\S")
# The closing keywords of GitHub and GitLab, with every form of reference they take.
_CLOSING = re.compile(
    r"\b(?:clos(?:e|es|ed|ing)|fix(?:|es|ed|ing)|resolv(?:e|es|ed|ing)|implement(?:|s|ed|ing))\b"
    r"\s*:?\s+(?:issues?\s+)?(?:[\w.\-/]*[#!]\d|gh-\d|https?://)",
    re.IGNORECASE,
)
_OURS = re.compile(r"keyturn-[a-z]+\s*:", re.IGNORECASE)


def clean_title(title: str) -> str:
    """Return a title fit to be posted. Refused: empty, more than one line, invisible characters, commands."""
    if not title.strip() or len(title) > MAX_TITLE:
        raise ConnectorError(f"title: 1 to {MAX_TITLE} characters")
    if hidden_characters(title):
        raise ConnectorError("title: one line without control, bidirectional or other invisible characters")
    _refuse_commands("title", title)
    return title.strip()


def clean_body(body: str) -> str:
    """Return a body fit to be posted, with line feeds as line ends. Refused: invisible characters, commands."""
    text = body.replace("\r\n", "\n").strip("\n")
    if len(text) > MAX_BODY:
        raise ConnectorError(f"body: at most {MAX_BODY} characters")
    for number, line in enumerate(text.split("\n"), 1):
        if hidden_characters(line, allowed="\t"):
            raise ConnectorError(f"body line {number}: control, bidirectional or other invisible characters")
        _refuse_commands(f"body line {number}", line)
    return text


def _refuse_commands(place: str, line: str) -> None:
    if _COMMAND.match(line):
        raise ConnectorError(f"{place}: {shown(line)} begins with / or @, which bots read as a command")
    if _CLOSING.search(line):
        raise ConnectorError(f"{place}: {shown(line)} would close an issue; name the issue without a closing word")
    if _OURS.match(line.lstrip()):
        raise ConnectorError(f"{place}: {shown(line)} looks like one of Keyturn's own trailers")
