"""Matches globs and regular expressions in time linear in the text, whatever the pattern.

Both run on RE2 (https://github.com/google/re2), which has no backtracking. A glob is translated:

    ?      one character, not "/"
    *      any characters, not "/"
    **/    nothing, or any folders
    **     any characters, "/" too
    \\x     the character x itself

Everything else stands for itself; `[`, `]`, `{` and `}` must be escaped, so that nobody expects sets or alternatives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import re2  # type: ignore[import-untyped]  # google-re2 ships no type information

LONGEST = 1000
_MEMORY = 4 * 1024 * 1024
_STARS = re.compile(r"\*{2,}/?|[*?]+")  # a slash after several stars is not always asked for


class PatternError(ValueError):
    """The pattern cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class _Plainly:
    """What a glob asks of a text that can be seen without RE2, which takes ten times as long.

    start   how the text begins
    pieces  what stands somewhere in it
    rest    what follows `start`: "" nothing, "*" or "**" alone; None: RE2 has to say
    """

    start: bytes
    pieces: tuple[bytes, ...]
    rest: str | None

    def matches(self, data: bytes) -> bool | None:
        """Say whether `data` matches; None where that takes RE2."""
        if not data.startswith(self.start):
            return False
        match self.rest:
            case None:
                for piece in self.pieces:
                    if piece not in data:
                        return False
                return None
            case "":
                return len(data) == len(self.start)
            case "*":
                return data.find(b"/", len(self.start)) < 0
            case _:
                return True


@dataclass(frozen=True, slots=True)
class Pattern:
    """One compiled regular expression in RE2's syntax; `ignore_case` folds case as Unicode does.

    Raises `PatternError` on construction for a pattern RE2 refuses (backreferences, look-around, too large).
    """

    source: str
    ignore_case: bool = False
    _plainly: _Plainly | None = field(default=None, repr=False, compare=False)
    _compiled: object = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.source) > LONGEST:
            raise PatternError(f"is longer than {LONGEST} characters")
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY
        options.case_sensitive = not self.ignore_case
        try:
            compiled = re2.compile(self.source.encode(), options)  # of bytes, RE2 need not count characters
        except re2.error as error:
            said = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
            raise PatternError(f"is no RE2 pattern: {said}") from error
        object.__setattr__(self, "_compiled", compiled)

    def matches(self, text: str) -> bool:
        """Say whether the whole of `text` matches. Raises `UnicodeEncodeError` for lone surrogates."""
        data = text.encode()
        if self._plainly is not None and (known := self._plainly.matches(data)) is not None:
            return known
        return self._compiled.fullmatch(data) is not None  # type: ignore[attr-defined]  # RE2's own object

    def found_in(self, text: str) -> bool:
        """Say whether any part of `text` matches."""
        return self._compiled.search(text.encode()) is not None  # type: ignore[attr-defined]  # RE2's own object


def glob(source: str, *, ignore_case: bool = False) -> Pattern:
    """Return the pattern a glob stands for. Raises `PatternError`."""
    if len(source) > LONGEST // 4:
        raise PatternError(f"is longer than {LONGEST // 4} characters")
    return Pattern("(?s)" + _translated(source), ignore_case, None if ignore_case else _plainly(source))


def _plainly(source: str) -> _Plainly | None:
    if "\\" in source:
        return None
    start, *others = _STARS.split(source)
    rest = source[len(start) :]
    pieces = tuple(piece.encode() for piece in others if piece)
    return _Plainly(start.encode(), pieces, rest if rest in {"", "*", "**"} else None)


def _translated(source: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(source):
        piece, width = _piece(source, at)
        parts.append(piece)
        at += width
    return "".join(parts)


def _piece(source: str, at: int) -> tuple[str, int]:
    """Return the expression for what starts at `at`, and how many characters of the glob it uses."""
    letter = source[at]
    if letter == "\\":
        if at + 1 == len(source):
            raise PatternError("ends with a backslash that escapes nothing")
        return re2.escape(source[at + 1]), 2
    if letter in "[]{}":
        raise PatternError(f'holds "{letter}": sets and alternatives do not exist here; write "\\{letter}"')
    if letter == "?":
        return "[^/]", 1
    if letter != "*":
        return re2.escape(letter), 1
    stars = len(source) - at - len(source[at:].lstrip("*"))
    if stars == 1:
        return "[^/]*", 1
    starts_segment = at == 0 or source[at - 1] == "/"
    if starts_segment and source[at + stars : at + stars + 1] == "/":
        return "(?:.*/)?", stars + 1
    return ".*", stars
