"""Counts what the entries of a ledger tell, from the moment counting began; pure, and asked by no decision.

Nothing is instrumented: whoever writes an entry, in whichever process, it is counted by everybody who follows.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from keyturn.approvals.action import OPEN, Action, ended_at, status
from keyturn.canon import Json
from keyturn.fold.story import StoryError, next_action
from keyturn.fold.suspensions import Scope, read_scope
from keyturn.log.entry import Entry
from keyturn.log.kinds import OF_AN_ACTION
from keyturn.telemetry.tallies import Counter, Histogram

NONE: Final = "none"
"""The label of what has no tool or no rule."""

PEOPLE: Final = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400)
"""Seconds people take: from a glance to a day."""

EFFECTS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
"""Seconds effects take: from a file to a roll-out."""

_DECIDED: Final = frozenset({"approved", "rejected", "expired"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """What is open at a time.

    states   how many actions are pending, approved, running, unknown
    oldest   seconds that the oldest pending action has waited, 0 when none is pending
    """

    states: Mapping[str, int]
    oldest: float


class Counts:
    """Everything counted since it was made: over the `actions` and suspended `scopes` of then. Not thread-safe."""

    def __init__(self, now: datetime, actions: Iterable[Action] = (), scopes: Iterable[Scope] = ()) -> None:
        self.decisions = Counter("tool", "decision", "rule", free=("tool", "rule"))
        self.refusals = Counter("code", free=("code",))
        self.reviews = Counter("verdict")
        self.outcomes = Counter("tool", "outcome", free=("tool",))
        self.resolutions = Counter("method", "outcome")
        self.deciding = Histogram("decision", bounds=PEOPLE)
        self.executing = Histogram("tool", bounds=EFFECTS, free=("tool",))
        self.taken = 0
        self._actions = {action.id: action for action in actions if action.ended in {None, "unknown"}}
        self._decided = {name for name, action in self._actions.items() if status(action, now) in _DECIDED}
        self._scopes = set(scopes)

    @property
    def suspended(self) -> int:
        """How many scopes are suspended, or read-only."""
        return len(self._scopes)

    def take(self, entry: Entry) -> None:
        """Count the next entry; kinds that are not counted change nothing."""
        self.taken += 1
        facts: dict[str, Any] = dict(entry.facts)
        match entry.kind:
            case "read.served":
                self.decisions.add(facts["tool"], "permit", _first(facts["rules"]))
            case "action.denied":
                self._refused(facts)
            case "requests.throttled":
                self.refusals.add(facts["code"], by=facts["count"])
            case "suspension.set":
                self._scopes.add(read_scope(facts["scope"]))
            case "suspension.lifted":
                self._scopes.discard(read_scope(facts["scope"]))
            case kind if kind in OF_AN_ACTION:
                self._follow(entry, facts)

    def settle(self, now: datetime) -> None:
        """Let go of what time alone ended: an escalation may let an earlier rejection count."""
        for action in list(self._actions.values()):
            state = status(action, now)
            if state == "rejected":
                self._note_decision(action, state, ended_at(action, now) or now)
            if state not in OPEN and state != "expired":  # an expiry is counted at its entry
                self._forget(action.id)

    def open(self, now: datetime) -> Open:
        """Return what is open at `now`."""
        found = [(action, status(action, now)) for action in self._actions.values()]
        states = Tally(state for _, state in found)
        waiting = [action.requested_at for action, state in found if state == "pending"]
        oldest = (now - min(waiting)).total_seconds() if waiting else 0.0
        return Open(states={state: states[state] for state in sorted(OPEN)}, oldest=max(0.0, oldest))

    def _refused(self, facts: Mapping[str, Any]) -> None:
        codes = facts["codes"]
        self.refusals.add(codes[0]["code"] if codes else NONE)
        if facts["stage"] in {"screen", "policy"}:  # the rest never came before the policy
            rules = [code["rule"] for code in codes if code["rule"]]
            self.decisions.add(facts["tool"] or NONE, "deny", _first(rules))

    def _follow(self, entry: Entry, facts: Mapping[str, Any]) -> None:
        before = self._actions.get(entry.action or "")
        try:
            after = next_action(before, entry)
        except StoryError:  # of an action that was over, or not known, when counting began
            self._forget(entry.action or "")
            return
        self._actions[after.id] = after
        self._count(entry, facts, after)
        state = status(after, entry.at)
        if before is not None and state in _DECIDED:
            self._note_decision(after, state, after.expires_at if state == "expired" else entry.at)
        if after.ended not in {None, "unknown"} or state == "rejected":
            self._forget(after.id)

    def _count(self, entry: Entry, facts: Mapping[str, Any], action: Action) -> None:
        match entry.kind:
            case "action.requested" | "action.undoing":
                self.decisions.add(action.tool, action.decision, _first(facts["rules"]))
            case "action.reviewed":
                self.reviews.add(facts["verdict"])
            case "execution.finished":
                self.outcomes.add(action.tool, facts["outcome"])
                if action.started is not None:
                    self.executing.observe((entry.at - action.started.at).total_seconds(), action.tool)
            case "execution.resolved":
                self.resolutions.add(facts["method"], facts["outcome"])

    def _note_decision(self, action: Action, state: str, at: datetime) -> None:
        """Take note of how long people took, once per action, and only where people were asked."""
        if action.decision == "hold" and action.id not in self._decided:
            self._decided.add(action.id)
            self.deciding.observe((at - action.requested_at).total_seconds(), state)

    def _forget(self, action: str) -> None:
        self._actions.pop(action, None)
        self._decided.discard(action)


def _first(rules: Json) -> str:
    return str(rules[0]) if isinstance(rules, list) and rules else NONE
