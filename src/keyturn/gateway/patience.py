"""Bounded patience with the systems acted on: what takes too long is interrupted, and what cannot be is left alone.

Cancelling reaches what awaits; what runs in a thread goes on until the system answers. So such work is a task of its
own, which nobody has to wait for.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

R = TypeVar("R")

GRACE = 2.0  # seconds that interrupted work has to end: to kill a process, to close a connection

_alive: set[asyncio.Task[None]] = set()  # the event loop itself keeps no task alive


class TookTooLong(Exception):
    """Work did not end in its time; `seconds` is what it had."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it took longer than {seconds:g} s")
        self.seconds = seconds


class Work(Generic[R]):
    """Something under way that neither a cancelled caller nor its own slowness keeps anybody waiting for."""

    def __init__(self, job: Callable[[], Awaitable[R]]) -> None:
        self._job = job
        self._scope = anyio.CancelScope()
        self._result: R | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._task = asyncio.get_running_loop().create_task(self._run())
        _alive.add(self._task)
        self._task.add_done_callback(_alive.discard)

    async def within(self, seconds: float) -> bool:
        """Wait at most `seconds`; say whether it is over."""
        if seconds > 0:
            await asyncio.wait({self._task}, timeout=None if seconds == math.inf else seconds)
        return self._task.done()

    async def ended(self) -> None:
        """Wait for its end, however long that takes."""
        await asyncio.wait({self._task})

    async def interrupt(self) -> bool:
        """Cancel it and wait a moment; say whether it is over. If not, it goes on in a thread."""
        self._scope.cancel()
        return await self.within(GRACE)

    def abandon(self) -> None:
        """Cancel it and think no more of it."""
        self._scope.cancel()

    @property
    def interrupted(self) -> bool:
        """Whether it is over without an end of its own."""
        return self._task.done() and not self._ended

    def result(self) -> R:
        """Return or raise what it ended with; only once it is over and was not interrupted."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # set by `_run` where there was no error

    async def _run(self) -> None:
        try:
            with self._scope:
                self._result = await self._job()
                self._ended = True
        except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
            self._error, self._ended = error, True


async def bounded(job: Callable[[], Awaitable[R]], seconds: float) -> R:
    """Return what `job` returns. Raises `TookTooLong` after `seconds`, whether or not it could be interrupted."""
    work = Work(job)
    try:
        in_time = await work.within(seconds)
    except BaseException:
        work.abandon()
        raise
    if not in_time:
        await work.interrupt()
    if work.interrupted or not await work.within(0):
        raise TookTooLong(seconds)
    return work.result()
