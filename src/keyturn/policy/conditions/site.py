"""Where a condition is being read: its dotted path, the values possible there, and how strict its rule is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import TypeVar

from keyturn.canon import MAX_INTEGER
from keyturn.policy.conditions.result import Test
from keyturn.policy.domains import Domain
from keyturn.policy.patterns import LONGEST, PatternError
from keyturn.policy.problems import Problems, nearest
from keyturn.policy.shown import is_plain, shown

_TYPES = {bool: "boolean", int: "integer", str: "string"}
_MANY = 1000
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The place where a test is read.

    domain       what the value may be
    element      what an item may be if the value may be a list, else None
    strict       the rule is a grant: what is absent never satisfies it, not even a `not`
    read         reads a nested test
    """

    place: str
    domain: Domain
    element: Domain | None
    problems: Problems
    strict: bool
    read: Callable[[object, Site], Test | None]
    ignore_case: bool = False

    def wrong(self, text: str) -> None:
        """Record a problem here."""
        self.problems.add(self.place, text)

    def below(self, key: str) -> Site:
        """Return the place of an operator's operand."""
        return replace(self, place=f"{self.place}.{key}")

    def items(self) -> Site | None:
        """Return the place of the list's items; None, with a problem, if there is no list."""
        if self.element is None:
            self.wrong("asks about items, but the value is no list")
            return None
        return replace(self, domain=self.element, element=None)

    def takes(self, *types: str) -> bool:
        """Say whether a value of one of `types` is possible here; if not, record it."""
        if self.domain.types is None or not self.domain.types.isdisjoint(types):
            return True
        self.wrong(f"cannot apply: the value is {self._named()}")
        return False

    def literal(self, raw: object) -> str | int | None:
        """Return the value written here if it is possible, else None with a problem."""
        if self.domain.date:
            return self._date(raw)
        kind = _TYPES.get(type(raw))
        if kind is None or not isinstance(raw, (str, int)):
            self.wrong(f"must be a string, an integer, true or false, not {shown(raw)}")
        elif self.domain.types is not None and kind not in self.domain.types:
            self.wrong(f"{shown(raw)} can never be: the value is {self._named()}")
        elif self.domain.values is not None and raw not in self.domain.values:
            near = nearest(str(raw), [str(value) for value in self.domain.values])
            self.wrong(f"{shown(raw)} can never be: {self._possible()}{near}")
        elif _sound(raw):
            return raw
        else:
            self.wrong("is too large, or holds control or invisible characters")
        return None

    def literals(self, raw: object) -> tuple[str | int, ...] | None:
        """Return a non-empty list of possible values, or None with problems."""
        if not isinstance(raw, list) or not raw or len(raw) > _MANY:
            self.wrong(f"must be a list of 1 to {_MANY} values, not {shown(raw)}")
            return None
        found = [replace(self, place=f"{self.place}[{i}]").literal(item) for i, item in enumerate(raw)]
        known = tuple(value for value in found if value is not None)
        return known if len(known) == len(raw) else None

    def patterns(self, raw: object, make: Callable[[str], _Made]) -> tuple[_Made, ...] | None:
        """Return one or several compiled patterns, or None with problems."""
        if not self.takes("string"):
            return None
        listed = raw if isinstance(raw, list) else [raw]
        if not listed or len(listed) > _MANY:
            self.wrong(f"must be a pattern or a list of 1 to {_MANY}")
            return None
        made: list[_Made] = []
        for item in listed:
            if not isinstance(item, str) or not item:
                self.wrong(f"must be a pattern, not {shown(item)}")
                continue
            try:
                made.append(make(item))
            except PatternError as error:
                self.wrong(f"{shown(item)} {error}")
        return tuple(made) if len(made) == len(listed) else None

    def _date(self, raw: object) -> str | None:
        if type(raw) is date:
            return raw.isoformat()
        try:
            return date.fromisoformat(str(raw)).isoformat()
        except ValueError:
            self.wrong(f"must be a date such as 2026-12-24, not {shown(raw)}")
            return None

    def _named(self) -> str:
        listed = self.domain.types == frozenset({"array"})
        return "a list: ask about its items with `every` or `some`" if listed else self.domain.named

    def _possible(self) -> str:
        values = sorted(self.domain.values or (), key=str)
        return "the value is one of " + ", ".join(shown(value) for value in values[:12]) if values else "no value is"


def _sound(raw: str | int) -> bool:
    if isinstance(raw, str):
        return len(raw) <= LONGEST and is_plain(raw)
    return abs(raw) <= MAX_INTEGER
