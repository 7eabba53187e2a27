"""Turns to ask other systems: so many at once per principal, per owner and in all, and the principals by turns.

How many are under way holds over all processes of a home (`slots`). Whose turn it is next is kept in each process:
the principals that wait come one after the other, each with its oldest call, so that whoever sends a thousand calls
keeps nobody else waiting for more than one of them. A process that gives back what another one may be waiting for
stays out for a moment, so that none keeps the others out by being quicker.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio

from keyturn.gateway.slots import Slots, give_back
from keyturn.policy import Queue

_LOOK = 0.05  # seconds between two looks whether another process has let go of a slot
_STAY_OUT = 1.5 * _LOOK  # seconds: each process that waits has looked in that time

_log = logging.getLogger(__name__)


class Crowded(Exception):
    """There is no turn to be had in time; the message says for whom, and why."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """One call that waits: the slots it needs, which of them nobody but its principal wants, and those it got."""

    wanted: Mapping[str, int]
    own: str
    ready: anyio.Event = field(default_factory=anyio.Event)
    taken: list[int] | None = None


class Turns:
    """The calls of one process that wait for their turn."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._lines: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        self._sign: int | None = None  # tells other processes that calls wait here
        self._out_until = 0.0  # by the event loop's clock

    @asynccontextmanager
    async def turn(self, queue: Queue | None, principal: str, owner: str | None) -> AsyncIterator[None]:
        """Wait for a turn and keep it for the block. Raises `Crowded` when there is none in time."""
        if queue is None:
            yield
            return
        mine = _Waiting(_wanted(queue, principal, owner), _own(principal))
        line = self._lines.setdefault(principal, deque())
        line.append(mine)
        try:
            self._let_in_for(mine)
            if mine.taken is None and len(line) > queue.waiting:
                raise Crowded(f"{queue.waiting} calls of {principal} wait for their turn already")
            await self._wait(mine, queue.patience.total_seconds(), principal)
            yield
        finally:
            self._leave(principal, mine)

    async def _wait(self, mine: _Waiting, seconds: float, principal: str) -> None:
        with anyio.move_on_after(seconds):
            while mine.taken is None:
                self._show()
                with anyio.move_on_after(_LOOK):
                    await mine.ready.wait()
                if self._foremost() is mine:
                    self._let_in_for(mine)  # another process tells nobody that it has let go
        if mine.taken is None:
            raise Crowded(f"as many calls of {principal}, of its owner or of all as may be are under way")

    def _foremost(self) -> _Waiting | None:
        return next((line[0] for line in self._lines.values()), None)

    def _let_in_for(self, mine: _Waiting) -> None:
        """Do what `_let_in` does. Where slots cannot be had at all, no call goes on without: raises `Crowded`."""
        try:
            self._let_in()
        except OSError as error:
            _log.warning("no turn can be had: %s", error)
            if mine.taken is None:
                raise Crowded(
                    f"no turn can be counted in {self._slots.place} of the home ({error.strerror}): it has to be a "
                    "folder that Keyturn can write, with room on the disk"
                ) from error

    def _let_in(self) -> None:
        """Give slots to those who wait, the principals one after the other, as long as there are any."""
        if anyio.current_time() < self._out_until:
            return
        busy: dict[str, int] = {}
        progress = True
        while progress:
            progress = False
            for principal in list(self._lines):
                line = self._lines[principal]
                line[0].taken = self._slots.take(line[0].wanted, busy)
                if line[0].taken is not None:
                    line.popleft().ready.set()
                    self._lines.move_to_end(principal)
                    if not line:
                        del self._lines[principal]
                    progress = True

    def _leave(self, principal: str, mine: _Waiting) -> None:
        """Let go of what one had, and let the next one in, here or in another process."""
        if (line := self._lines.get(principal)) is not None and mine in line:
            line.remove(mine)
            if not line:
                del self._lines[principal]
        try:
            if mine.taken is not None and self._wanted_elsewhere(mine):
                self._out_until = anyio.current_time() + _STAY_OUT
        except OSError as error:
            _log.warning("it is not known whether calls wait in another process: %s", error)
        give_back(mine.taken or ())
        self._show()
        try:
            self._let_in()
        except OSError as error:  # what was done is done; those who wait look for themselves
            _log.warning("no turn can be had: %s", error)

    def _wanted_elsewhere(self, mine: _Waiting) -> bool:
        """Say whether calls wait in another process and all is taken of something that they may want too."""
        self._hide()
        if not self._slots.others_wait():
            return False
        return any(self._slots.full(name, most) for name, most in mine.wanted.items() if name != mine.own)

    def _show(self) -> None:
        """Let other processes know whether calls wait here. Where that cannot be told, they are not considerate."""
        if not self._lines:
            self._hide()
        elif self._sign is None:
            with suppress(OSError):
                self._sign = self._slots.waiting()

    def _hide(self) -> None:
        if self._sign is not None:
            give_back((self._sign,))
            self._sign = None


def _wanted(queue: Queue, principal: str, owner: str | None) -> dict[str, int]:
    caps = {_own(principal): queue.per_principal, "all": queue.total}
    if owner is not None:
        caps[f"owner {owner}"] = queue.per_owner
    return {name: most for name, most in caps.items() if most is not None}


def _own(principal: str) -> str:
    return f"principal {principal}"
