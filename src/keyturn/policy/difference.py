"""Says in sentences what changes from one policy to another: who gains and who loses what, and which rules differ.

`gains` and `loses` are about people and assistants: a call that was refused or reviewed and is let through now, or
the other way round, each with a request that shows it; wider and narrower limits; reviews that somebody may give now
or not any more. `changes` are about the text: every rule or section that reads otherwise, so that nothing changes in
silence. Comments, the order of rules and other words for the same are no difference.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Literal, TypeAlias

from keyturn.canon import Json
from keyturn.model.decision import Request
from keyturn.model.sshkey import PublicKey
from keyturn.model.time import format_timestamp
from keyturn.policy.freezes import Freeze
from keyturn.policy.guard import PolicyGuard
from keyturn.policy.limits import Limit, written_window
from keyturn.policy.patterns import Pattern
from keyturn.policy.policy import Policy
from keyturn.policy.queue import Queue
from keyturn.policy.reach.changes import Outlook, Shift, same_where, shifts
from keyturn.policy.rules import Approval, Budget, Forbid, Grant, Lane, Thresholds
from keyturn.policy.shown import shown
from keyturn.policy.validity import Validity
from keyturn.policy.where import Condition, Where

Kind: TypeAlias = Literal["gains", "loses", "changes"]
Rule: TypeAlias = Grant | Forbid | Budget | Freeze

_RULES = (("grants", "grant"), ("forbids", "forbid"), ("budgets", "limit"), ("freezes", "freeze"))
_NAMED = (
    ("principals", "principal"),
    ("people", "person"),
    ("reviewers", "reviewer"),
    ("environments", "environment"),
    ("lanes", "lane"),
    ("prices", "price of the tool"),
)
_WORDS = {
    "guard": "who must sign for the next policy",
    "cases": "the policy's tests",
    "degrade": "what tightens by itself ([degrade])",
    "queue": "how much may be under way at once ([queue])",
    "risk": "how risk is scored ([risk])",
}
_SILENT = frozenset({"anchored", "digest", "contracts", "by_call", "by_head", "by_place", "by_tool", "lint"})
_UNSAID = frozenset({"id", "place", "name", "patterns"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference as a sentence.

    who      the assistant or reviewer who gains or loses; empty for a change of the text
    request  a call that shows it, for gains and losses of assistants
    open     what else such a call would have to be, where that could not be settled
    """

    kind: Kind
    who: str
    text: str
    rules: tuple[str, ...] = ()
    request: Request | None = None
    open: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Return the change as `--json` prints it."""
        request = self.request
        call: dict[str, Json] | None = None
        if request is not None:
            call = {"tool": request.tool, "target": request.target, "arguments": dict(request.arguments)}
        return {
            "kind": self.kind,
            "who": self.who,
            "text": self.text,
            "rules": list(self.rules),
            "request": call,
            "open": list(self.open),
        }


def difference(
    old: Policy, new: Policy, outlook: Outlook, calendars: Collection[str] = frozenset()
) -> tuple[Change, ...]:
    """Return every difference: gains, then losses, then what reads otherwise. `calendars` are paths that differ."""
    found = [*map(_shifted, shifts(old, new, outlook)), *_reviews(old, new), *_room(old, new)]
    return (
        *(change for change in found if change.kind == "gains"),
        *(change for change in found if change.kind == "loses"),
        *_texts(old, new, frozenset(calendars)),
    )


def _shifted(shift: Shift) -> Change:
    call = f"{shift.tool} in {shift.environment}"
    match shift.before, shift.after:
        case "deny", "permit":
            text = f"may call {call} without a review, and was refused"
        case "hold", "permit":
            text = f"may call {call} without a review, and needed one"
        case "deny", "hold":
            text = f"may ask for {call}, to be reviewed, and was refused"
        case "permit", "deny":
            text = f"may not call {call} any more, and needed no review"
        case "permit", "hold":
            text = f"needs a review to call {call}, and needed none"
        case _:
            text = f"may not ask for {call} any more, not even to be reviewed"
    return Change(
        kind="gains" if shift.gains else "loses",
        who=shift.principal,
        text=text,
        rules=shift.rules,
        request=shift.request,
        open=shift.open,
    )


def _reviews(old: Policy, new: Policy) -> Iterator[Change]:
    """Yield who may review what now, or not any more, of what both policies ask to be reviewed."""
    before, after = _approvals(old), _approvals(new)
    for name in sorted({*old.reviewers, *new.reviewers}):
        had, has = ({rule for rule, one in side.items() if name in one.eligible(None)} for side in (before, after))
        gained, lost = sorted(has - had), sorted(had - has)
        if gained:
            yield Change(kind="gains", who=name, text=f"may review {_listed(gained)}", rules=tuple(gained))
        if lost:
            yield Change(kind="loses", who=name, text=f"may not review {_listed(lost)} any more", rules=tuple(lost))


def _room(old: Policy, new: Policy) -> Iterator[Change]:
    """Yield whose live limits are wider or narrower now. A grant's come and go with what it lets through."""
    was, now = ({rule.id: rule for rule in side.grants if not rule.shadow} for side in (old, new))
    for name in sorted(was.keys() & now.keys()):
        yield from _room_of(name, was[name].limits, now[name].limits)
    had, has = ({rule.id: rule.limits for rule in side.budgets} for side in (old, new))
    for name in sorted({*had, *has}):
        yield from _room_of(name, had.get(name, ()), has.get(name, ()))


