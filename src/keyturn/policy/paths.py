"""Finds the value a condition asks about: `arguments.files[*].path` in a subject."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from keyturn.canon import Json
from keyturn.model.contract import Contract
from keyturn.policy.conditions.result import Gap
from keyturn.policy.domains import ANYTHING, DATE, TEXT, TEXTS, WHOLE, Domain, Place, one_of
from keyturn.policy.problems import nearest
from keyturn.policy.shown import shown
from keyturn.policy.subject import Subject

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
COUNTED = ("files_changed", "lines_changed", "recipients")
_STEP = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_-]{0,79})(?P<star>\[\*\])?", re.ASCII)
_DEEPEST = 8
RISK_PARTS = ("first_use", "history", "infrastructure", "paths", "secrets", "size", "time")
"""The parts of a risk score, as conditions and weights name them."""

_ROOTS = ("arguments", "environment", "plan", "principal", "risk", "target", "time", "tool")
_FIXED: Mapping[str, Domain] = {
    "principal.name": TEXT,
    "principal.owner": TEXT,
    "principal.groups": TEXTS,
    "tool": TEXT,
    "environment": TEXT,
    "target": TEXT,
    "time.hour": one_of(range(24)),
    "time.weekday": one_of(WEEKDAYS),
    "time.date": DATE,
    "risk.score": WHOLE,
    **{f"risk.parts.{name}": WHOLE for name in RISK_PARTS},
}


class PathError(ValueError):
    """The path cannot exist; the message says why, after the dotted place."""


@dataclass(frozen=True, slots=True)
class Step:
    """One name of a path; `default` stands in for an absent value, `star` goes through a list."""

    name: str
    star: bool = False
    default: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A path as written, taken apart.

    domain  what the value (with `[*]`: each value) may be
    starred the value is the list of what is found behind every `[*]`
    zone    where the clock of `time.*` hangs
    """

    text: str
    root: str
    steps: tuple[Step, ...] = ()
    domain: Domain = ANYTHING
    zone: tzinfo = field(default=UTC, compare=False)

    @property
    def starred(self) -> bool:
        """Say whether the path goes through a list."""
        return any(step.star for step in self.steps)

    def find(self, subject: Subject) -> object:
        """Return the value in `subject`: JSON, a tuple for starred paths, or a `Gap`."""
        match self.root:
            case "arguments":
                return _walk(subject.arguments, self.steps, Gap.ABSENT)
            case "plan":
                plan = subject.plan
                return plan if isinstance(plan, Gap) else _walk(plan, self.steps, Gap.NOT_IN_PLAN)
            case "environment":
                return subject.environment
            case "target":
                return subject.target
            case "principal":
                return _of_principal(subject, self.steps[0].name)
            case "time":
                return _of_time(subject.now.astimezone(self.zone), self.steps[0].name)
            case "risk":
                return _of_risk(subject, self.steps[-1].name)
            case _:
                return subject.tool


def read_path(
    text: str, contract: Contract | None, environments: Sequence[str], tools: Sequence[str], zone: tzinfo
) -> Path:
    """Take a path apart and look up what it can hold. Raises `PathError`."""
    root, *names = text.split(".")
    if root not in _ROOTS:
        raise PathError(f"conditions cannot see {shown(root)}{nearest(root, _ROOTS)}")
    if root == "arguments":
        return _argument_path(text, names, contract)
    if root == "plan":
        return _plan_path(text, names)
    if text not in _FIXED:
        known = [path for path in _FIXED if path.startswith(root)]
        raise PathError(f"does not exist; there is {', '.join(known)}{nearest(text, known)}")
    domain = _FIXED[text]
    if root in ("environment", "tool"):
        domain = one_of(environments if root == "environment" else tools)
    return Path(text=text, root=root, steps=tuple(Step(name) for name in names), domain=domain, zone=zone)


def _argument_path(text: str, names: list[str], contract: Contract | None) -> Path:
    if contract is None:
        raise PathError("arguments differ from tool to tool: name the rule's `tool`")
    place = Place.of(contract.input)
    steps: list[Step] = []
    for name, star in _parts(names):
        below = place.property(name)
        hidden = not steps and name in ("reason", "repeat")
        if below is None or hidden:
            known = place.names() - ({"reason", "repeat"} if not steps else set())
            kind = "no argument" if not steps else "nothing called"
            raise PathError(f"{contract.tool} has {kind} {shown(name)}{nearest(name, known)}")
        items = below.items()
        if star and items is None:
            raise PathError(f"{shown(name)} is no list, so it cannot have [*]")
        steps.append(Step(name, star, below.default()))
        place = items if star and items else below
    return Path(text=text, root="arguments", steps=tuple(steps), domain=place.domain())


def _plan_path(text: str, names: list[str]) -> Path:
    steps = tuple(Step(name, star) for name, star in _parts(names))
    counted = len(steps) == 1 and steps[0].name in COUNTED
    return Path(text=text, root="plan", steps=steps, domain=WHOLE if counted else ANYTHING)


def _parts(names: list[str]) -> list[tuple[str, bool]]:
    matches = [_STEP.fullmatch(name) for name in names]
    if not names or len(names) > _DEEPEST or not all(matches):
        raise PathError(f"must be a path of 1 to {_DEEPEST} names, such as files[*].path")
    return [(match["name"], match["star"] is not None) for match in matches if match]


def _walk(value: object, steps: tuple[Step, ...], missing: Gap) -> object:
    for index, step in enumerate(steps):
        if not isinstance(value, (dict, Mapping)):  # nearly always a dict: that is seen at once
            return Gap.UNREADABLE
        value = value.get(step.name)
        if value is None:
            value = step.default
        if value is None:
            return missing
        if step.star:
            return _through(value, steps[index + 1 :], missing)
    return value


def _through(value: object, rest: tuple[Step, ...], missing: Gap) -> object:
    """Return what `rest` finds in every item; lists behind a further `[*]` are joined."""
    if not isinstance(value, (list, tuple)):
        return Gap.UNREADABLE
    found: list[object] = []
    deeper = any(step.star for step in rest)
    for item in value:
        inner = _walk(item, rest, missing)
        if deeper and isinstance(inner, tuple):
            found.extend(inner)
        else:
            found.append(inner)
    return tuple(found)


def _of_principal(subject: Subject, name: str) -> object:
    principal = subject.principal
    match name:
        case "name":
            return principal.name
        case "owner":
            return principal.owner if principal.owner is not None else Gap.ABSENT
        case _:
            return tuple(sorted(principal.groups))


def _of_risk(subject: Subject, name: str) -> object:
    """Return the score or a part's points; a part that weighs nothing has none."""
    risk = subject.risk
    if isinstance(risk, Gap):
        return risk
    return risk.score if name == "score" else risk.points.get(name, 0)


def _of_time(local: datetime, name: str) -> object:
    match name:
        case "hour":
            return local.hour
        case "weekday":
            return WEEKDAYS[local.weekday()]
        case _:
            return local.date().isoformat()
