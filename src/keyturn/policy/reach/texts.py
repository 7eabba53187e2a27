"""Finds a text for every way in which a set of globs and listed values can match or not match.

The globs are run side by side as one automaton (positions as bits of an integer, as in Glushkov's construction), and
its states are visited breadth first. Letters that no glob tells apart are tried once. So each combination of matches
that any text has is found with a shortest text that has it, and when the visit ends, there is no other combination.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field

MOST_STATES = 5_000
"""States visited before the search is given up; then it is not said that there are no other combinations."""

_FRESH = "axyzbcdefghijklmnopqrstuvw0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FOLDED = {"k": "\u212a", "s": "\u017f"}  # KELVIN SIGN and LONG S: the letters outside ASCII that fold into it


@dataclass(frozen=True, slots=True)
class Spelling:
    """One glob, or one listed value taken literally."""

    source: str
    literal: bool = False
    ignore_case: bool = False


@dataclass(slots=True)
class _Automaton:
    """All spellings side by side. Bit n is "the parts before n are matched"; masks say which bits take a letter."""

    letters: tuple[str, ...]
    advance: dict[str, int] = field(default_factory=dict)
    stay: dict[str, int] = field(default_factory=dict)
    skip_one: int = 0
    skip_two: int = 0
    size: int = 0
    start: int = 0

    def add(self, spelling: Spelling) -> int:
        """Add one spelling and return the bit of its end."""
        self.start |= 1 << self.size
        for part in _parts(spelling):
            self._part(part, 1 << self.size, ignore_case=spelling.ignore_case)
            self.size += 1
        self.size += 1
        return 1 << (self.size - 1)

    def _part(self, part: str, bit: int, *, ignore_case: bool) -> None:
        match part:
            case "*" | "**":
                self.skip_one |= bit
                self._mark(self.stay, bit, (c for c in self.letters if part == "**" or c != "/"))
            case "?":
                self._mark(self.advance, bit, (c for c in self.letters if c != "/"))
            case "folders?":
                self.skip_one |= bit
                self.skip_two |= bit
            case "folders":
                self._mark(self.stay, bit, self.letters)
                self._mark(self.advance, bit, "/")
            case _:
                same = _variants(part[1:]) if ignore_case else (part[1:],)
                self._mark(self.advance, bit, (c for c in self.letters if c in same))

    def _mark(self, masks: dict[str, int], bit: int, letters: Iterable[str]) -> None:
        for letter in letters:
            masks[letter] = masks.get(letter, 0) | bit

    def closed(self, state: int) -> int:
        """Add what is reached without a letter."""
        while True:
            wider = state | (state & self.skip_one) << 1 | (state & self.skip_two) << 2
            if wider == state:
                return state
            state = wider

    def after(self, state: int, letter: str) -> int:
        """Return the state after one more letter."""
        return self.closed((state & self.advance.get(letter, 0)) << 1 | state & self.stay.get(letter, 0))


def texts(groups: Sequence[Sequence[Spelling]]) -> Generator[str, None, bool]:
    """Yield a text for each combination of groups of which it matches one spelling; where it can, one that is not "".

    Returns whether these are all combinations there are.
    """
    plain = _foldable(groups)
    automaton = _Automaton(_alphabet(groups))
    ends = [sum(automaton.add(spelling) for spelling in group) for group in groups]
    start = (automaton.closed(automaton.start), False)
    found = {start: ""}
    told: set[tuple[int, bool]] = set()
    waiting = deque([start])
    while waiting:
        state, _ = place = waiting.popleft()
        text = found[place]
        ways = (sum(1 << n for n, end in enumerate(ends) if state & end), bool(text))
        if ways not in told:
            told.add(ways)
            yield text
        if len(found) > MOST_STATES:
            return False
        for letter in automaton.letters:
            following = (automaton.after(state, letter), True)
            if following not in found:
                found[following] = text + letter
                waiting.append(following)
    return plain


def _alphabet(groups: Sequence[Sequence[Spelling]]) -> tuple[str, ...]:
    """Return a letter of every kind: one that stands nowhere, then those that stand somewhere."""
    written: dict[str, None] = {}
    for spelling in (spelling for group in groups for spelling in group):
        for part in _parts(spelling):
            if part.startswith("="):
                written |= dict.fromkeys(_variants(part[1:]) if spelling.ignore_case else (part[1:],))
    return (_unwritten(written), *dict.fromkeys((*written, "/")))


def _unwritten(written: Iterable[str]) -> str:
    """Return a letter that none of those written is, in either case."""
    taken = {variant for letter in written for variant in _variants(letter)}
    known = next((letter for letter in _FRESH if letter not in taken), None)
    return known or next(chr(code) for code in range(0x4E00, 0x9FFF) if chr(code) not in taken)


def _foldable(groups: Sequence[Sequence[Spelling]]) -> bool:
    """Say whether `_variants` knows all letters that are the same whatever their case."""
    return all(not spelling.ignore_case or spelling.source.isascii() for group in groups for spelling in group)


def _variants(letter: str) -> tuple[str, ...]:
    folded = _FOLDED.get(letter.lower())
    return tuple(dict.fromkeys((letter, letter.lower(), letter.upper(), *(folded or ()))))


def _parts(spelling: Spelling) -> list[str]:
    """Take a glob apart as `patterns` translates it: letters are written `=a`."""
    source, parts, at = spelling.source, list[str](), 0
    if spelling.literal:
        return [f"={letter}" for letter in source]
    while at < len(source):
        found, width = _part(source, at)
        parts += found
        at += width
    return parts


def _part(source: str, at: int) -> tuple[list[str], int]:
    letter = source[at]
    if letter == "\\":
        return [f"={source[at + 1]}"], 2
    if letter == "?":
        return ["?"], 1
    if letter != "*":
        return [f"={letter}"], 1
    stars = len(source) - at - len(source[at:].lstrip("*"))
    if stars == 1:
        return ["*"], 1
    starts_segment = at == 0 or source[at - 1] == "/"
    if starts_segment and source[at + stars : at + stars + 1] == "/":
        return ["folders?", "folders"], stars + 1
    return ["**"], stars