def _room_of(rule: str, old: Sequence[Limit], new: Sequence[Limit]) -> Iterator[Change]:
    was, now = _tightest(old), _tightest(new)
    for key in sorted({*was, *now}, key=repr):
        one, other = was.get(key), now.get(key)
        if one is not None and other is not None and one.allowed == other.allowed:
            continue
        wider = other is None or (one is not None and other.allowed > one.allowed)
        limit = other or one
        names = None if limit is None else limit.principals
        if other is None:
            text = f"is no longer limited to {one.text if one else 'anything'} by {shown(rule)}"
        else:
            before = "which is new" if one is None else f"it was {one.allowed}"
            text = f"has at most {other.text} by {shown(rule)} ({before})"
        who = "everybody" if names is None else ", ".join(sorted(names))
        yield Change(kind="gains" if wider else "loses", who=who, text=text, rules=(rule,))


def _tightest(limits: Sequence[Limit]) -> dict[tuple[object, ...], Limit]:
    """Return the live limits by what they count; of several on the same the tightest."""
    found: dict[tuple[object, ...], Limit] = {}
    for limit in sorted(limits, key=lambda one: -one.allowed):
        if not limit.shadow:
            found[limit.unit, limit.window, limit.per] = limit
    return found


def _approvals(policy: Policy) -> dict[str, Approval]:
    """Return every approval a policy asks, by the rule that asks it."""
    grants = {grant.id: grant.approval for grant in policy.grants}
    lanes = {lane.rule: lane.approval for lane in policy.lanes.values()}
    return {rule: approval for rule, approval in {**grants, **lanes}.items() if approval is not None}


def _texts(old: Policy, new: Policy, calendars: frozenset[str]) -> Iterator[Change]:
    """Yield every rule and section that reads otherwise."""
    for name, word in _RULES:
        before, after = ({rule.id: rule for rule in getattr(side, name)} for side in (old, new))
        yield from _compared(word, before, after, calendars)
    for name, word in _NAMED:
        yield from _compared(word, getattr(old, name), getattr(new, name), calendars)
    told = {*_SILENT, *(name for name, _ in (*_RULES, *_NAMED))}
    for field in fields(Policy):
        was, now = getattr(old, field.name), getattr(new, field.name)
        if field.name not in told and was != now:
            text = f"{_WORDS.get(field.name, field.name)}: {_section(was, now)}"
            yield Change(kind="changes", who="", text=text)


def _section(old: object, new: object) -> str:
    match old, new:
        case PolicyGuard() | Queue(), None:
            return "is not said any more"
        case None, PolicyGuard() | Queue():
            return "is new"
        case (PolicyGuard(), PolicyGuard()) | (Queue(), Queue()):
            return "; ".join(_fields(old, new, frozenset()))
        case _:
            return "differs"


def _compared(
    word: str, old: Mapping[str, object], new: Mapping[str, object], calendars: frozenset[str]
) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            text = f"{word} {shown(name)} is {'gone' if after is None else 'new'}"
            yield Change(kind="changes", who="", text=text, rules=(name,))
        elif told := list(_fields(before, after, calendars)):
            text = f"{word} {shown(name)}: {'; '.join(told)}"
            yield Change(kind="changes", who="", text=text, rules=(name,))


def _fields(before: object, after: object, calendars: frozenset[str]) -> Iterator[str]:
    """Yield what differs between two values of the same kind, field by field; `calendars` are paths that differ."""
    for field in fields(before):  # type: ignore[arg-type]  # rules and what they name are all dataclasses
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name == "calendar" and isinstance(before, Freeze) and isinstance(after, Freeze):
            yield from _calendar(before, after, calendars)
        elif field.name == "limits":
            was, now = (_limits(side, whole=isinstance(after, Budget)) for side in (old, new))
            if was != now:
                yield f"limits {_joined(now - was)} instead of {_joined(was - now)}"
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
    later = "".join(f", {written_window(one.after)} later {', '.join(one.sources)} too" for one in approval.escalate)
    people = f"{approval.quorum} of {', '.join(approval.sources)}"
    return f"for {people}{keys} within {written_window(approval.expires)}{later}{rejects}"


def _givers(approval: Approval) -> str:
    return ", ".join(sorted(approval.eligible(None))) or "nobody"


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


def _joined(texts: Collection[str]) -> str:
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


def _listed(names: Sequence[str]) -> str:
    return ", ".join(shown(name) for name in names)


__all__ = ["Change", "Outlook", "difference"]
