"""Holds many rules so that the few which may speak of a request are found without asking each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from keyturn.canon import Json
from keyturn.policy.conditions.equals import Equals
from keyturn.policy.conditions.glob import Glob
from keyturn.policy.conditions.membership import OneOf
from keyturn.policy.conditions.result import Test
from keyturn.policy.where import Condition

TARGET = ":target"
"""What a search calls the target among the arguments: no argument has such a name."""

_WILD = "*?\\"


@dataclass(frozen=True, slots=True)
class Speaker:
    """A rule as far as a search leaves open whether it applies. `doubts` are further reasons why it may not."""

    rule: str
    conditions: tuple[Condition, ...]
    doubts: tuple[str, ...] = ()


class Crowd:
    """Rules by what one of their conditions asks of the target or of an argument; never changed once it is made."""

    def __init__(self, speakers: Iterable[Speaker]) -> None:
        self._everybody = tuple(speakers)
        self._loose: list[Speaker] = []
        self._by_start: defaultdict[tuple[str, str], list[Speaker]] = defaultdict(list)
        self._by_value: defaultdict[tuple[str, type, object], list[Speaker]] = defaultdict(list)
        self._lengths: defaultdict[str, set[int]] = defaultdict(set)
        for speaker in self._everybody:
            self._add(speaker)

    def everybody(self) -> Iterator[Speaker]:
        """Yield all rules."""
        return iter(self._everybody)

    def about(self, arguments: Mapping[str, Json], target: str) -> Iterator[Speaker]:
        """Yield at least the rules that may apply to a request, perhaps some twice."""
        yield from self._loose
        for name, value in ((TARGET, target), *arguments.items()):
            if not isinstance(value, (str, int)):
                continue
            yield from self._by_value.get((name, type(value), value), ())
            if isinstance(value, str):
                for length in self._lengths.get(name, ()):
                    yield from self._by_start.get((name, value[:length]), ())

    def _add(self, speaker: Speaker) -> None:
        for condition in speaker.conditions:
            name = _variable(condition)
            if name is None:
                continue
            if starts := _starts(condition.test):
                self._lengths[name] |= {len(start) for start in starts}
                for start in starts:
                    self._by_start[name, start].append(speaker)
                return
            if values := _values(condition.test):
                for value in values:
                    self._by_value[name, type(value), value].append(speaker)
                return
        self._loose.append(speaker)


def _variable(condition: Condition) -> str | None:
    """Return what a condition asks about, if it can only hold of a value that passes its test.

    A forbid's condition on an argument holds of what it cannot judge too; a default stands in for what is absent.
    """
    path = condition.path
    if path.root == "target":
        return TARGET
    plain = path.root == "arguments" and len(path.steps) == 1 and not path.steps[0].star
    return path.steps[0].name if plain and condition.strict and path.steps[0].default is None else None


def _starts(test: Test) -> frozenset[str]:
    """Return how every text begins that passes a test; nothing if that is not plain."""
    if not isinstance(test, Glob) or any(pattern.ignore_case for pattern in test.patterns):
        return frozenset()
    return frozenset(_literal(source) for source in test.sources)


def _literal(source: str) -> str:
    return source[: next((at for at, letter in enumerate(source) if letter in _WILD), len(source))]


def _values(test: Test) -> tuple[str | int, ...]:
    """Return the values that pass a test; nothing if that is not plain."""
    match test:
        case Equals(value):
            return (value,)
        case OneOf(values):
            return values
        case _:
            return ()
