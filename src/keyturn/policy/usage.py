"""Counts what actions have used, so that sliding windows can be asked at any time.

`Usage` is a fold over the ledger's entries, owned and changed by one process. It keeps facts (who used what, where,
when), never rule names, so a new policy finds the same past. Windows slide: a use at `t` counts while
`now < t + window`, and at that very moment it has left. Released uses never count. Pending requests count until
they are told to be over, however long that takes.

How old a use is, the latest use says (`series`): the same entries give the same counts anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product
from sys import intern
from typing import Any, NamedTuple, Protocol, TypeAlias

from keyturn.canon import Json
from keyturn.model.time import format_timestamp, parse_timestamp, shifted
from keyturn.policy.history import History, Past
from keyturn.policy.series import MICROSECOND, SHAPE, Series, aged, micros, moment_of

PENDING = "pending"
SUBMISSIONS = "submissions"
DIMENSIONS = ("principal", "owner", "tool", "target", "environment")
_EVERY = (True,) * len(DIMENSIONS)
_SWEEP_EVERY = 1_024

Facts: TypeAlias = tuple[str, str | None, str, str, str]
Key: TypeAlias = tuple[str | None, ...]


class Scope(NamedTuple):
    """Whose uses are counted together: those whose fact is in the set, for each set that is not None.

    Its fields are in the order of `DIMENSIONS`. A tuple, because each limit of each request makes one.
    """

    principal: frozenset[str] | None = None
    owner: frozenset[str] | None = None
    tool: frozenset[str] | None = None
    target: frozenset[str] | None = None
    environment: frozenset[str] | None = None


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

    def past(self, principal: str, tool: str, target: str, within: timedelta, now: datetime) -> Past:
        """Return how actions went: on this target over the time `within` before `now`, and by this tool."""
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
        return all(known is None or fact in known for fact, known in zip(self.facts, scope, strict=True))


_Table: TypeAlias = "dict[tuple[str, Key], Series]"


class Usage:
    """All uses a window can still see. `reserve`, `settle` and `unpend` change it; the rest only reads."""

    def __init__(self) -> None:
        self.history = History()
        self._open: dict[str, Use] = {}  # by action: these may still be given back
        self._latest: int | None = None
        self._since_sweep = 0
        self._tables: dict[tuple[bool, ...], _Table] = {_EVERY: {}}

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
        if action in self._open:
            raise ValueError(f"action {action} has reserved already")
        facts = (intern(principal), owner and intern(owner), intern(tool), intern(target), intern(environment))
        use = Use(action=action, at=micros(at), facts=facts, amounts=dict(amounts), pending=pending)
        self._open[action] = use
        self._latest = use.at if self._latest is None else max(self._latest, use.at)
        self._apply(use, use.counted, +1)
        self._since_sweep += 1
        if self._since_sweep >= max(_SWEEP_EVERY, len(self._tables[_EVERY])):
            self._sweep()

    def settle(self, action: str, release: bool, settled: Mapping[str, int] | None = None) -> None:
        """End an action: it is no longer pending, and with `release` what it took is given back.

        Without, the uses stay until their windows leave them behind, and can be given back no more. What turned out
        of a unit, `settled`, takes the place of what was reserved of it in either case. An action that was ended
        before, or that no window can see, is ignored.
        """
        self.unpend(action)
        use = self._open.pop(action, None)
        if use is None:
            return
        left = {**({} if release else use.amounts), **(settled or {})}
        changes = {unit: left.get(unit, 0) - use.amounts.get(unit, 0) for unit in {**use.amounts, **left}}
        self._apply(use, ((unit, change) for unit, change in changes.items() if change), +1)

    def unpend(self, action: str) -> None:
        """Stop counting an action as pending; what it took stays."""
        use = self._open.get(action)
        if use is not None and use.pending:
            self._apply(use, [(PENDING, 1)], -1)
            self._open[action] = replace(use, pending=False)

    def used(self, unit: str, scope: Scope, window: timedelta | None, now: datetime) -> Used:
        """See `Counts`. Takes time in the logarithm of the uses, times the size of the scope's sets."""
        after = None if window is None else micros(now) - window // MICROSECOND
        amount, first = 0, None
        for series in self._matching(unit, scope):
            self._grow_old(unit, series)
            amount += series.total(after)
            start = series.first(after)
            first = start if first is None else first if start is None else min(first, start)
        frees = None if window is None or first is None else shifted(moment_of(first), window)
        return Used(amount, frees)

    def values(self, dimension: str, scope: Scope) -> frozenset[str]:
        """See `Counts`."""
        at = DIMENSIONS.index(dimension)
        mask = tuple(known is not None or i == at for i, known in enumerate(scope))
        self._table(mask)
        self._sweep()
        keys = {key for _, key in self._table(mask)}
        return frozenset(value for key in keys if (value := key[at]) is not None and _inside(key, scope))

    def past(self, principal: str, tool: str, target: str, within: timedelta, now: datetime) -> Past:
        """See `Counts`."""
        return self.history.past(principal, tool, target, within, now)

    def without(self, *actions: str) -> Counts:
        """Return a view that leaves the uses of some actions out, for judging what takes their place."""
        uses = tuple(use for action in actions if (use := self._open.get(action)) is not None)
        return _Without(self, uses) if uses else self

    def at_claim(self, action: str, *gone: str) -> Counts:
        """Return `without`, for judging the action once more at its claim: nothing is submitted then.

        `gone` are others that have ended since, by entries that are not counted here yet.
        """
        return _Submitted(self.without(action, *gone))

    def when_counted(self, use: Use) -> int | None:
        """Return the time a use counts at by now; None when no window can see it any more."""
        return None if self._latest is None else aged(use.at, self._latest)

    def to_json(self) -> dict[str, Json]:
        """Return everything as JSON of the canonical profile."""
        self._sweep()
        opened: list[Json] = [
            [use.action, *use.facts, _told(use.at), dict(sorted(use.amounts.items())), use.pending]
            for use in sorted(self._open.values(), key=lambda use: (use.at, use.action))
        ]
        kept: list[Json] = [
            [unit, *facts, series.to_json()]
            for (unit, facts), series in sorted(self._tables[_EVERY].items(), key=lambda item: repr(item[0]))
            if unit != PENDING
        ]
        latest = None if self._latest is None else _told(self._latest)
        return {"history": self.history.to_json(), "kept": kept, "latest": latest, "open": opened, "version": 4}

    @classmethod
    def from_json(cls, value: Json) -> Usage:
        """Rebuild what `to_json` wrote. Raises `ValueError` for anything else."""
        match value:
            case {
                "version": 4,
                "history": history,
                "latest": str() | None as latest,
                "open": list(opened),
                "kept": list(kept),
                **rest,
            } if not rest:
                pass
            case _:
                raise ValueError("not a snapshot of usage, version 4")
        usage = cls()
        usage.history = History.from_json(history)
        usage._latest = None if latest is None else micros(parse_timestamp(latest))
        for row in kept:
            usage._load_kept(row)
        for row in opened:
            usage._load_open(row)
        return usage

    def _load_kept(self, row: Json) -> None:
        match row:
            case [str(unit), str(), str() | None, str(), str(), str(), str() | list() as steps]:
                pass
            case _:
                raise ValueError(SHAPE)
        series = Series.from_json(steps, self._latest)
        self._tables[_EVERY][unit, _facts(row)] = series

    def _load_open(self, row: Json) -> None:
        match row:
            case [str(action), str(), str() | None, str(), str(), str(), str(at), amounts, bool(pending)]:
                pass
            case _:
                raise ValueError(SHAPE)
        when = micros(parse_timestamp(at))
        use = Use(action=action, at=when, facts=_facts(row), amounts=_amounts(amounts), pending=pending)
        if action in self._open:
            raise ValueError(f"action {action} has reserved already")
        self._open[action] = use
        if pending:
            self._apply(use, [(PENDING, 1)], +1)

    def _matching(self, unit: str, scope: Scope) -> Iterable[Series]:
        """Return the series the scope counts together, by the shorter of the two ways to find them."""
        table = self._table(tuple([known is not None for known in scope]))
        if not table:
            return ()
        ways = 1
        for known in scope:
            ways *= 1 if known is None else len(known)
        if ways == 1:  # nearly always
            series = table.get((unit, tuple([None if known is None else next(iter(known)) for known in scope])))
            return () if series is None else (series,)
        if ways > len(table):
            return [series for (of, key), series in table.items() if of == unit and _inside(key, scope)]
        keys = product(*((None,) if known is None else known for known in scope))
        return [series for key in keys if (series := table.get((unit, key))) is not None]

    def _table(self, mask: tuple[bool, ...]) -> _Table:
        """Return the series by the facts in `mask`; the first question for a mask builds them."""
        table = self._tables.get(mask)
        if table is None:
            rows: dict[tuple[str, Key], list[tuple[int, int]]] = {}
            for (unit, facts), series in self._tables[_EVERY].items():
                self._grow_old(unit, series)
                rows.setdefault((unit, _masked(facts, mask)), []).extend(series.rows())
            table = self._tables[mask] = {place: Series(sorted(found)) for place, found in rows.items()}
        return table

    def _apply(self, use: Use, counted: Iterable[tuple[str, int]], sign: int) -> None:
        when = self.when_counted(use)
        for unit, amount in counted:
            at = use.at if unit == PENDING else when  # a request waits as long as it waits
            if at is None:
                continue
            for mask, table in self._tables.items():
                place = unit, _masked(use.facts, mask)
                series = table.get(place)
                if series is None:
                    series = table[place] = Series()
                self._grow_old(unit, series)
                series.add(at, sign * amount)
                if not len(series):
                    del table[place]

    def _grow_old(self, unit: str, series: Series) -> None:
        if unit != PENDING and self._latest is not None:
            series.grow_old(self._latest)

    def _sweep(self) -> None:
        """Let go of what no window can see, unless its request still waits."""
        self._since_sweep = 0
        for table in self._tables.values():
            for (unit, key), series in list(table.items()):
                self._grow_old(unit, series)
                if not len(series):
                    del table[unit, key]
        for use in list(self._open.values()):
            if not use.pending and self.when_counted(use) is None:
                del self._open[use.action]


