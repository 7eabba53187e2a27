"""Reads JSON text so strictly that it has one meaning, naming every place that has not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keyturn.canon import MAX_INTEGER, Json

MAX_NESTING = 32
"""Levels of objects and arrays; contracts use about ten."""


class _Pairs(list[tuple[str, Any]]):
    """An object as it was written: its members in order, doubles included."""


class _Inexact(str):
    """A number as it was written that is not an integer."""

    __slots__ = ()


def read_json(text: str) -> tuple[Json, tuple[str, ...]]:
    """Return the value of `text` and what is wrong with it, each problem with its dotted path.

    Refused: anything but JSON (RFC 8259), doubled keys, keys outside ASCII, numbers that are not integers below
    2**53 in size, lone surrogates, and nesting deeper than `MAX_NESTING`. With problems the value must not be used.
    """
    try:
        written = json.loads(text, object_pairs_hook=_Pairs, parse_float=_Inexact, parse_constant=_Inexact)
    except (ValueError, RecursionError) as error:
        return None, (f"not JSON: {error}",)
    reading = _Reading()
    value = reading.settle(written, "", 0)
    return value, tuple(reading.problems)


def under(path: str, step: str | int) -> str:
    """Return the dotted path of a member or an item of what stands at `path`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{step}" if path else step


def at(path: str, problem: str) -> str:
    """Write a problem with its place; the place of the whole text needs no name."""
    return f"{path}: {problem}" if path else problem


@dataclass(frozen=True, slots=True)
class _Reading:
    problems: list[str] = field(default_factory=list)

    def settle(self, written: Any, path: str, depth: int) -> Json:
        if depth > MAX_NESTING:
            self.problems.append(at(path, f"nested deeper than {MAX_NESTING} levels"))
            return None
        match written:
            case _Pairs():
                return self._object(written, path, depth)
            case list():
                return [self.settle(item, under(path, place), depth + 1) for place, item in enumerate(written)]
            case _:
                return self._scalar(written, path)

    def _object(self, written: _Pairs, path: str, depth: int) -> Mapping[str, Json]:
        value: dict[str, Json] = {}
        for key, item in written:
            if key in value:
                self.problems.append(at(under(path, key), "this key stands twice in one object"))
            if not key.isascii():
                self.problems.append(at(path, f"the key {key!a} is not ASCII"))
            value[key] = self.settle(item, under(path, key), depth + 1)
        return value

    def _scalar(self, written: Any, path: str) -> Json:
        problem = _scalar_problem(written)
        if problem is not None:
            self.problems.append(at(path, problem))
            return None
        scalar: Json = written
        return scalar


def _scalar_problem(written: Any) -> str | None:
    match written:
        case _Inexact():
            return f"{written[:40]} is not an integer; contracts hold no other numbers"
        case str() if any("\ud800" <= character <= "\udfff" for character in written):
            return "holds half of a surrogate pair"
        case int() if abs(written) > MAX_INTEGER:
            return "is an integer of 2**53 or more"
        case _:
            return None


def names(values: Iterable[str]) -> str:
    """Write names for people: sorted, with commas."""
    return ", ".join(sorted(values))


def as_object(value: Json) -> Mapping[str, Json] | None:
    """Return the value if it is an object."""
    return value if isinstance(value, Mapping) else None


def as_array(value: Json) -> Sequence[Json] | None:
    """Return the value if it is an array."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else None
