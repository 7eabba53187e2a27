"""Shares what a server has between its callers: turns at working, open calls and the bytes they hold.

One principal's flood waits for its own turns. Whenever a turn is free it goes to the principal that has the fewest,
so that the first call of a quiet one waits for one call of the flood at most.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio


class TooMany(Exception):
    """A principal has as many calls open, or as many bytes in them, as one may have; `open_calls` are open."""

    def __init__(self, open_calls: int) -> None:
        super().__init__(f"{open_calls} calls are open")
        self.open_calls = open_calls


LATELY = 1.0  # seconds for which a principal counts as being there after its last call


class Turns:
    """At most `together` turns at a time, of which one principal has at most `each`.

    While another was there lately, a principal has at most `crowded`: many calls on their way make each of them, and
    every other's, take long, for they share one processor. Alone it may have them all.
    """

    def __init__(self, together: int, each: int, crowded: int | None = None) -> None:
        self._free = together
        self._each = each
        self._crowded = each if crowded is None else min(each, crowded)
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[anyio.Event]] = {}
        self._there: dict[str, float] = {}

    @asynccontextmanager
    async def one(self, principal: str) -> AsyncIterator[None]:
        """Wait for a turn, and give it back in the end."""
        await self._take(principal)
        try:
            yield
        finally:
            self._give_back(principal)

    async def _take(self, principal: str) -> None:
        turn = anyio.Event()
        self._note(principal)
        self._waiting.setdefault(principal, deque()).append(turn)
        self._hand_out()
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # it was given the turn and cancelled in the same moment
                self._give_back(principal)
            else:
                self._leave_queue(principal, turn)
            raise

    def _give_back(self, principal: str) -> None:
        self._free += 1
        self._taken[principal] -= 1
        if not self._taken[principal]:
            del self._taken[principal]
        self._hand_out()

    def _note(self, principal: str) -> None:
        """Note who is there, in the order of their last calls, and forget who has gone."""
        now = anyio.current_time()
        self._there.pop(principal, None)
        self._there[principal] = now
        while now - self._there[first := next(iter(self._there))] > LATELY:
            del self._there[first]

    def _most(self) -> int:
        return self._each if len(self._there) == 1 else self._crowded

    def _hand_out(self) -> None:
        while self._free:
            may = [principal for principal in self._waiting if self._taken[principal] < self._most()]
            if not may:
                return
            # Of those who have equally few, who began to wait first: a dictionary keeps that order.
            principal = min(may, key=lambda name: self._taken[name])
            turn = self._waiting[principal][0]
            self._leave_queue(principal, turn)
            self._free -= 1
            self._taken[principal] += 1
            turn.set()

    def _leave_queue(self, principal: str, turn: anyio.Event) -> None:
        queue = self._waiting.pop(principal)
        queue.remove(turn)
        if queue:
            self._waiting[principal] = queue  # at the end: the others come first now


class Share:
    """What one open call holds; `hold` takes more bytes for it."""

    def __init__(self, shares: Shares, principal: str) -> None:
        self._shares = shares
        self._principal = principal
        self.held = 0

    def hold(self, size: int) -> None:
        """Take `size` more bytes. Raises `TooMany` when the principal's calls would hold too many together."""
        self._shares.take_bytes(self._principal, size)
        self.held += size


class Shares:
    """Open calls of each principal: at most `calls`, with at most `size` bytes in all of them together."""

    def __init__(self, calls: int, size: int) -> None:
        self._most_calls = calls
        self._most_bytes = size
        self._calls: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @contextmanager
    def one(self, principal: str) -> Iterator[Share]:
        """Count a call as open for the time of the block. Raises `TooMany`."""
        if self._calls[principal] >= self._most_calls:
            raise TooMany(self._calls[principal])
        self._calls[principal] += 1
        share = Share(self, principal)
        try:
            yield share
        finally:
            self._drop(self._calls, principal, 1)
            self._drop(self._bytes, principal, share.held)

    def take_bytes(self, principal: str, size: int) -> None:
        """Count bytes for a principal. Raises `TooMany`."""
        if self._bytes[principal] + size > self._most_bytes:
            raise TooMany(self._calls[principal])
        self._bytes[principal] += size

    def open_calls(self) -> int:
        """Return how many calls of all principals are open."""
        return self._calls.total()

    @staticmethod
    def _drop(counts: Counter[str], principal: str, number: int) -> None:
        counts[principal] -= number
        if not counts[principal]:
            del counts[principal]
