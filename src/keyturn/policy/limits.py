"""Limits: how often and how much, per whom, over which sliding window; and what is left of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.canon import MAX_INTEGER
from keyturn.model.decision import Reason
from keyturn.model.principal import Principal
from keyturn.model.time import format_timestamp, parse_duration
from keyturn.policy.costs import COST, RUNTIME
from keyturn.policy.series import LONGEST_WINDOW
from keyturn.policy.subject import Subject
from keyturn.policy.usage import DIMENSIONS, PENDING, SUBMISSIONS, Counts, Scope
from keyturn.policy.validity import ALWAYS, Validity

UNITS = ("calls", "files_changed", "lines_changed", "recipients", RUNTIME, COST, SUBMISSIONS, PENDING)
SINGULAR = {"call": "calls", "recipient": "recipients", "submission": "submissions"}
NAMED_WINDOWS = {"minute": "1m", "hour": "1h", "day": "1d", "week": "7d"}
_WRITTEN = re.compile(
    r"(?P<allowed>[1-9][0-9]{0,15}) (?P<unit>[a-z_]+)(?: per (?P<window>minute|hour|day|week|[0-9]+[smhd]))?"
    r"(?: per (?P<per>[a-z]+))?",
    re.ASCII,
)
_FORMS = 'write it like "20 calls per hour", "200 files_changed per day per target" or "5 pending"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most `allowed` of `unit` within `window` (None for pending requests), counted apart for each value of `per`.

    principals, tool, environments  whose uses it counts and whom it binds; None means all
    """

    rule: str
    unit: str
    allowed: int
    window: timedelta | None
    per: str
    principals: frozenset[str] | None = None
    tool: str | None = None
    environments: frozenset[str] | None = None
    shadow: bool = False
    valid: Validity = ALWAYS

    def binds(self, principal: str, tool: str) -> bool:
        """Say whether calls of this tool by this principal can be counted here."""
        about = self.tool is None or self.tool == tool
        return about and (self.principals is None or principal in self.principals)

    def scope(self, subject: Subject) -> Scope | None:
        """Return whose uses are counted with this request's; None if none are, or if only a plan can tell."""
        if not self.valid.holds(subject.now):
            return None
        environment = subject.environment if isinstance(subject.environment, str) else None
        if self.environments is not None and environment is not None and environment not in self.environments:
            return None
        base = self.scope_for(subject.principal)
        match self.per:
            case "tool":
                return base._replace(tool=frozenset({subject.tool}))
            case "target":
                target = subject.target
                return base._replace(target=frozenset({target})) if isinstance(target, str) else None
            case "environment":
                return base._replace(environment=frozenset({environment})) if environment is not None else None
            case _:
                return base

    def scope_for(self, principal: Principal) -> Scope:
        """Return the scope as far as the principal decides it. Who has no owner is counted as their own."""
        alone = self.per == "principal" or (self.per == "owner" and principal.owner is None)
        shared = None if alone or self.per != "owner" else principal.owner
        return Scope(
            principal=frozenset({principal.name}) if alone else self.principals,
            owner=None if shared is None else frozenset({shared}),
            tool=None if self.tool is None else frozenset({self.tool}),
            environment=self.environments,
        )

    @property
    def text(self) -> str:
        """The limit as a policy would write it."""
        window = "" if self.window is None else f" per {written_window(self.window)}"
        return f"{self.allowed} {self.unit}{window} per {self.per}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """What is left of one limit.

    key        the principal, owner, tool, target or environment counted apart; None if there is no use yet
    window     None for pending requests
    resets_at  when the oldest counted use leaves; None if nothing is used or only a settled request frees room
    """

    rule: str
    unit: str
    allowed: int
    used: int
    per: str
    key: str | None
    window: timedelta | None
    resets_at: datetime | None

    @property
    def left(self) -> int:
        """How much may still be used now."""
        return max(0, self.allowed - self.used)


@dataclass(frozen=True, slots=True)
class Spent:
    """A limit that has no room; `retry_at` is when it will, None if waiting alone does not help."""

    limit: Limit
    reason: Reason
    retry_at: datetime | None


class LimitError(ValueError):
    """The words are no limit; the message says why."""


def read_limit(text: str, rule: str, per: str | None = None) -> Limit:
    """Read `"<count> <unit> per <window> [per <dimension>]"`. Raises `LimitError`; `per` is the default dimension."""
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise LimitError(_FORMS)
    unit = SINGULAR.get(match["unit"], match["unit"])
    if unit not in UNITS:
        raise LimitError(f"{unit} cannot be counted; units are {', '.join(UNITS)}")
    dimension = match["per"] or per or "principal"
    if dimension not in DIMENSIONS:
        raise LimitError(f"cannot count per {dimension}; {_FORMS}")
    if int(match["allowed"]) > MAX_INTEGER:
        raise LimitError("the count is too large")
    window = _window(unit, match["window"])
    return Limit(rule=rule, unit=unit, allowed=int(match["allowed"]), window=window, per=dimension)


def spent(
    limits: Iterable[Limit], subject: Subject, amounts: Mapping[str, int], usage: Counts, now: datetime
) -> Iterator[Spent]:
    """Yield each limit that has no room for `amounts` (by unit); a unit the request does not take binds nothing."""
    for limit in limits:
        amount = amounts.get(limit.unit, 0)
        scope = limit.scope(subject) if amount else None
        if scope is None:
            continue
        used = usage.used(limit.unit, scope, limit.window, now)
        if used.amount + amount > limit.allowed:
            retry = _room_at(limit, scope, amount, usage, now)
            yield Spent(limit, _reason(limit, used.amount, amount, retry), retry)


def states(limit: Limit, principal: Principal, usage: Counts, now: datetime) -> Iterator[LimitState]:
    """Yield what is left of a limit: once, or for limits per tool, target or environment once per known value."""
    if not limit.valid.holds(now):
        return
    base = limit.scope_for(principal)
    if limit.per in ("principal", "owner"):
        yield _state(
            limit, base, principal.owner if limit.per == "owner" and principal.owner else principal.name, usage, now
        )
        return
    keys = sorted(usage.values(limit.per, base))
    for key in keys:
        yield _state(limit, base._replace(**{limit.per: frozenset({key})}), key, usage, now)
    if not keys:
        yield _state(limit, base._replace(**{limit.per: frozenset()}), None, usage, now)


def _state(limit: Limit, scope: Scope, key: str | None, usage: Counts, now: datetime) -> LimitState:
    used = usage.used(limit.unit, scope, limit.window, now)
    return LimitState(
        rule=limit.rule,
        unit=limit.unit,
        allowed=limit.allowed,
        used=used.amount,
        per=limit.per,
        key=key,
        window=limit.window,
        resets_at=used.frees_at,
    )


def _room_at(limit: Limit, scope: Scope, amount: int, usage: Counts, now: datetime) -> datetime | None:
    """Return the first moment with room, if nothing else is used: use only falls with time, so halve and look."""
    if limit.window is None or amount > limit.allowed:
        return None
    microsecond = timedelta(microseconds=1)
    low, high = (
        0,
        limit.window // microsecond,
    )  # no room at `low`; all room at `high`, unless the clock went back
    while high - low > 1:
        middle = (low + high) // 2
        used = usage.used(limit.unit, scope, limit.window, now + middle * microsecond)
        low, high = (middle, high) if used.amount + amount > limit.allowed else (low, middle)
    return now + high * microsecond


def _reason(limit: Limit, used: int, amount: int, retry: datetime | None) -> Reason:
    if amount > limit.allowed:
        when = "it asks for more than the limit ever allows"
    elif retry is not None:
        when = f"resets at {format_timestamp(retry)}"
    else:
        when = "room comes back when a waiting request ends"
    text = f"limit {limit.text}: {used} of {limit.allowed} used, {amount} more asked; {when}"
    return Reason("limit", text, limit.rule)


def _window(unit: str, written: str | None) -> timedelta | None:
    if unit == PENDING:
        if written is not None:
            raise LimitError('waiting requests have no window: write "5 pending"')
        return None
    if written is None:
        raise LimitError(f"has no window; {_FORMS}")
    try:
        window = parse_duration(NAMED_WINDOWS.get(written, written))
    except ValueError as error:
        raise LimitError(str(error)) from error
    if window > LONGEST_WINDOW:
        raise LimitError(f"the longest window is {LONGEST_WINDOW.days} days")
    return window


def written_window(window: timedelta) -> str:
    """Return a window as a policy writes it, in the largest unit that fits: `10m`, `1d`."""
    seconds = int(window.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
