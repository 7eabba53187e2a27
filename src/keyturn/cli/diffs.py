"""Diffs for people: complete, made safe, with the file names of the headers as plain ASCII."""

from __future__ import annotations

import re
from collections.abc import Iterator

from keyturn.cli.output import on_terminal, styled
from keyturn.cli.screen import folded, plain, safe
from keyturn.cli.sheet import width

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_STYLES = {"+": "green", "-": "red"}
_AGAIN = "↪"  # begins the rows a long line goes on in; no line of a diff begins so


def shown_diff(diff: str) -> str:
    """Return a unified diff as it is put on the screen: coloured and folded on a terminal, complete everywhere."""
    return "".join(f"{row}\n" for text, style in _lines(diff) for row in _rows(text, style))


def _lines(diff: str) -> Iterator[tuple[str, str | None]]:
    """Yield each line made safe, with its colour.

    Lines are counted off against each hunk's heading: a removed line that reads `-- a/other` must not pass for the
    name of a file.
    """
    old = new = 0
    for line in diff.removesuffix("\n").split("\n"):
        if old > 0 or new > 0 or line.startswith("\\"):
            yield safe(line, lines=True), _STYLES.get(line[:1])
            old -= line[:1] in {" ", "-", ""}
            new -= line[:1] in {" ", "+", ""}
        elif hunk := _HUNK.match(line):
            old, new = (int(count or 1) for count in hunk.groups())
            yield safe(line), "cyan"
        else:
            yield plain(line), "bold"


def _rows(text: str, style: str | None) -> Iterator[str]:
    if not on_terminal():
        yield text
        return
    first, *rest = folded(text.expandtabs(8), width() - len(_AGAIN) - 1)
    yield styled(first, style)
    for row in rest:
        yield styled(f"{_AGAIN} {row}", style)
