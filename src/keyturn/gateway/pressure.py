"""Where work piles up: what waits and for whom, what could run and does not, what runs long, and how long it takes.

Read from the fold and from a bounded number of entries at the end, for showing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from keyturn.approvals.action import Action, ended_at, status, tallies
from keyturn.fold.remembered import REMEMBER
from keyturn.gateway.desk import Look
from keyturn.gateway.finding import first_not_before
from keyturn.gateway.rejudging import frozen_action
from keyturn.gateway.suspensions import Halt, suspended_action, suspensions_now
from keyturn.log.entry import Entry
from keyturn.model.time import shifted
from keyturn.policy import Policy

MOST_REFUSALS = 200  # newest entries of refused calls that are looked at, and as many of counts of them
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Actions that wait for the same people.

    sources   whom the policy names: `group:sre`, `person:alice`
    people    who of them may still act at present, on all of these actions
    actions   ids, oldest first
    since     when the oldest was asked for
    """

    sources: tuple[str, ...]
    people: tuple[str, ...]
    actions: tuple[str, ...]
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """An approved action that does not run: `code` and `why` it cannot at present, both None when it could."""

    action: Action
    code: str | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took: over how many, the median, and what 95 % stayed within, in seconds."""

    count: int
    median: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Calls refused since a time, by code; `complete` is false when there were more than are looked at."""

    codes: Mapping[str, int]
    since: datetime
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """Where work piles up in one home.

    queues      what waits for people, the longest wait first
    ready       what is approved and does not run, in the order of the requests
    running     what runs, the longest first
    deciding    from request to decision, and `finishing` from request to outcome: over the last hour, None if nothing
    expires     the action that expires next of those that wait, and when
    growth      entries of the last hour and of the last day
    """

    queues: tuple[Queue, ...]
    ready: tuple[Ready, ...]
    running: tuple[Action, ...]
    deciding: Spread | None
    finishing: Spread | None
    refused: Refused
    halts: tuple[Halt, ...]
    expires: tuple[str, datetime] | None
    growth: tuple[int, int]


def pressure(view: Look, policy: Policy | None = None) -> Pressure:
    """Look where work piles up; `policy` is the one in force, where it can be read, and says what is frozen."""
    opened = list(view.state.open_actions(view.now))
    waiting = [action for action, state in opened if state in {"pending", "approved"}]
    known = view.state.actions.values()
    soonest = min(waiting, key=lambda action: action.expires_at, default=None)
    return Pressure(
        queues=tuple(_queues([action for action, state in opened if state == "pending"], view.now)),
        ready=tuple(_ready(view, policy, [action for action, state in opened if state == "approved"])),
        running=tuple(sorted((a for a, state in opened if state == "running"), key=begun)),
        deciding=_spread(_lasted(action, decided_at(action), view.now) for action in known),
        finishing=_spread(_lasted(action, _finished_at(action), view.now) for action in known),
        refused=_refused(view),
        halts=tuple(suspensions_now(view)),
        expires=None if soonest is None else (soonest.id, soonest.expires_at),
        growth=(_entries_since(view, REMEMBER), _entries_since(view, _DAY)),
    )


def begun(action: Action) -> datetime:
    """Return when a running action began."""
    return action.requested_at if action.started is None else action.started.at


def decided_at(action: Action) -> datetime | None:
    """Return when people had decided on a held action, or its expiry did; None while neither has."""
    if action.decision != "hold":
        return None
    for count, review in enumerate(action.reviews, 1):
        then = replace(action, reviews=action.reviews[:count], started=None, ended=None, ended_at=None)
        if status(then, review.recorded_at) in {"approved", "rejected"}:
            return review.recorded_at
    return action.expires_at if action.ended == "expired" else None


def _queues(pending: Sequence[Action], now: datetime) -> Iterator[Queue]:
    """Group what is pending by whom it still waits for: an action with two open obligations stands in two queues."""
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Action]] = {}
    for action in pending:
        for tally in tallies(action, now):
            if tally.missing:
                left = tuple(sorted(set(tally.eligible) - set(tally.approved)))
                groups.setdefault((tally.obligation.sources, left), []).append(action)
    for (sources, people), actions in sorted(groups.items(), key=lambda group: group[1][0].requested_at):
        ids = tuple(dict.fromkeys(action.id for action in actions))
        yield Queue(sources=sources, people=people, actions=ids, since=actions[0].requested_at)


def _ready(view: Look, policy: Policy | None, approved: Sequence[Action]) -> Iterator[Ready]:
    taken: set[str] = set()
    for action in approved:
        code, why = hindrance(view, policy, action, taken) or (None, None)
        yield Ready(action=action, code=code, why=why)
        if code in {None, "target_busy"}:  # what waits for anything else lets later ones on its target go first
            taken.add(action.target)


def hindrance(
    view: Look, policy: Policy | None, action: Action, taken: Container[str] = ()
) -> tuple[str, str] | None:
    """Say by code and words what keeps an approved action from running, as far as the ledger tells."""
    if view.reading.fault is not None:
        return "clock", "the clock is not trusted"
    if action.waits_for_a_hand:
        return "by_hand", f"a person has to sign for its execution: keyturn action execute {action.id}"
    if (reason := suspended_action(view, action)) is not None:
        return reason.code, reason.text
    if policy is not None and (frozen := frozen_action(policy, view, action)) is not None:
        return frozen.code, frozen.text
    if (other := view.state.busy(action.target, view.now, without=action.id)) is not None:
        return "target_busy", f"{other.id} is running on the same target"
    return ("target_busy", "an earlier one on the same target goes first") if action.target in taken else None


def _lasted(action: Action, end: datetime | None, now: datetime) -> float | None:
    """Return the seconds from request to `end`, if that lies within the last hour: the fold remembers no longer."""
    if end is None or not now - REMEMBER <= end <= now:
        return None
    return (end - action.requested_at).total_seconds()


def _finished_at(action: Action) -> datetime | None:
    return None if action.started is None or action.ended is None else ended_at(action, action.expires_at)


def _spread(lasted: Iterable[float | None]) -> Spread | None:
    found = sorted(seconds for seconds in lasted if seconds is not None)
    if not found:
        return None
    # Nearest rank: both are times that were measured, however few there are.
    return Spread(len(found), found[(len(found) - 1) // 2], found[-(-len(found) * 95 // 100) - 1])


def _refused(view: Look) -> Refused:
    since = shifted(view.now, -REMEMBER)
    codes, complete = Counter[str](), True
    for kind in ("action.denied", "requests.throttled"):
        newest = view.newest(kind, MOST_REFUSALS)
        late = [entry for entry in newest if entry.at >= since]
        complete = complete and len(late) < MOST_REFUSALS
        for entry in late:
            code, count = _counted(entry)
            codes[code] += count
    return Refused(codes=dict(codes.most_common()), since=since, complete=complete)


def _counted(entry: Entry) -> tuple[str, int]:
    if entry.kind == "requests.throttled":
        return entry.text("code"), entry.number("count")
    named = entry.facts["codes"]
    first = named[0] if isinstance(named, list) and named else None
    return (str(first["code"]) if isinstance(first, Mapping) else "none"), 1


def _entries_since(view: Look, span: timedelta) -> int:
    return view.head.size - first_not_before(view, shifted(view.now, -span))
