"""Between the event loop and the ledger: all who come while a crossing is under way cross together next.

A thread for each call that waits costs more than what most calls do there. So jobs that come in during one commit
share the next, and looks that come in during one look share the next; each kind has one thread at work at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import RunVar

from keyturn.gateway.desk import Job, Look
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.writer import Ended, Ledger

R = TypeVar("R")

_Jobs = Sequence[Callable[[Any], Any]]


class Ferry:
    """Asks the ledger of one process from an event loop. Raises what a job raised, or `LedgerError`."""

    def __init__(self, ledger: Ledger[Any]) -> None:
        self._looks = _Landing(ledger.look_all)
        self._transactions = _Landing(ledger.transact_all)

    async def look(self, job: Callable[[Look], R]) -> R:
        """Run `job` on a consistent, caught-up view; it must neither wait nor take long, for others wait with it."""
        result: R = await self._looks.queue().add(job)
        return result

    async def transact(self, job: Callable[[Job], R]) -> R:
        """Run `job` inside the one transaction and return its result once it is durable; as `Ledger.transact`."""
        result: R = await self._transactions.queue().add(job)
        return result


class _Landing:
    """Where jobs of one kind wait: each event loop has a queue of its own."""

    def __init__(self, run: Callable[[_Jobs], list[Ended]]) -> None:
        self._run = run
        self._here: RunVar[_Queue] = RunVar("keyturn_ferry")

    def queue(self) -> _Queue:
        try:
            return self._here.get()
        except LookupError:
            queue = _Queue(self._run)
            self._here.set(queue)
            return queue


class _Queue:
    """Jobs of one kind: those that have come, and the task that takes them across."""

    def __init__(self, run: Callable[[_Jobs], list[Ended]]) -> None:
        self._run = run
        self._come: list[tuple[Callable[[Any], Any], asyncio.Future[Any]]] = []
        self._crossing: asyncio.Task[None] | None = None

    async def add(self, job: Callable[[Any], Any]) -> Any:
        """Return what became of a job. Whoever is cancelled meanwhile leaves once that is known."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._come.append((job, future))
        if self._crossing is None or self._crossing.done():
            self._crossing = loop.create_task(self._carry())
        with anyio.CancelScope(shield=True):
            return await future

    async def _carry(self) -> None:
        """Take across all that have come, again and again until nobody comes."""
        while self._come:
            taken, self._come = self._come, []
            try:
                ended = await on_ledger(self._run, [job for job, _ in taken])
            except BaseException as error:
                for _, future in taken:
                    _settle(future, Ended(error=error))
                raise
            for (_, future), end in zip(taken, ended, strict=True):
                _settle(future, end)


def _settle(future: asyncio.Future[Any], end: Ended) -> None:
    if future.done():
        return
    if end.error is None:
        future.set_result(end.result)
    elif isinstance(end.error, Exception):
        future.set_exception(end.error)
    else:
        future.cancel()
