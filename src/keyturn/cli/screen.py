"""Text for a person's screen: what others wrote is shown, never interpreted."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from keyturn.model.text import never_seen, written_out

_MARKS = 2  # combining marks shown on one letter; a taller pile would cover the lines around it


def safe(text: str, *, lines: bool = False) -> str:
    r"""Return `text` with every control, bidirectional and invisible character written out as `\u{…}`.

    With `lines` newlines and tabs stay; letters of all scripts stay. For titles, reasons, diffs, errors.
    """
    if text.isascii() and text.isprintable():
        return text
    if lines and "\n" in text:
        return "\n".join(safe(line, lines=True) for line in text.split("\n"))
    return "".join(_shown_one_by_one(text, lines))


def plain(text: str) -> str:
    r"""Return an identifier with everything outside printable ASCII written out as `\u{…}`.

    For names, targets, paths: where a look-alike letter would mislead.
    """
    return "".join(c if " " <= c <= "~" else written_out(c) for c in text)


def folded(text: str, width: int) -> list[str]:
    """Cut one safe line into rows of at most `width` cells, at spaces where there are some near the end."""
    rows: list[str] = []
    while len(text) > (cut := _fitting(text, width)):
        space = text.rfind(" ", cut // 2, cut + 1)
        end = cut if space <= 0 else space
        rows.append(text[:end])
        text = text[end:].removeprefix(" ")
    return [*rows, text]


def cells(text: str) -> int:
    """Return how many columns of a terminal a safe text takes."""
    return sum(_cells(character) for character in text)


def _shown_one_by_one(text: str, lines: bool) -> Iterator[str]:
    pile = 0
    for character in text:
        mark = unicodedata.combining(character) > 0
        pile = pile + 1 if mark else 0
        hidden = pile > _MARKS or _is_hidden(character)
        yield written_out(character) if hidden and not (lines and character == "\t") else character


def _is_hidden(character: str) -> bool:
    # Beside what hides: code points that this Python cannot place (their width is not known), and odd blanks.
    return (
        never_seen(character) or unicodedata.category(character) == "Cn" or (character.isspace() and character != " ")
    )


def _fitting(text: str, width: int) -> int:
    """Return how many characters of `text` fit into `width` cells: at least one, so that there is an end."""
    if text.isascii():
        return max(1, width)
    taken = 0
    for index, character in enumerate(text):
        taken += _cells(character)
        if taken > width:
            return max(1, index)
    return len(text)


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
