"""Reads tables of a policy text strictly: each helper returns a checked value or records a problem."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import timedelta

from keyturn.canon import MAX_INTEGER
from keyturn.model.time import parse_duration
from keyturn.policy.problems import Problems
from keyturn.policy.shown import is_plain, shown

LONGEST_TEXT = 200
LONGEST_LIST = 1000
_BARE = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)


def join(place: str, key: str) -> str:
    """Return the dotted path of `key` below `place`; an odd key is quoted and made harmless."""
    written = key if _BARE.fullmatch(key) else shown(key)
    if place.endswith(":"):
        return f"{place} {written}"  # a file of its own, not a table
    return f"{place}.{written}" if place else written


def is_name(text: str) -> bool:
    """Say whether `text` may name a principal, person, group or environment: ASCII, so that none look alike."""
    return _NAME.fullmatch(text) is not None


class Table:
    """One table of the text with the dotted path where it stands."""

    def __init__(self, raw: object, place: str, problems: Problems) -> None:
        self.place = place
        self.problems = problems
        self.raw: Mapping[str, object] = raw if isinstance(raw, dict) else {}
        if not isinstance(raw, dict):
            problems.add(place, f"must be a table, not {shown(raw)}")

    def at(self, key: str) -> str:
        """Return the dotted path of `key`."""
        return join(self.place, key)

    def wrong(self, key: str, text: str) -> None:
        """Record a problem at `key`."""
        self.problems.add(self.at(key), text)

    def only(self, *known: str) -> None:
        """Record every key that is none of `known`."""
        for key in self.raw:
            if key not in known:
                self.problems.unknown(self.at(key), f"unknown key {shown(key)}", key, known)

    def text(self, key: str, *, required: bool = False, default: str | None = None) -> str | None:
        """Return a printable text of at most 200 characters."""
        value = self.raw.get(key)
        if value is None:
            if required:
                self.wrong(key, "is missing")
            return default
        if not isinstance(value, str):
            self.wrong(key, f"must be a string, not {shown(value)}")
        elif not value.strip() or len(value) > LONGEST_TEXT:
            self.wrong(key, f"must have 1 to {LONGEST_TEXT} characters")
        elif not is_plain(value):
            self.wrong(key, "holds control, invisible or bidirectional characters")
        else:
            return value
        return default

    def texts(self, key: str, *, required: bool = False, longest: int = LONGEST_TEXT) -> tuple[str, ...]:
        """Return a list of distinct printable texts."""
        value = self.raw.get(key)
        if value is None:
            if required:
                self.wrong(key, "is missing")
            return ()
        if not isinstance(value, list) or len(value) > LONGEST_LIST:
            self.wrong(key, f"must be a list of at most {LONGEST_LIST} strings, not {shown(value)}")
            return ()
        if required and not value:
            self.wrong(key, "must not be empty")
        return tuple(text for index, item in enumerate(value) if (text := self._item(key, index, item, longest)))

    def _item(self, key: str, index: int, item: object, longest: int) -> str | None:
        place = f"{self.at(key)}[{index}]"
        if not isinstance(item, str) or not item or len(item) > longest:
            self.problems.add(place, f"must be a string of 1 to {longest} characters, not {shown(item)}")
        elif not is_plain(item):
            self.problems.add(place, "holds control, invisible or bidirectional characters")
        elif item in self.raw[key][:index]:  # type: ignore[index]  # `texts` checked that it is a list
            self.problems.add(place, f"{shown(item)} is listed twice")
        else:
            return item
        return None

    def names(self, key: str) -> frozenset[str]:
        """Return a list of names (see `is_name`)."""
        found = self.texts(key)
        for name in found:
            if not is_name(name):
                self.wrong(key, f"{shown(name)} is no name: use letters, digits and . _ @ -")
        return frozenset(found)

    def some_of(self, key: str, kind: str, known: Collection[str]) -> frozenset[str] | None:
        """Return the listed names, each that of a `kind` there is; None if the key is left out."""
        if key not in self.raw:
            return None
        found = self.texts(key, required=True)
        for name in found:
            if name not in known:
                self.problems.unknown(self.at(key), f"there is no {kind} {shown(name)}", name, known)
        return frozenset(found)

    def integer(self, key: str, *, low: int, high: int = MAX_INTEGER, default: int | None = None) -> int | None:
        """Return an integer between `low` and `high`, both included."""
        value = self.raw.get(key)
        if value is None:
            if default is None:
                self.wrong(key, "is missing")
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.wrong(key, f"must be an integer from {low} to {high}, not {shown(value)}")
            return default
        return value

    def choice(self, key: str, *known: str) -> str:
        """Return one of `known`; the first is the default."""
        value = self.raw.get(key, known[0])
        if isinstance(value, str) and value in known:
            return value
        written = ", ".join(shown(name) for name in known)
        self.problems.unknown(self.at(key), f"must be one of {written}, not {shown(value)}", str(value), known)
        return known[0]

    def duration(self, key: str, *, longest: timedelta, default: timedelta | None = None) -> timedelta | None:
        """Return a duration such as `30m`, at most `longest`."""
        written = self.text(key, required=default is None)
        if written is None:
            return default
        try:
            value = parse_duration(written)
        except ValueError as error:
            self.wrong(key, str(error))
            return default
        if value > longest:
            self.wrong(key, f"{written} is longer than {longest.days} days")
            return default
        return value

    def table(self, key: str) -> Table | None:
        """Return the table under `key`, or None if there is none."""
        return Table(self.raw[key], self.at(key), self.problems) if key in self.raw else None

    def tables(self, key: str) -> tuple[Table, ...]:
        """Return the tables of the array `[[key]]`."""
        value = self.raw.get(key, [])
        if not isinstance(value, list):
            self.wrong(key, f"must be a list of tables: write [[{key}]]")
            return ()
        return tuple(Table(item, f"{self.at(key)}[{i}]", self.problems) for i, item in enumerate(value))

    def named(self, key: str) -> tuple[tuple[str, Table], ...]:
        """Return the tables `[key.<name>]` with their names, which must be names that differ beyond case."""
        table = self.table(key)
        if table is None:
            return ()
        seen: dict[str, str] = {}
        for name in table.raw:
            if not is_name(name):
                self.problems.add(table.at(name), "is no name: use letters, digits and . _ @ -, at most 64")
            elif (other := seen.setdefault(name.lower(), name)) != name:
                self.problems.add(table.at(name), f"differs from {shown(other)} only in case")
        return tuple((name, Table(raw, table.at(name), self.problems)) for name, raw in table.raw.items())
