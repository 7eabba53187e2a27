"""Whose limits leave more room, or less: how much they allow, whom they bind, and whose uses they count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from keyturn.policy.difference.change import Change
from keyturn.policy.limits import Limit
from keyturn.policy.policy import Policy
from keyturn.policy.shown import shown

Names: TypeAlias = frozenset[str] | None
"""Names of principals, environments or tools; None for all."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Who there is: the principals of the new policy, and the owners of those of either."""

    principals: frozenset[str]
    owners: Mapping[str, str | None]


def room(old: Policy, new: Policy) -> Iterator[Change]:
    """Yield whose live limits are wider or narrower now. A grant's come and go with what it lets through."""
    owners = {name: one.owner for side in (old, new) for name, one in side.principals.items()}
    known = _Known(frozenset(new.principals), owners)
    was, now = ({rule.id: rule for rule in side.grants if not rule.shadow} for side in (old, new))
    for name in sorted(was.keys() & now.keys()):
        before, after = was[name], now[name]
        both = before.principals & after.principals
        for one, other in _pairs(before.limits, after.limits) if before.tool == after.tool else ():
            yield from _amount(name, one, other, both)
            yield from _shared(name, one, other, known)
    had, has = ({rule.id: rule.limits for rule in side.budgets} for side in (old, new))
    for name in sorted({*had, *has}):
        for one, other in _pairs(had.get(name, ()), has.get(name, ())):
            yield from _bound(name, one, other, known)
            yield from _shared(name, one, other, known)


def _pairs(old: Sequence[Limit], new: Sequence[Limit]) -> Iterator[tuple[Limit | None, Limit | None]]:
    was, now = _tightest(old), _tightest(new)
    for key in sorted({*was, *now}, key=repr):
        yield was.get(key), now.get(key)


def _tightest(limits: Sequence[Limit]) -> dict[tuple[object, ...], Limit]:
    """Return the live limits by what they count; of several on the same the tightest."""
    found: dict[tuple[object, ...], Limit] = {}
    for limit in sorted(limits, key=lambda one: -one.allowed):
        if not limit.shadow:
            found[limit.unit, limit.window, limit.per] = limit
    return found


def _bound(rule: str, one: Limit | None, other: Limit | None, known: _Known) -> Iterator[Change]:
    """Yield what a limit of `[[limits]]` means to those whom it binds still, not any more, and now."""
    if one is None or other is None:
        limit = one or other
        yield from _amount(rule, one, other, limit.principals if limit else None)
        return
    yield from _amount(rule, one, other, _both(one.principals, other.principals))
    yield from _amount(rule, one, None, _beyond(one.principals, other.principals, known.principals))
    yield from _amount(rule, None, other, _beyond(other.principals, one.principals, known.principals))
    yield from _elsewhere(rule, one, other)


def _amount(rule: str, one: Limit | None, other: Limit | None, who: Names) -> Iterator[Change]:
    match one, other:
        case Limit(), None:
            wider, text = True, f"is no longer limited to {one.text} by {shown(rule)}"
        case None, Limit():
            wider, text = False, f"has at most {other.text} by {shown(rule)} (which is new)"
        case Limit(), Limit() if one.allowed != other.allowed:
            wider = other.allowed > one.allowed
            text = f"has at most {other.text} by {shown(rule)} (it was {one.allowed})"
        case _:
            return
    yield from _told(rule, who, text, wider=wider)


def _shared(rule: str, one: Limit | None, other: Limit | None, known: _Known) -> Iterator[Change]:
    """Yield with whom those whom a limit binds before and after share it no longer, or now."""
    if one is None or other is None:
        return
    for less, more, wider in ((other, one, True), (one, other, False)):
        others = _beyond(more.principals, less.principals, frozenset(known.owners))
        if others:
            who = _sharing(_both(one.principals, other.principals), others, other.per, known)
            yield from _change(rule, who, f"counted together with {_listed(others)}", other, wider=wider)


def _elsewhere(rule: str, one: Limit, other: Limit) -> Iterator[Change]:
    """Yield where, and when calling what, those whom a limit binds before and after are counted no longer, or now."""
    who = _both(one.principals, other.principals)
    for less, more, wider in ((other, one, True), (one, other, False)):
        for part in _more(less, more):
            yield from _change(rule, who, f"counted {part}", other, wider=wider)


def _more(less: Limit, more: Limit) -> Iterator[str]:
    """Yield which environments and tools `more` counts and `less` does not."""
    if less.environments is not None and more.environments is None:
        yield f"outside {_listed(less.environments)}"
    elif less.environments is not None and (names := (more.environments or frozenset()) - less.environments):
        yield f"in {_listed(names)}"
    if less.tool is not None and less.tool != more.tool:
        yield f"when calling {more.tool or f'anything but {less.tool}'}"


def _sharing(who: Names, others: frozenset[str], per: str, known: _Known) -> Names:
    """Return those of `who` whose uses are counted in one sum with those of `others`."""
    if per == "principal":
        return frozenset()
    if per != "owner":
        return who
    owners = {known.owners.get(name) for name in others} - {None}
    names = known.principals if who is None else who
    return frozenset(name for name in names if known.owners.get(name) in owners)


def _both(one: Names, other: Names) -> Names:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _beyond(one: Names, other: Names, everybody: frozenset[str]) -> frozenset[str]:
    """Return who is among `one` and not among `other`."""
    return frozenset() if other is None else (everybody if one is None else one & everybody) - other


def _change(rule: str, who: Names, what: str, limit: Limit, *, wider: bool) -> Iterator[Change]:
    verb = "is no longer" if wider else "is now"
    yield from _told(rule, who, f"{verb} {what} by {shown(rule)} ({limit.text})", wider=wider)


def _told(rule: str, who: Names, text: str, *, wider: bool) -> Iterator[Change]:
    if who is None or who:
        name = "everybody" if who is None else _listed(who)
        yield Change(kind="gains" if wider else "loses", who=name, text=text, rules=(rule,))


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
