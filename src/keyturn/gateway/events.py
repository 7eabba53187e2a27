"""Which entries and which moments are news for people, each told once however often somebody looks.

Entries are news by themselves. Time is, too: it lets an action expire, brings its expiry near, and makes an
escalation count. What time did is told by whoever looks first, as a moment or with the entry that follows it, and
`Told` remembers it until then. Nothing here asks who is to be told, or in which words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from typing import TypeAlias

from keyturn.approvals.action import Action, status
from keyturn.log.entry import Entry
from keyturn.log.kinds import REQUESTS
from keyturn.model.time import shifted

LATE = timedelta(hours=1)
"""What is older when it is looked at is not told singly any more."""

ESCALATED = "escalated"
MISSED = "missed"
EVENTS = (
    "held",
    "half",
    "nine-tenths",
    ESCALATED,
    "approved",
    "withheld",
    "rejected",
    "expired",
    "cancelled",
    "stale",
    "succeeded",
    "failed",
    "unknown",
    "resolved",
    MISSED,
)
"""Every kind of event there is."""

_TENTHS = {"half": 5, "nine-tenths": 9}
_WAITING = frozenset({"action.reviewed", "action.cancelled", "action.stale", "action.expired", "execution.started"})
_NEWS = _WAITING | REQUESTS | {"action.withheld", "execution.finished", "execution.resolved"}

Moment: TypeAlias = tuple[str, str, datetime]
"""What time did to an action: its id, the kind of event, and when."""

Find: TypeAlias = Callable[[str], Action | None]


@dataclass(frozen=True, slots=True)
class Told:
    """How far telling has come.

    seq      every entry before it is told
    moments  what time did to actions that are not over, where that is told already
    """

    seq: int
    moments: frozenset[Moment] = frozenset()

    def after(self, event: Event) -> Told:
        """Return how far telling is once `event` is told too."""
        told = self if event.entry is None else replace(self, seq=max(self.seq, event.entry + 1))
        if event.kind == MISSED:
            return reduce(Told.after, event.late, told)
        if event.entry is None:
            return replace(told, moments=told.moments | {(event.action, event.kind, event.at)})
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to an action; or, "missed", several that are not told singly, old or too many.

    entry  the number of the entry that says so; None for what time did; of "missed" the last that was passed over
    late   of "missed": what happened
    """

    kind: str
    action: str
    at: datetime
    entry: int | None = None
    late: tuple[Event, ...] = ()


def news(
    find: Find,
    waiting: Iterable[Action] | None,
    entries: Sequence[Entry],
    now: datetime,
    told: Told,
    *,
    passed: Sequence[Event] = (),
) -> tuple[list[Event], Told]:
    """Return what happened since `told`, in order: what `entries` say, then what time did to the `waiting` actions.

    `entries` are those from `told.seq` on; `find` and `waiting` know actions as all entries up to now tell them, and
    `waiting` is None while there are more entries to come. What happened more than an hour ago comes as one event,
    "missed", before the rest, and so does what the caller `passed` over. The second value is how far telling is once
    all of it is told.
    """
    events = [*passed, *(event for entry in entries for event in _by_entry(find, entry, told))]
    held = {event.action for event in events if event.kind == "held" and now - event.at <= LATE}
    end, silent = entries[-1].seq + 1 if entries else told.seq, set[Moment]()
    for action in waiting or ():
        if action.decision == "hold" and _lives(action):
            events += _turns(action, now, told)
            reminders, over = _reminders(action, now, told)
            # News that it is held says all that a reminder could.
            events += [] if action.id in held else reminders
            silent |= over
    events = _together(events, now)
    after = reduce(Told.after, events, told)
    after = Told(max(end, after.seq), after.moments | silent)
    # An entry that is still to come may tell what time did: until then it must be known that this was told.
    return events, after if waiting is None else _without_settled(find, after)


def _together(events: Sequence[Event], now: datetime) -> list[Event]:
    late = tuple(event for event in events if now - event.at > LATE)
    fresh = [event for event in events if now - event.at <= LATE]
    return [together(late), *fresh] if late else fresh


