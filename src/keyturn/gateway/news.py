"""News: one wait per process for what anybody commits, shared by all who wait for something in particular.

Of those who wait, one listens: to the bell that committing processes ring, and where that stays silent to the ledger
itself from time to time. When there is news it looks once, for everybody, and wakes only those it concerns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from keyturn.approvals.action import Action
from keyturn.fold.state import State
from keyturn.gateway.desk import Look
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.bell import Listener
from keyturn.ledger.writer import Ledger

LOOK_EVERY = 0.5  # seconds between looks where nobody can ring
LOOK_ANYWAY = 2.0  # seconds between looks with a bell: a ring may get lost
BREATH = 0.005  # seconds after a look in which more rings are gathered

Concerns = Callable[[Look], bool]
"""Says whether what stands in the ledger now is what somebody waits for."""


@dataclass(slots=True, eq=False)
class _Waiter:
    concerns: Concerns
    own: bool
    woken: anyio.Event = field(default_factory=anyio.Event)
    served: bool = False


class News:
    """The one watch of a process, for the tasks of its event loop."""

    def __init__(self, ledger: Ledger[State], listen: Callable[[], Listener]) -> None:
        """`listen` begins to listen, when somebody waits for the first time; it may raise `OSError`."""
        self._ledger = ledger
        self._listen = listen
        self._listener: Listener | None = None
        self._deaf = False
        self._waiters: list[_Waiter] = []
        self._leader: _Waiter | None = None
        self._looks = 0

    def mark(self) -> int:
        """Return what to give to `wait`; to be taken before looking at what one then waits to change."""
        self._ear()  # from here on rings are kept
        return self._looks

    async def wait(self, mark: int, concerns: Concerns, seconds: float, *, own: bool = True) -> bool:
        """Wait at most `seconds` until `concerns` holds of a ledger that has changed; say whether it does.

        Without `own` it need not be woken by what this process commits itself, which then rings nobody here.
        Raises `LedgerError` when the ledger cannot be read.
        """
        waiter = _Waiter(concerns, own)
        self._waiters.append(waiter)
        self._spare()
        try:
            with anyio.move_on_after(seconds):
                if own or mark != self._looks:
                    await self._look()  # what was committed here was not rung until now, or somebody else heard it
                while not waiter.served:
                    await self._lead_or_sleep(waiter)
        finally:
            self._waiters.remove(waiter)
            self._spare()
            self._pass_on()
        return waiter.served

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _lead_or_sleep(self, waiter: _Waiter) -> None:
        if self._leader is not None:
            await waiter.woken.wait()
            waiter.woken = anyio.Event()
            return
        self._leader = waiter
        try:
            while not waiter.served:
                await self._rung()
                await self._look()
        finally:
            self._leader = None

    def _spare(self) -> None:
        own = self._listener is None or any(waiter.own for waiter in self._waiters)
        self._ledger.bell.spared = None if own or self._listener is None else self._listener.name

    def _pass_on(self) -> None:
        if self._leader is None and self._waiters:
            self._waiters[0].woken.set()

    async def _rung(self) -> None:
        """Return when there may be news."""
        listener = self._ear()
        if listener is None:
            await anyio.sleep(LOOK_EVERY)
            return
        await anyio.sleep(BREATH)
        with anyio.move_on_after(LOOK_ANYWAY):
            await anyio.wait_readable(listener.socket)
        listener.clear()  # before the look: what is rung from here on is heard next time

    def _ear(self) -> Listener | None:
        if self._listener is None and not self._deaf:
            try:
                self._listener = self._listen()
            except OSError:
                self._deaf = True
        return self._listener

    async def _look(self) -> None:
        """Look once for all who wait."""
        self._looks += 1
        waiting = list(self._waiters)

        def look(view: Look) -> list[_Waiter]:
            return [waiter for waiter in waiting if waiter.concerns(view)]

        for waiter in await on_ledger(self._ledger.look, look):
            waiter.served = True
            waiter.woken.set()


def grown_beyond(size: int) -> Concerns:
    """Wait for any entry after the first `size`."""
    return lambda view: view.head.size != size


def moved_from(action_id: str, seen: Action | None) -> Concerns:
    """Wait for the action to be another one than `seen`."""
    return lambda view: (present := view.state.actions.get(action_id)) is not seen and present != seen
