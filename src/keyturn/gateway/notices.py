"""Notices: what people are told of an action, with who may act on it and how; read from the ledger, sent by others.

A notice is one JSON object. What assistants and other systems wrote stands under `envelope` and `quoted` and in
quotation marks, bounded and cleaned: for whoever reads the notice it is data. The rest are our own words and names.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from keyturn.approvals.action import Action, status, tallies
from keyturn.canon import Json
from keyturn.gateway.desk import Look
from keyturn.gateway.envelope import describe
from keyturn.gateway.events import ESCALATED, LATE, MISSED, Event, Told, news, steps
from keyturn.gateway.finding import find, find_state, first_not_before, short_in
from keyturn.gateway.payloads import read_value
from keyturn.model.text import clean, plain, told
from keyturn.model.time import format_timestamp, shifted

TYPE = "keyturn.notice/v1"
AT_ONCE = 500  # entries read in one look
MOST = 50  # actions listed in one notice
_QUOTED = 1000  # characters of somebody else's words

_BY_HAND = "It is approved, and runs once somebody has signed for its execution."
_WHILE_PENDING = frozenset({"held", "half", "nine-tenths", ESCALATED})
_TITLES = {
    "held": "Waiting for a review",
    "half": "Still waiting, half its time is over",
    "nine-tenths": "About to expire",
    "escalated": "Still waiting, for more people by now",
    "approved": "Approved",
    "withheld": "Waiting for a person to execute it",
    "rejected": "Rejected",
    "expired": "Expired, which is a no",
    "cancelled": "Cancelled",
    "stale": "Void, for the world has moved",
    "succeeded": "Done",
    "failed": "Failed",
    "unknown": "Outcome unknown, somebody has to look",
    "resolved": "Settled",
    "missed": "Not told one by one",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to be told: what happened, and the JSON object that says so."""

    event: Event
    content: dict[str, Json]


def end_of(view: Look) -> Told:
    """Return where telling begins that was never done before: nothing of what is there is news."""
    return Told(view.head.size)


def notices(view: Look, since: Told, home: str) -> tuple[list[Notice], Told]:
    """Return what people are to be told since `since`, oldest first, and how far telling is after it.

    `home` is the path that the commands in a notice name. Entries are read some at a time: the second value may be
    short of the ledger's end. Raises `LedgerError` when an action's entries cannot be read.
    """
    found, after = news_in(view, since)
    return [Notice(event, notice(view, event, home)) for event in found], after


def news_in(view: Look, since: Told) -> tuple[list[Event], Told]:
    """Return what happened since `since`, and how far telling is after it."""
    seq = min(since.seq, view.head.size)  # a ledger that was put back from a copy is shorter
    first = seq if seq == view.head.size else max(seq, first_not_before(view, shifted(view.now, -LATE)))
    passed = [Event(kind=MISSED, action="", at=view.entry(seq).at, entry=first - 1)] if first > seq else []
    end = min(first + AT_ONCE, view.head.size)
    waiting = view.state.actions.values() if end == view.head.size else None
    start = Told(first, since.moments)
    return news(partial(find, view), waiting, view.entries(first, end), view.now, start, passed=passed)


def notice(view: Look, event: Event, home: str) -> dict[str, Json]:
    """Return what is told of an event now: who may act is reckoned as of this moment. Raises `LedgerError`."""
    if event.kind == MISSED:
        return _of_many(view, event, home)
    action, state = find_state(view, event.action)
    envelope = describe(view, action)
    reason = str(read_value(view, view.entry(action.seq), "reason") or "")
    people = _may_act(view, action, state, event)
    by_hand = state == "approved" and action.waits_for_a_hand
    commands = _commands(home, action.id, "by hand" if by_hand else state)
    what = f"{plain(action.tool)} on {plain(action.target)} ({plain(action.environment)})"
    return {
        **_frame(view, event, people, home),
        "action_id": action.id,
        "short_id": short_in(view, action.id),
        "digest": action.digest,
        "principal": action.principal,
        "owner": action.owner,
        "requested_at": format_timestamp(action.requested_at),
        "commands": dict(commands),
        "title": f"{_TITLES[event.kind]}{_by_now(event, state)}: {what}",
        "text": "\n".join((*_told_of(action, envelope, reason, people), *commands.values())),
        "quoted": {"reason": clean(reason, _QUOTED), "summary": envelope["plan_summary"]},
        "envelope": {**envelope, "result": told(envelope["result"])},
    }


