"""What tightens by itself when something is wrong: `[degrade]` of a policy, and which of it is due now.

Each rule suspends its environments (all, where none are named) as an operator would, and a person lifts that again.
After a lift the same trouble counts no more: only what comes later suspends anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.policy.alarms import INCIDENT, LAG, UNKNOWN, Alarms
from keyturn.policy.limits import written_window
from keyturn.policy.tables import Table

LONGEST_LAG = timedelta(days=30)
_MODES = ("read-only", "suspended")
_MOST_UNKNOWN = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tightening:
    """One rule. `over` is a count, or a span of time, or None where the event itself is enough."""

    name: str
    mode: str
    environments: frozenset[str] | None
    over: int | timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a rule asks for now: suspend `environment` (None: everything), and `why`, for people."""

    rule: str
    mode: str
    environment: str | None
    why: str


def read_degrade(document: Table, environments: Collection[str]) -> tuple[Tightening, ...]:
    """Read `[degrade]`, recording problems; without it nothing tightens by itself."""
    table = document.table("degrade")
    if table is None:
        return ()
    table.only(UNKNOWN, LAG, INCIDENT)
    names = (UNKNOWN, LAG, INCIDENT)
    return tuple(_rule(name, rule, environments) for name in names if (rule := table.table(name)) is not None)


def due(rules: tuple[Tightening, ...], alarms: Alarms, now: datetime) -> Iterator[Due]:
    """Say what is to be suspended now; what is suspended already is said again."""
    for rule in rules:
        if why := _why(rule, alarms, now):
            for environment in (None,) if rule.environments is None else sorted(rule.environments):
                yield Due(rule=rule.name, mode=rule.mode, environment=environment, why=why)


def _rule(name: str, table: Table, environments: Collection[str]) -> Tightening:
    over: int | timedelta | None = None
    if name == INCIDENT:
        table.only("mode", "environments")
    else:
        table.only("over", "mode", "environments")
        over = (
            table.integer("over", low=0, high=_MOST_UNKNOWN)
            if name == UNKNOWN
            else table.duration("over", longest=LONGEST_LAG)
        )
    named = table.some_of("environments", "environment", environments)
    return Tightening(name=name, mode=table.choice("mode", *_MODES), environments=named, over=over)


def _why(rule: Tightening, alarms: Alarms, now: datetime) -> str | None:
    """Say why a rule speaks, or None while it does not."""
    match rule.over:
        case int():
            count = alarms.unknown
            outcomes = "1 outcome is" if count == 1 else f"{count} outcomes are"
            return f"{outcomes} unknown, more than {rule.over}" if count > rule.over else None
        case timedelta():
            late = alarms.unanchored is not None and now - alarms.unanchored > rule.over
            return f"no anchor has covered the ledger for more than {written_window(rule.over)}" if late else None
    if alarms.incident is None:
        return None
    what, seq = alarms.incident
    return f"{_INCIDENTS[what]} (entry {seq})"


_INCIDENTS = {
    "restored": "the ledger was restored from a backup",
    "clock": "the clock was put right by hand",
    "compromised": "a key was revoked as compromised",
}