class _Without:
    """A usage with the uses of some actions left out."""

    def __init__(self, usage: Usage, uses: Sequence[Use]) -> None:
        self._usage = usage
        self._uses = uses

    def used(self, unit: str, scope: Scope, window: timedelta | None, now: datetime) -> Used:
        """See `Counts`. `frees_at` may be that of an action left out: never later than the true one."""
        whole = self._usage.used(unit, scope, window, now)
        after = None if window is None else micros(now) - window // MICROSECOND
        left = whole.amount - sum(self._counted(use, unit, scope, after) for use in self._uses)
        return Used(left, whole.frees_at if left else None)

    def _counted(self, use: Use, unit: str, scope: Scope, after: int | None) -> int:
        """Return how much of the whole one use is."""
        at = use.at if unit == PENDING else self._usage.when_counted(use)
        if at is None or (after is not None and at <= after) or not use.within(scope):
            return 0
        return sum(amount for of, amount in use.counted if of == unit)

    def values(self, dimension: str, scope: Scope) -> frozenset[str]:
        """See `Counts`."""
        return self._usage.values(dimension, scope)

    def past(self, principal: str, tool: str, target: str, within: timedelta, now: datetime) -> Past:
        """See `Counts`. What waits or runs has left nothing there yet."""
        return self._usage.past(principal, tool, target, within, now)


