"""Says what differs between two values of a policy, and writes values so that they fit into a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import timedelta

from keyturn.model.sshkey import PublicKey
from keyturn.model.time import format_timestamp
from keyturn.policy.freezes import Freeze
from keyturn.policy.limits import Limit, written_window
from keyturn.policy.patterns import Pattern
from keyturn.policy.reach.changes import same_where
from keyturn.policy.rules import Approval, Budget, Lane, Thresholds
from keyturn.policy.shown import shown
from keyturn.policy.validity import Validity
from keyturn.policy.where import Condition, Where

_UNSAID = frozenset({"id", "place", "name", "patterns"})


def differing(before: object, after: object, calendars: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield what differs between two values of the same kind, field by field; `calendars` are paths that differ."""
    for field in fields(before):  # type: ignore[arg-type]  # rules and what they name are all dataclasses
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name == "calendar" and isinstance(before, Freeze) and isinstance(after, Freeze):
            yield from _calendar(before, after, calendars)
        elif field.name == "limits":
            was, now = (_limits(side, whole=isinstance(after, Budget)) for side in (old, new))
            if was != now:
                yield f"limits {joined(now - was)} instead of {joined(was - now)}"
        elif field.name not in _UNSAID and not _same(old, new):
            yield _field(field.name, old, new)


def _calendar(old: Freeze, new: Freeze, moved: frozenset[str]) -> Iterator[str]:
    """Yield that a freeze has another calendar, or reads the same one by another clock."""
    before, after = old.calendar.clock, new.calendar.clock
    if new.path in moved:
        yield f"its calendar {new.path} differs"
    if before != after and None not in {before, after}:
        yield f"reads days and times without a zone as those of {after} instead of {before}"


def _same(old: object, new: object) -> bool:
    match old, new:
        case Where(), Where():
            return same_where(old, new)
        case Lane(), Lane():  # what it says is told under its own name
            return old.name == new.name
        case _:
            return old == new


def _field(name: str, old: object, new: object) -> str:
    match name, old, new:
        case "where", Where(), Where():
            return "; ".join(_where(old, new))
        case "approval", Approval(), Approval() if _asked(old) == _asked(new):
            return f"may be given by {_givers(new)} instead of {_givers(old)}"
        case "approval", _, _:
            return f"asks {_asked(new)} instead of {_asked(old)}"
        case "risk", Thresholds(approval=Approval() as was), Thresholds(approval=Approval() as now) if _scored(
            old
        ) == _scored(new):
            return f"what its risk score asks may be given by {_givers(now)} instead of {_givers(was)}"
        case "risk", _, _:
            return f"by its risk score {_scored(new)} instead of {_scored(old)}"
        case "valid", Validity(), Validity():
            return f"counts {_dates(new)} instead of {_dates(old)}"
        case _:
            return f"{name} {_value(new)} instead of {_value(old)}"


def _where(old: Where, new: Where) -> Iterator[str]:
    """Yield what is asked no longer, then what is asked now; and what differs only where words are left out."""
    was, now = ({one.path.text: one for one in side.conditions} for side in (old, new))
    differing = [path for path in sorted({*was, *now}) if not _alike(was.get(path), now.get(path))]
    gone, come = ({path: _said(side[path]) for path in differing if path in side} for side in (was, now))
    silent = [path for path in differing if gone.get(path) == come.get(path)]
    yield from (f"no longer asks {text}" for path, text in gone.items() if path not in silent)
    yield from (f"asks {text}" for path, text in come.items() if path not in silent)
    yield from (f"asks something else of {path} among what is too long to be told" for path in silent)


def _alike(one: Condition | None, other: Condition | None) -> bool:
    return one is not None and other is not None and same_where(Where((one,)), Where((other,)))


def _said(one: Condition) -> str:
    return f"that {one.path.text} {one.test.asked}{_zone(str(one.path.zone))}"


def _zone(zone: str) -> str:
    return "" if zone == "UTC" else f" ({zone})"


def _asked(approval: object) -> str:
    if not isinstance(approval, Approval):
        return "for no review"
    keys = "" if approval.keys == "any" else f" with {approval.keys} keys"
    rejects = "" if approval.rejects == 1 else f", {approval.rejects} refusals to end it"
    later = "".join(_later(one.after, one.sources) for one in approval.escalate)
    people = f"{approval.quorum} of {', '.join(approval.sources)}"
    return f"for {people}{keys} within {written_window(approval.expires)}{later}{rejects}"


def _givers(approval: Approval) -> str:
    later = "".join(_later(one.after, sorted(one.reviewers)) for one in approval.escalate)
    return joined(approval.reviewers) + later


def _later(after: timedelta, names: Iterable[str]) -> str:
    return f", {written_window(after)} later {', '.join(names)} too"


def _scored(thresholds: object) -> str:
    """Write what follows from a risk score."""
    if not isinstance(thresholds, Thresholds):
        return "nothing"
    asked = "" if thresholds.approval is None else f" {_asked(thresholds.approval)}"
    held = [] if thresholds.hold_at is None else [f"held from {thresholds.hold_at}{asked}"]
    refused = [] if thresholds.deny_at is None else [f"refused from {thresholds.deny_at}"]
    return " and ".join([*held, *refused]) + (", in shadow" if thresholds.shadow else "")


def _dates(valid: Validity) -> str:
    since = "" if valid.since is None else f"from {format_timestamp(valid.since)}"
    until = "" if valid.until is None else f"until {format_timestamp(valid.until)}"
    return " ".join(part for part in (since, until) if part) or "always"


def _limits(limits: Sequence[Limit], *, whole: bool) -> set[str]:
    """Write limits; `whole` with whom they count, which a grant says by itself."""
    return {limit.text + (_counted(limit) if whole else "") for limit in limits}


def joined(texts: Iterable[str]) -> str:
    """Return texts in one line, sorted, so that the same always reads the same."""
    return ", ".join(sorted(texts)) or "none"


def _counted(limit: Limit) -> str:
    whom = (("of", limit.principals), ("in", limit.environments))
    told = "".join(f" {word} {', '.join(sorted(names))}" for word, names in whom if names is not None)
    return told + (f" calling {limit.tool}" if limit.tool else "")


def _value(value: object) -> str:
    """Write a value of a field so that it fits into a sentence."""
    match value:
        case None:
            return "not said"
        case bool():
            return "true" if value else "false"
        case str() | int():
            return shown(value)
        case timedelta():
            return written_window(value)
        case frozenset() | set():
            return ", ".join(sorted(map(_value, value))) or "none"
        case tuple() | list():
            return ", ".join(map(_value, value)) or "none"
        case _:
            return shown(_plain(value))


def _plain(value: object) -> str:
    if isinstance(value, Pattern):
        return _glob(value.source)
    if isinstance(value, PublicKey):
        return value.fingerprint
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else str(value)


def _glob(source: str) -> str:
    """Return the glob that a pattern was translated from (see `patterns`)."""
    text = source.removeprefix("(?s)")
    for written, stands_for in (("(?:.*/)?", "**/"), ("[^/]*", "*"), ("[^/]", "?"), (".*", "**")):
        text = text.replace(written, stands_for)
    return re.sub(r"\\(.)", r"\1", text)
