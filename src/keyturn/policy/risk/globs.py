"""A list of globs that is asked as one, so that many paths against many globs stay quick."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from keyturn.policy.patterns import LONGEST, Pattern, glob


@dataclass(frozen=True, slots=True)
class Globs:
    """Matches a path that one of `sources` matches; upper and lower case are equal.

    Raises `PatternError` on construction for a glob that cannot be read.
    """

    sources: tuple[str, ...]
    _patterns: tuple[Pattern, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_patterns", tuple(_joined(self.sources)))

    def matches(self, path: str) -> bool:
        """Say whether one of the globs matches. What is no Unicode text cannot be told apart, and matches."""
        try:
            return any(pattern.matches(path) for pattern in self._patterns)
        except UnicodeEncodeError:
            return True


def _joined(sources: Iterable[str]) -> Iterator[Pattern]:
    """Join as many globs into one pattern as it may hold."""
    waiting = ""
    for source in sources:
        part = f"(?:{glob(source).source})"
        if waiting and len(waiting) + len(part) >= LONGEST:
            yield Pattern(waiting, ignore_case=True)
            waiting = ""
        waiting = f"{waiting}|{part}" if waiting else part
    if waiting:
        yield Pattern(waiting, ignore_case=True)