class _Submitted:
    """A usage in which no submissions count: there is no new one to be weighed against them."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self.values = counts.values
        self.past = counts.past

    def used(self, unit: str, scope: Scope, window: timedelta | None, now: datetime) -> Used:
        """See `Counts`."""
        return Used(0) if unit == SUBMISSIONS else self._counts.used(unit, scope, window, now)


def _masked(facts: Key, mask: tuple[bool, ...]) -> Key:
    return (
        facts if mask == _EVERY else tuple(fact if named else None for fact, named in zip(facts, mask, strict=True))
    )


def _facts(row: Sequence[Any]) -> Facts:
    """Return the facts that follow the first value of a row, of which each was looked at."""
    principal, owner, tool, target, environment = row[1:6]
    return intern(principal), owner and intern(owner), intern(tool), intern(target), intern(environment)


def _inside(key: Key, scope: Scope) -> bool:
    return all(known is None or fact in known for fact, known in zip(key, scope, strict=True))


def _amounts(value: Json) -> Mapping[str, int]:
    amounts = value.items() if isinstance(value, Mapping) else [("", None)]
    known = {unit: n for unit, n in amounts if isinstance(n, int) and not isinstance(n, bool) and n >= 0}
    if len(known) != len(amounts):
        raise ValueError(SHAPE)
    return known


def _told(at: int) -> str:
    return format_timestamp(moment_of(at))
