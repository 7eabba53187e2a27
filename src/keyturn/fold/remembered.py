"""The actions that decisions still need: those that are not over, and for a while those that are."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from keyturn.approvals.action import OPEN, Action, ended_at, status

REMEMBER = timedelta(hours=1)  # how long an action that is over is kept for repeats and waiting clients
MOST = 1_000  # the newest of these that are kept of one principal: whoever asks without end forgets only its own


class Remembered:
    """Actions by id, in the order of their requests. Looks at what is open without passing over what is not.

    What is kept follows from the actions and the time alone, so a restored snapshot forgets what its maker does.
    """

    def __init__(self, actions: Iterable[Action] = ()) -> None:
        self.actions: dict[str, Action] = {}
        self._live: dict[str, Action] = {}
        self._on: dict[str, dict[str, Action]] = {}  # of these, by target
        self._over: list[tuple[datetime, str]] = []
        self._ended: dict[str, dict[str, datetime]] = {}  # what is over and since when, by principal
        for action in actions:
            self.keep(action)

    def keep(self, action: Action) -> None:
        """Take an action as its newest entry left it."""
        self.actions[action.id] = action
        since = _over_since(action)
        self._ended.get(action.principal, {}).pop(action.id, None)
        if since is None:
            self._live[action.id] = self._on.setdefault(action.target, {})[action.id] = action
            return
        self._leave(action)
        heapq.heappush(self._over, (since, action.id))
        self._ended.setdefault(action.principal, {})[action.id] = since

    def open(self, now: datetime) -> Iterator[tuple[Action, str]]:
        """Yield what is pending, approved, running or unknown at `now`, oldest first, with that state."""
        return _open(self._live.values(), now)

    def open_on(self, target: str, now: datetime) -> Iterator[tuple[Action, str]]:
        """Yield what `open` yields of one target."""
        return _open(self._on.get(target, {}).values(), now)

    def unknown(self) -> list[str]:
        """Return the ids of the actions whose outcome is unknown, oldest first: entries say so, not the time."""
        return [action.id for action in self._live.values() if action.ended == "unknown"]

    def overdue(self, now: datetime) -> list[Action]:
        """Return the actions that have expired by now and have no `action.expired` entry yet."""
        return [action for action in self._live.values() if status(action, now) == "expired"]

    def running_on(self, target: str, now: datetime, without: str) -> Action | None:
        """Return an action that is running on `target`, other than `without`."""
        there = (action for action, state in self.open_on(target, now) if state == "running")
        return next((action for action in there if action.id != without), None)

    def rejected_by_time(self, now: datetime) -> list[Action]:
        """Return the actions that no entry ended: an escalation let an earlier rejection count."""
        return [action for action in self._live.values() if status(action, now) == "rejected"]

    def forget(self, now: datetime) -> None:
        """Drop what has been over for long.

        What expired stays until that is written down: its entry could not follow an action nobody knows.
        """
        while self._over and now - self._over[0][0] > REMEMBER:
            since, action_id = heapq.heappop(self._over)
            if action_id in self.actions and _over_since(self.actions[action_id]) == since:
                self._drop(action_id)
        for ended in list(self._ended.values()):
            surplus = len(ended) - MOST
            for _, action_id in heapq.nsmallest(surplus, ((at, known) for known, at in ended.items())):
                self._drop(action_id)
        for action in self.rejected_by_time(now):
            if (end := ended_at(action, now)) and now - end > REMEMBER:
                del self.actions[action.id]
                self._leave(action)

    def _drop(self, action_id: str) -> None:
        principal = self.actions.pop(action_id).principal
        ended = self._ended[principal]
        del ended[action_id]
        if not ended:
            del self._ended[principal]

    def _leave(self, action: Action) -> None:
        self._live.pop(action.id, None)
        there = self._on.get(action.target)
        if there is not None and there.pop(action.id, None) is not None and not there:
            del self._on[action.target]


def _open(actions: Iterable[Action], now: datetime) -> Iterator[tuple[Action, str]]:
    for action in actions:
        if (state := status(action, now)) in OPEN:
            yield action, state


def _over_since(action: Action) -> datetime | None:
    """Return since when entries alone say that an action is over; None while it goes on or only time ended it."""
    last = action.reviews[-1].recorded_at if action.reviews else action.requested_at
    return None if action.ended is None and status(action, last) == "expired" else ended_at(action, last)
