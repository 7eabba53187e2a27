"""Reads and judges the `where` of a rule: conditions that must all hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import TypeAlias
from zoneinfo import ZoneInfo

from keyturn.model.contract import Contract
from keyturn.policy.conditions import read_starred, read_test
from keyturn.policy.conditions.equals import Equals
from keyturn.policy.conditions.existence import Exists
from keyturn.policy.conditions.membership import OneOf
from keyturn.policy.conditions.result import Met, Result, Test, Unjudged, Unmet, Unplanned
from keyturn.policy.conditions.site import Site
from keyturn.policy.domains import ANYTHING, Domain
from keyturn.policy.paths import Path, PathError, read_path
from keyturn.policy.shown import shown
from keyturn.policy.subject import Subject
from keyturn.policy.tables import Table, join

_NESTED = ("arguments", "plan", "principal", "risk", "time")


@dataclass(frozen=True, slots=True)
class Condition:
    """One path and what its value must be.

    In a grant (`strict`) an empty list satisfies nothing: there is nothing in it that was allowed.
    """

    path: Path
    test: Test
    strict: bool

    def judge(self, subject: Subject) -> Result:
        """Look the value up and test it."""
        value = self.path.find(subject)
        if not value and self.strict and value in ((), []) and not isinstance(self.test, Exists):
            return Unmet(value, self.test)
        return self.test.judge(value)


@dataclass(frozen=True, slots=True)
class Outside:
    """The rule does not count at this time, and `text` says why."""

    text: str


@dataclass(frozen=True, slots=True)
class _Judged:
    """The condition that decided, with its result; the words are made when somebody reads them."""

    condition: Condition | None = None
    result: Result | Outside | None = None

    @property
    def because(self) -> str:
        """What the condition saw and asked, or when the rule counts; empty where nothing was looked at."""
        if self.result is None:
            return ""
        return self.result.text if self.condition is None else f"{self.condition.path.text} {self.result.text}"


@dataclass(frozen=True, slots=True)
class Applies(_Judged):
    """Every condition holds; the last one looked at is told."""


@dataclass(frozen=True, slots=True)
class Misses(_Judged):
    """A condition does not hold, or the rule does not count now."""


@dataclass(frozen=True, slots=True)
class Depends(_Judged):
    """It takes a plan to tell."""


Verdict: TypeAlias = Applies | Misses | Depends


@dataclass(frozen=True, slots=True)
class Where:
    """All conditions of one rule, in the order of their paths."""

    conditions: tuple[Condition, ...] = ()

    def judge(self, subject: Subject) -> Verdict:
        """Judge a rule's conditions.

        A condition that does not hold decides. One that cannot be judged counts against the caller: a grant misses
        and a forbid applies.
        """
        open_: Depends | None = None
        met: tuple[Condition, Result] | None = None
        for condition in self.conditions:
            match result := condition.judge(subject):
                case Met():
                    met = condition, result
                case Unmet():
                    return Misses(condition, result)
                case Unplanned():
                    open_ = Depends(condition, result)
                case Unjudged():
                    if condition.strict:
                        return Misses(condition, result)
                    met = condition, result
        if open_ is not None:
            return open_
        return Applies() if met is None else Applies(*met)

    @property
    def environments(self) -> frozenset[str] | None:
        """The environments a condition lists by name; None if none does."""
        for condition in self.conditions:
            match condition:
                case Condition(path=Path(root="environment"), test=Equals(value)):
                    return frozenset({str(value)})
                case Condition(path=Path(root="environment"), test=OneOf(values)):
                    return frozenset(str(value) for value in values)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The names conditions may use."""

    environments: tuple[str, ...]
    tools: tuple[str, ...]


def read_where(rule: Table, contract: Contract | None, vocabulary: Vocabulary, *, strict: bool) -> Where:
    """Read the rule's `where`, recording problems under their paths."""
    table = rule.table("where")
    if table is None:
        return Where()
    flat = _flat(table)
    zone = _zone(table, flat.pop("time.zone", None))
    if zone is not None and not any(path.startswith("time.") for path in flat):
        table.wrong("time.zone", "says nothing without a condition on time.hour, time.weekday or time.date")
    found: list[Condition] = []
    for text, raw in sorted(flat.items()):
        place = f"{table.place}.{text if text.isascii() and text.isprintable() else shown(text)}"
        try:
            path = read_path(text, contract, vocabulary.environments, vocabulary.tools, zone or UTC)
        except PathError as error:
            rule.problems.add(place, str(error))
            continue
        if (
            test := _test(
                raw,
                path,
                Site(
                    place=place,
                    domain=path.domain,
                    element=None if path.starred else _element(path.domain),
                    problems=rule.problems,
                    strict=strict,
                    read=read_test,
                ),
            )
        ) is not None:
            found.append(Condition(path, test, strict))
    return Where(tuple(found))


def _test(raw: object, path: Path, site: Site) -> Test | None:
    if not path.starred:
        return read_test(raw, site)
    whole = Site(
        place=site.place,
        domain=Domain(types=frozenset({"array"}), items=path.domain),
        element=path.domain,
        problems=site.problems,
        strict=site.strict,
        read=read_test,
    )
    return read_starred(raw, site, whole)


def _element(domain: Domain) -> Domain | None:
    if domain.types is None:
        return ANYTHING
    return (domain.items or ANYTHING) if "array" in domain.types else None


def _flat(table: Table) -> dict[str, object]:
    """Return {path: test}; `where.arguments.draft = true` and `where = {"arguments.draft" = true}` are the same."""
    flat: dict[str, object] = {}
    for key, raw in table.raw.items():
        parts: Mapping[str, object] = {key: raw}
        if key in _NESTED:
            if not isinstance(raw, dict):
                table.wrong(key, f"must be a table, not {shown(raw)}")
                continue
            parts = {f"{key}.{name}": value for name, value in raw.items()}
        for path, value in parts.items():
            if path in flat:
                table.problems.add(join(table.place, path), "is asked about twice: put both into one table")
            flat[path] = value
    return flat


def _zone(table: Table, raw: object) -> tzinfo | None:
    if raw is None:
        return None
    try:
        return ZoneInfo(str(raw))
    except (LookupError, ValueError, OSError):
        table.wrong("time.zone", f"{shown(raw)} is no time zone such as Europe/Berlin")
        return None
