"""What became of actions since somebody looked last: each change of state, in order, whatever made it.

Entries change states, and so does time: an action expires with nobody writing it down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from keyturn.approvals.action import Action, status
from keyturn.fold.story import next_action
from keyturn.gateway.desk import Look
from keyturn.gateway.finding import find_entries
from keyturn.log.entry import Entry

DENIED = "denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An action is in another state since `at`."""

    action: str
    status: str
    at: datetime


class Changes:
    """Follows a ledger from the first look on; one after another, from one thread."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._states: dict[str, str] = {}

    def since(self, view: Look) -> list[Change]:
        """Return what changed since the last look; the first time, the state of each action that is open."""
        if self._next is None:
            self._next = view.head.size
            self._states = {action.id: state for action, state in self._now(view)}
            return [
                Change(action=action.id, status=state, at=action.requested_at)
                for action, state in view.state.open_actions(view.now)
            ]
        found = [*self._by_entries(view, view.entries(self._next)), *self._by_time(view)]
        self._next = view.head.size
        self._states = {action: state for action, state in self._states.items() if action in view.state.actions}
        return found

    def _by_entries(self, view: Look, entries: list[Entry]) -> Iterator[Change]:
        stories: dict[str, Action] = {}
        for entry in entries:
            if entry.action is None:
                continue
            if entry.kind == "action.denied":
                yield Change(action=entry.action, status=DENIED, at=entry.at)
                continue
            before = stories.get(entry.action) or _before(view, entry)
            stories[entry.action] = after = next_action(before, entry)
            yield from self._changed(after, entry.at)

    def _by_time(self, view: Look) -> Iterator[Change]:
        for action, state in self._now(view):
            yield from self._changed(action, action.expires_at if state == "expired" else view.now, state)

    def _now(self, view: Look) -> list[tuple[Action, str]]:
        return [(action, status(action, view.now)) for action in view.state.actions.values()]

    def _changed(self, action: Action, at: datetime, state: str | None = None) -> Iterator[Change]:
        state = state or status(action, at)
        if self._states.get(action.id) != state:
            self._states[action.id] = state
            yield Change(action=action.id, status=state, at=at)


def _before(view: Look, entry: Entry) -> Action | None:
    """Return the action as it was before an entry, told from those that precede it."""
    action: Action | None = None
    for earlier in find_entries(view, entry.action or ""):
        if earlier.seq < entry.seq:
            action = next_action(action, earlier)
    return action