def together(events: Sequence[Event]) -> Event:
    """Make one event of many that are not told singly: they came too late, or there are too many."""
    return Event(kind=MISSED, action="", at=events[0].at, late=tuple(events))


def _without_settled(find: Find, told: Told) -> Told:
    """Drop the moments of actions that entries have ended: nothing can tell those again."""
    kept = (moment for moment in told.moments if (found := find(moment[0])) is not None and _lives(found))
    return replace(told, moments=frozenset(kept))


def _lives(action: Action) -> bool:
    return action.ended is None and action.started is None


def _by_entry(find: Find, entry: Entry, told: Told) -> Iterator[Event]:
    """Yield what time had done before an entry of an action, then what the entry does."""
    action = find(entry.action) if entry.action is not None and entry.kind in _NEWS else None
    if action is None:
        return
    if action.decision == "hold" and entry.kind in _WAITING:
        yield from _turns(_as_of(action, entry.seq), entry.at, told)
    kind = _kind(action, entry)
    if kind is not None:
        yield Event(kind=kind, action=action.id, at=entry.at, entry=entry.seq)


def _kind(action: Action, entry: Entry) -> str | None:
    """Name what an entry does. Of actions that ran without people only what needs somebody now is told."""
    match entry.kind:
        case "execution.finished" if entry.facts["outcome"] == "unknown":
            return "unknown"
        case "execution.resolved":
            return "resolved"
        case "action.withheld" if action.decision == "permit":  # what is held becomes so with its approval
            return "withheld"
        case _ if action.decision != "hold":
            return None
        case "action.requested" | "action.undoing":
            return "held"
        case "action.reviewed":
            return _decided(action, entry)
        case "action.cancelled" | "action.stale":
            return entry.kind.removeprefix("action.")
        case "execution.finished":
            return entry.text("outcome")
    return None  # it began, or the expiry is written down: time had its say above


def _decided(action: Action, review: Entry) -> str | None:
    before = status(_as_of(action, review.seq), review.at)
    after = status(_as_of(action, review.seq + 1), review.at)
    return after if after != before and after in {"approved", "rejected"} else None


def _as_of(action: Action, seq: int) -> Action:
    """Return an action as it was before the entry `seq`, while it waited."""
    reviews = tuple(review for review in action.reviews if review.seq < seq)
    return replace(action, reviews=reviews, started=None, ended=None, ended_at=None, effect=None)


def _turns(action: Action, until: datetime, told: Told) -> Iterator[Event]:
    """Yield each change of state that time alone made to a waiting action since its last review, unless told."""
    since = action.reviews[-1].recorded_at if action.reviews else action.requested_at
    state = status(action, since)
    for moment in sorted({*(at for at, _ in steps(action)), action.expires_at}):
        if since < moment <= until and (turned := status(action, moment)) != state:
            state = turned
            if (action.id, state, moment) not in told.moments:
                yield Event(kind=state, action=action.id, at=moment)


def steps(action: Action) -> Iterator[tuple[datetime, tuple[str, ...]]]:
    """Yield each escalation of an action: from when it counts, and who may review from then on."""
    longest = (action.expires_at - action.requested_at) // timedelta(seconds=1)
    for obligation in action.obligations:
        for step in obligation.escalations:
            if step.after <= longest:  # an entry may say more seconds than there are; after the expiry none count
                yield action.requested_at + timedelta(seconds=step.after), step.reviewers


def _reminders(action: Action, now: datetime, told: Told) -> tuple[list[Event], set[Moment]]:
    """Return what a waiting action is to be reminded of by now, and the moments that are over with it.

    Of two reminders in one breath only the later is told.
    """
    if status(action, now) != "pending":
        return [], set()
    life = action.expires_at - action.requested_at
    near = [(shifted(action.requested_at, life * tenths / 10), kind) for kind, tenths in _TENTHS.items()]
    due = [(action.id, kind, at) for at, kind in near if at <= now]
    grown = {(action.id, ESCALATED, at) for at, _ in steps(action) if at <= now}
    new = [moment for moment in (*sorted(grown), *due[-1:]) if moment not in told.moments]
    return [Event(kind=kind, action=name, at=at) for name, kind, at in new], {*due, *grown}