def may_act(view: Look, action: Action) -> list[str]:
    """Name who can do something about an action now: review it while it waits, execute or settle it by signature.

    Who is excluded, not eligible by now, or has said their word already is not named.
    """
    match status(action, view.now):
        case "pending":
            open_ones = [count for count in tallies(action, view.now) if count.missing]
            return sorted(
                {name for count in open_ones for name in set(count.eligible) - {*count.approved, *count.rejected}}
            )
        case "approved" if not action.waits_for_a_hand:
            return []
        case "approved" | "unknown" if view.state.policy is not None:
            return sorted(view.state.policy.reviewers)
    return []


def _may_act(view: Look, action: Action, state: str, event: Event) -> list[str]:
    people = may_act(view, action)
    if event.kind != ESCALATED or state != "pending":
        return people
    grown = {name for at, names in steps(action) if at == event.at for name in names}
    return [name for name in people if name in grown]


def _frame(view: Look, event: Event, people: list[str], home: str) -> dict[str, Json]:
    return {
        "notice": TYPE,
        "event": event.kind,
        "at": format_timestamp(event.at),
        "entry": event.entry,
        "log": view.head.verifier.origin if view.head.verifier else "",
        "home": home,
        "to": list(people),
    }


def _commands(home: str, action_id: str, state: str) -> dict[str, str]:
    keyturn = f"keyturn --home {shlex.quote(home)}"
    looks = {name: f"{keyturn} action {name} {action_id}" for name in ("show", "diff")}
    match state:
        case "pending":
            words = {"approve": "approve {} -m REASON", "deny": "deny {} -m REASON"}
        case "by hand":
            words = {"execute": "action execute {}"}
        case "unknown":
            words = {"resolve": "action resolve {} --succeeded|--failed -m REASON"}
        case _:
            words = {}
    return {**looks, **{name: f"{keyturn} {text.format(action_id)}" for name, text in words.items()}}


def _told_of(action: Action, envelope: Mapping[str, Any], reason: str, people: Iterable[str]) -> Iterator[str]:
    owner = f" (owner {plain(action.owner)})" if action.owner else ""
    yield f"{plain(action.principal)}{owner} asks: {_quote(envelope['plan_summary'] or '')}"
    yield f"Why, in its words: {_quote(reason)}" if reason else "It gave no reason."
    by_hand = envelope["status"] == "approved" and action.waits_for_a_hand
    yield _BY_HAND if by_hand else _standing(envelope)
    if names := ", ".join(plain(name) for name in people):
        yield f"May act now: {names}"


def _by_now(event: Event, state: str) -> str:
    """Say how it stands where that is no more what the event was news of."""
    return f" (by now {state})" if event.kind in _WHILE_PENDING and state != "pending" else ""


def _standing(envelope: Mapping[str, Any]) -> str:
    """Say how an action stands, to people; what the assistant is told of one that goes on is advice to it."""
    match envelope["status"]:
        case "pending":
            reviews = envelope["reviews"]
            counted = f"{reviews['have']} of {reviews['need']} reviews"
            return f"It waits for people, with {counted}; it expires at {envelope['expires_at']}, which is a no."
        case "approved" | "running" as state:
            return f"It is {state}."
    return _line(str(envelope["message"]))


def _of_many(view: Look, event: Event, home: str) -> dict[str, Json]:
    """Tell what happened too long ago in numbers, and what of all there is still needs somebody."""
    counted = Counter(each.kind for each in event.late if each.kind != MISSED)
    open_ones = [
        (action, people) for action, _ in view.state.open_actions(view.now) if (people := may_act(view, action))
    ]
    people = sorted({name for _, names in open_ones for name in names})
    since = format_timestamp(event.at)
    how_many = "1 action waits" if len(open_ones) == 1 else f"{len(open_ones)} actions wait"
    return {
        **_frame(view, event, people, home),
        "commands": {"inbox": f"keyturn --home {shlex.quote(home)} inbox"},
        "title": f"{_TITLES[MISSED]}: what happened since {since}; {how_many} for somebody",
        "text": "\n".join(_waits(action, view.now, names) for action, names in open_ones[:MOST])
        or "Nothing of it waits for anybody now.",
        "counts": dict(counted),
        "waiting": [
            {"action_id": action.id, "status": status(action, view.now), "tool": action.tool, "target": action.target}
            for action, _ in open_ones[:MOST]
        ],
    }


def _waits(action: Action, now: datetime, people: Iterable[str]) -> str:
    names = ", ".join(plain(name) for name in people)
    return f"{action.id} {status(action, now)}: {plain(action.tool)} on {plain(action.target)}; may act: {names}"


def _quote(words: str) -> str:
    """Quote somebody's words on one line; a quotation mark of theirs cannot end the quotation."""
    return f"“{_line(words).translate({ord('“'): chr(34), ord('”'): chr(34)})}”"


def _line(words: str) -> str:
    return clean(" ".join(words.split()), _QUOTED)
