"""Limits as a policy writes them, and a second, plain way to count what entries used of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from keyturn.log.entry import Entry


@dataclass(frozen=True)
class Rule:
    """At most `allowed` of `unit`; over `seconds` (None: while it waits), for each value of `per` apart."""

    allowed: int
    unit: str
    seconds: int | None
    per: str = "principal"
    tool: str | None = None

    @property
    def toml(self) -> str:
        window = "" if self.seconds is None else f" per {self.seconds}s"
        words = f"{self.allowed} {self.unit}{window} per {self.per}"
        tool = f'tool = "{self.tool}"\n' if self.tool else ""
        return f'\n[[limits]]\nid = "{words}, {self.tool or "every tool"}"\nlimits = ["{words}"]\n{tool}'


@dataclass
class _Use:
    at: datetime
    facts: Mapping[str, Any]
    amounts: Mapping[str, int]
    waits: bool
    began: datetime | None = None
    ended: datetime | None = None

    def amount(self, unit: str) -> int:
        return int(self.waits) if unit == "pending" else self.amounts.get(unit, 0)

    def end(self, at: datetime, happened: bool, *, unknown: bool) -> None:
        """Keep what happened, of what did not only its runtime, and all of what nobody knows."""
        self.ended = self.ended or at
        if unknown:
            return
        ran = math.ceil((self.ended - (self.began or self.ended)).total_seconds())
        runtime = {"runtime": min(ran, self.amounts["runtime"])} if self.amounts.get("runtime") else {}
        self.amounts = {**(self.amounts if happened else {}), **runtime}

    def key(self, per: str) -> str:
        return str(self.facts[per] or self.facts["principal"])


@dataclass
class Recount:
    """Takes entries one by one; `above` says where a limit was exceeded, `peaks` how far each one was used."""

    rules: Sequence[Rule]
    above: list[str] = field(default_factory=list)
    peaks: Counter[Rule] = field(default_factory=Counter)
    _uses: dict[str, _Use] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        name = entry.action or f"read {entry.seq}"
        match entry.kind, entry.facts:
            case "action.requested", {"decision": "permit" | "hold" as decision}:
                self._add(name, entry, entry.facts["effects"], waits=decision == "hold")
            case "action.reserved", _:
                self._reserve(name, entry)
            case "read.served", _:
                self._add(name, entry, {"calls": 1}, waits=False)
            case ("action.reviewed", {"verdict": "approve"}) | ("execution.started", _):
                if name in self._uses:
                    self._uses[name].waits = False
                    self._uses[name].began = entry.at  # at its start at the latest
            case ("action.reviewed" | "action.cancelled" | "action.expired" | "action.stale", _):
                self._uses.pop(name, None)
            case ("execution.finished" | "execution.resolved", {"effect": effect}):
                if name in self._uses:
                    self._uses[name].end(entry.at, effect is True, unknown=effect is None)

    def _reserve(self, name: str, entry: Entry) -> None:
        use, amounts = self._uses[name], dict[str, Any](entry.facts)["amounts"]
        use.amounts = {**use.amounts, **amounts}
        self._count(entry, use, [unit for unit, amount in amounts.items() if amount])

    def _add(self, name: str, entry: Entry, amounts: Any, *, waits: bool) -> None:
        longest = max((rule.seconds or 0 for rule in self.rules), default=0)
        past = entry.at - timedelta(seconds=longest)
        self._uses = {key: use for key, use in self._uses.items() if use.waits or use.at > past}
        use = self._uses[name] = _Use(entry.at, entry.facts, amounts, waits)
        self._count(entry, use, [*amounts, "pending"])

    def _count(self, entry: Entry, use: _Use, units: Sequence[str]) -> None:
        for rule in self.rules:
            if rule.tool in {None, use.facts["tool"]} and rule.unit in units and use.amount(rule.unit):
                used = self._used(rule, use)
                self.peaks[rule] = max(self.peaks[rule], used)
                if used > rule.allowed:
                    self.above.append(f"entry {entry.seq}: {used} used of {rule}")

    def _used(self, rule: Rule, new: _Use) -> int:
        return sum(
            use.amount(rule.unit)
            for use in self._uses.values()
            if rule.tool in {None, use.facts["tool"]}
            and use.key(rule.per) == new.key(rule.per)
            and (rule.seconds is None or new.at - use.at < timedelta(seconds=rule.seconds))
        )
