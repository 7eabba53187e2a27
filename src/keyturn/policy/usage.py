"""Counts what actions have used, so that sliding windows can be asked at any time.

`Usage` is a fold over the ledger's entries, owned and changed by one process. It keeps facts (who used what, where,
when), never rule names, so a new policy finds the same past. Windows slide: a use at `t` counts while
`now < t + window`, and at that very moment it has left. Released uses never count. Pending requests count until
they are told to be over, however long that takes.

What cannot be given back any more is kept in steps that grow with its age (`STEPS`), so that what a week of calls
takes does not depend on how many they were. Steps round up: a use may leave late by one step, never early, and a
window no longer than a step's age is exact.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count, product
from operator import itemgetter
from sys import intern
from typing import Protocol, TypeAlias

from keyturn.canon import Json
from keyturn.model.time import format_timestamp, parse_timestamp, shifted

LONGEST_WINDOW = timedelta(days=7)
PENDING = "pending"
DIMENSIONS = ("principal", "owner", "tool", "target", "environment")
STEPS = (
    (timedelta(minutes=1), timedelta(seconds=1)),
    (timedelta(hours=1), timedelta(minutes=1)),
    (timedelta(days=1), timedelta(minutes=15)),
)
"""From which age on uses are counted together, and within which step of time."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BEGINNING = (shifted(_EPOCH, timedelta.min) - _EPOCH) // _MICROSECOND
_HORIZON = LONGEST_WINDOW // _MICROSECOND
_AGES = tuple((age // _MICROSECOND, step // _MICROSECOND) for age, step in STEPS)
_SHAPE = "a row of the usage snapshot has another shape"

Facts: TypeAlias = tuple[str, str | None, str, str, str]
Key: TypeAlias = tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose uses are counted together: those whose fact is in the set, for each set that is not None."""

    principal: frozenset[str] | None = None
    owner: frozenset[str] | None = None
    tool: frozenset[str] | None = None
    target: frozenset[str] | None = None
    environment: frozenset[str] | None = None

    @property
    def sets(self) -> tuple[frozenset[str] | None, ...]:
        """The sets in the order of `DIMENSIONS`."""
        return (self.principal, self.owner, self.tool, self.target, self.environment)


@dataclass(frozen=True, slots=True)
class Used:
    """How much is used, and when the oldest counted use leaves (None if nothing is, or nothing leaves by itself)."""

    amount: int
    frees_at: datetime | None = None


class Counts(Protocol):
    """What evaluation asks of usage."""

    def used(self, unit: str, scope: Scope, window: timedelta | None, now: datetime) -> Used:
        """Count `unit` in `scope` over the `window` before `now`; None counts what is pending."""
        ...

    def values(self, dimension: str, scope: Scope) -> frozenset[str]:
        """Return the values of a dimension that uses in `scope` still known have had."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What one action took; `at` in microseconds since 1970."""

    action: str
    at: int
    facts: Facts
    amounts: Mapping[str, int]
    pending: bool

    @property
    def counted(self) -> Iterator[tuple[str, int]]:
        """Each unit with its amount, the pending request included."""
        yield from ((unit, amount) for unit, amount in self.amounts.items() if amount)
        if self.pending:
            yield PENDING, 1

    def within(self, scope: Scope) -> bool:
        """Say whether the scope counts this use."""
        return all(known is None or fact in known for fact, known in zip(self.facts, scope.sets, strict=True))


class Usage:
    """All uses a window can still see. `reserve`, `settle` and `unpend` change it; the rest only reads."""

    def __init__(self) -> None:
        self._open: dict[str, Use] = {}  # by action: these may still be given back
        self._kept: dict[tuple[int, Facts], dict[str, int]] = {}  # amounts that stay, by time and facts
        # When each is looked at next; the newest first, whose neighbours in a series are then gone already.
        self._due: list[tuple[int, int, int, str | tuple[Facts, int]]] = []
        self._turn = count()
        self._before: int | None = None  # uses up to here are dropped; kept in snapshots, so that both agree
        self._tables: dict[tuple[bool, ...], dict[tuple[str, Key], _Series]] = {}

    def reserve(
        self,
        action: str,
        at: datetime,
        *,
        principal: str,
        owner: str | None,
        tool: str,
        target: str,
        environment: str,
        amounts: Mapping[str, int],
        pending: bool,
    ) -> None:
        """Count `amounts` (by unit) for an action from `at` on. Raises `ValueError` for a second time."""
        facts = (intern(principal), owner and intern(owner), intern(tool), intern(target), intern(environment))
        use = Use(action=action, at=_micros(at), facts=facts, amounts=dict(amounts), pending=pending)
        self._take(use)
        self._apply(use.at, facts, use.counted, +1)
        self._before = max(use.at - _HORIZON, use.at - _HORIZON if self._before is None else self._before)
        self._age()

    def settle(self, action: str, release: bool) -> None:
        """End an action: it is no longer pending, and with `release` what it took is given back.

        Without, the uses stay until their windows leave them behind, and can be given back no more. An action that
        was ended before, or that no window can see, is ignored.
        """
        self.unpend(action)
        use = self._open.pop(action, None)
        if use is None:
            return
        if release:
            self._apply(use.at, use.facts, use.counted, -1)
            return
        self._keep(use.at, use.facts, use.amounts, 0)
        self._age()

    def unpend(self, action: str) -> None:
        """Stop counting an action as pending; what it took stays."""
        use = self._open.get(action)
        if use is not None and use.pending:
            self._apply(use.at, use.facts, [(PENDING, 1)], -1)
            self._open[action] = replace(use, pending=False)
            self._look_again(use.at, action)
            self._age()

    def used(self, unit: str, scope: Scope, window: timedelta | None, now: datetime) -> Used:
        """See `Counts`. Takes time in the logarithm of the uses, times the size of the scope's sets."""
        after = None if window is None else _micros(now) - window // _MICROSECOND
        amount, first = 0, None
        for series in self._matching(unit, scope):
            amount += series.total(after)
            start = series.first(after)
            first = start if first is None else first if start is None else min(first, start)
        frees = None if window is None or first is None else shifted(_at(first), window)
        return Used(amount, frees)

    def values(self, dimension: str, scope: Scope) -> frozenset[str]:
        """See `Counts`."""
        at = DIMENSIONS.index(dimension)
        mask = tuple(known is not None or i == at for i, known in enumerate(scope.sets))
        keys = {key for _, key in self._table(mask)}
        return frozenset(value for key in keys if (value := key[at]) is not None and _inside(key, scope))

    def without(self, action: str) -> Counts:
        """Return a view that leaves one action's own uses out, for judging it once more at its claim."""
        use = self._open.get(action)
        return self if use is None else _Without(self, use)

    def to_json(self) -> dict[str, Json]:
        """Return everything as JSON of the canonical profile."""
        rows: list[Json] = [
            [use.action, format_timestamp(_at(use.at)), *use.facts, dict(use.amounts), use.pending]
            for use in sorted(self._open.values(), key=lambda use: (use.at, use.action))
        ]
        rows += [
            [None, format_timestamp(_at(at)), *facts, dict(amounts), False]
            for (at, facts), amounts in sorted(self._kept.items(), key=lambda item: (item[0][0], repr(item[0][1])))
        ]
        # A horizon before the calendar has dropped nothing.
        before = None if self._before is None or self._before < _BEGINNING else format_timestamp(_at(self._before))
        return {"before": before, "uses": rows, "version": 2}

    @classmethod
    def from_json(cls, value: Json) -> Usage:
        """Rebuild what `to_json` wrote. Raises `ValueError` for anything else."""
        match value:
            case {"version": 2, "before": str() | None as before, "uses": list(rows), **rest} if not rest:
                pass
            case _:
                raise ValueError("not a snapshot of usage, version 2")
        usage = cls()
        for row in rows:
            usage._load(row)
        usage._before = None if before is None else _micros(parse_timestamp(before))
        return usage

    def _load(self, row: Json) -> None:
        match row:
            case [str() | None as action, str(at), *facts, amounts, bool(pending)]:
                pass
            case _:
                raise ValueError(_SHAPE)
        match facts:
            case [str(principal), str() | None as owner, str(tool), str(target), str(environment)]:
                pass
            case _:
                raise ValueError(_SHAPE)
        when = _micros(parse_timestamp(at))
        known = (intern(principal), owner and intern(owner), intern(tool), intern(target), intern(environment))
        if action is None:
            self._keep(when, known, _amounts(amounts), 0)
        else:
            self._take(Use(action=action, at=when, facts=known, amounts=_amounts(amounts), pending=pending))

    def _matching(self, unit: str, scope: Scope) -> Iterable[_Series]:
        """Return the series the scope counts together, by the shorter of the two ways to find them."""
        sets = scope.sets
        table = self._table(tuple(known is not None for known in sets))
        ways = 1
        for known in sets:
            ways *= 1 if known is None else len(known)
        if ways > len(table):
            return [series for (of, key), series in table.items() if of == unit and _inside(key, scope)]
        keys = product(*((None,) if known is None else known for known in sets))
        return [series for key in keys if (series := table.get((unit, key))) is not None]

    def _table(self, mask: tuple[bool, ...]) -> dict[tuple[str, Key], _Series]:
        """Return the series by the facts in `mask`; the first question for a mask builds them."""
        table = self._tables.get(mask)
        if table is None:
            table = self._tables[mask] = {}
            uses = [(use.at, use.facts, tuple(use.counted)) for use in self._open.values()]
            uses += [(at, facts, tuple(amounts.items())) for (at, facts), amounts in self._kept.items()]
            for at, facts, counted in sorted(uses, key=itemgetter(0)):
                _count(table, _key(facts, mask), at, counted, +1)
        return table

    def _apply(self, at: int, facts: Facts, counted: Iterable[tuple[str, int]], sign: int) -> None:
        counted = tuple(counted)
        for mask, table in self._tables.items():
            _count(table, _key(facts, mask), at, counted, sign)

    def _take(self, use: Use) -> None:
        if use.action in self._open:
            raise ValueError(f"action {use.action} has reserved already")
        self._open[use.action] = use
        self._look_again(use.at, use.action)

    def _keep(self, at: int, facts: Facts, amounts: Mapping[str, int], level: int) -> None:
        kept = self._kept.setdefault((at, facts), {})
        for unit, amount in amounts.items():
            if amount:
                kept[unit] = kept.get(unit, 0) + amount
        self._look_again(at, (facts, level))

    def _look_again(self, at: int, what: str | tuple[Facts, int]) -> None:
        """Come back to what was used at `at` when it is old enough to be dropped or to be taken to a level."""
        due = at + _HORIZON if isinstance(what, str) else _due(at, what[1])
        heapq.heappush(self._due, (due, -at, next(self._turn), what))

    def _age(self) -> None:
        """Count together what has grown old, and drop what left the longest window unless its request still waits."""
        while self._before is not None and self._due and self._due[0][0] <= self._before + _HORIZON:
            _, minus, _, what = heapq.heappop(self._due)
            if isinstance(what, str):
                self._drop(what, -minus)
            else:
                self._lift(-minus, *what)

    def _drop(self, action: str, at: int) -> None:
        use = self._open.get(action)
        if use is not None and use.at == at and not use.pending:
            self._apply(use.at, use.facts, use.counted, -1)
            del self._open[action]

    def _lift(self, at: int, facts: Facts, level: int) -> None:
        """Count what is kept at `at` in the steps of `level`; beyond the last it is dropped."""
        amounts = self._kept.pop((at, facts), None)
        if amounts is None:  # counted together with others meanwhile
            return
        later = _rounded(at, _AGES[level][1]) if level < len(_AGES) else None
        if later != at:
            self._apply(at, facts, amounts.items(), -1)
        if later is not None:
            if later != at:
                self._apply(later, facts, amounts.items(), +1)
            self._keep(later, facts, amounts, level + 1)


class _Without:
    """A usage with one action's uses left out."""

    def __init__(self, usage: Usage, use: Use) -> None:
        self._usage = usage
        self._use = use

    def used(self, unit: str, scope: Scope, window: timedelta | None, now: datetime) -> Used:
        """See `Counts`. `frees_at` may be that of the action left out: never later than the true one."""
        whole = self._usage.used(unit, scope, window, now)
        own = sum(amount for of, amount in self._use.counted if of == unit) if self._use.within(scope) else 0
        if window is not None and self._use.at <= _micros(now) - window // _MICROSECOND:
            own = 0
        left = whole.amount - own
        return Used(left, whole.frees_at if left else None)

    def values(self, dimension: str, scope: Scope) -> frozenset[str]:
        """See `Counts`."""
        return self._usage.values(dimension, scope)


class _Series:
    """Amounts in order of time with their running sums: a window's total is one difference."""

    __slots__ = ("_base", "_sums", "_times")

    def __init__(self) -> None:
        self._base = 0
        self._times: list[int] = []
        self._sums: list[int] = []

    def __len__(self) -> int:
        return len(self._times)

    def add(self, at: int, amount: int) -> None:
        """Add to what was used at that time; nearly always the latest."""
        index = bisect_left(self._times, at)
        if index == len(self._times) or self._times[index] != at:
            self._times.insert(index, at)
            self._sums.insert(index, self._sum(index - 1))
        self._shift(index, amount)

    def remove(self, at: int, amount: int) -> None:
        """Take back what was added."""
        index = bisect_left(self._times, at)
        self._shift(index, -amount)
        if self._sum(index) == self._sum(index - 1):
            del self._times[index], self._sums[index]

    def _shift(self, index: int, amount: int) -> None:
        """Change what was used at one time. Sums only matter as differences: the longer part is left alone."""
        if index < len(self._sums) // 2:
            self._base -= amount
            for earlier in range(index):
                self._sums[earlier] -= amount
        else:
            for later in range(index, len(self._sums)):
                self._sums[later] += amount

    def total(self, after: int | None) -> int:
        """Return the sum of the amounts later than `after`."""
        index = 0 if after is None else bisect_right(self._times, after)
        return self._sum(len(self._sums) - 1) - self._sum(index - 1)

    def first(self, after: int | None) -> int | None:
        """Return the time of the oldest use later than `after`."""
        index = 0 if after is None else bisect_right(self._times, after)
        return self._times[index] if index < len(self._times) else None

    def _sum(self, index: int) -> int:
        return self._sums[index] if index >= 0 else self._base


def _key(facts: Facts, mask: tuple[bool, ...]) -> Key:
    return tuple(fact if named else None for fact, named in zip(facts, mask, strict=True))


def _count(
    table: dict[tuple[str, Key], _Series], key: Key, at: int, counted: Iterable[tuple[str, int]], sign: int
) -> None:
    for unit, amount in counted:
        series = table.setdefault((unit, key), _Series())
        if sign > 0:
            series.add(at, amount)
            continue
        series.remove(at, amount)
        if not len(series):
            del table[unit, key]


def _rounded(at: int, step: int) -> int:
    """Return the first whole step not before `at`."""
    return -(-at // step) * step


def _due(at: int, level: int) -> int:
    """Return when what was used at `at` is counted in the steps of `level`: once no window that is exact sees it."""
    if level == len(_AGES):
        return at + _HORIZON
    age, step = _AGES[level]
    return _rounded(at, step) + age


def _inside(key: Key, scope: Scope) -> bool:
    return all(known is None or fact in known for fact, known in zip(key, scope.sets, strict=True))


def _amounts(value: Json) -> Mapping[str, int]:
    amounts = value.items() if isinstance(value, Mapping) else [("", None)]
    known = {unit: n for unit, n in amounts if isinstance(n, int) and not isinstance(n, bool) and n >= 0}
    if len(known) != len(amounts):
        raise ValueError(_SHAPE)
    return known


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _at(micros: int) -> datetime:
    return shifted(_EPOCH, micros * _MICROSECOND)
