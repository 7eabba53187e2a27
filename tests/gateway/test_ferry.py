"""The ferry to the ledger: what comes together is done together, and each answer finds its asker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest

from keyturn.gateway.desk import Job, Look
from keyturn.gateway.ferry import Ferry
from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable
from keyturn.ledger.writer import Ended
from tests.gateway.world import World

TOGETHER = 40


def test_jobs_that_come_during_one_commit_share_the_next(world: World) -> None:
    threads: list[int] = []

    def job(tx: Job) -> int:
        threads.append(threading.get_ident())
        return tx.head.size

    batches: list[int] = []
    ledger = world.gate.ledger
    ferry = Ferry(ledger)

    def counted(jobs: Sequence[Callable[[Any], Any]]) -> list[Ended]:
        batches.append(len(jobs))
        return ledger.transact_all(jobs)

    ferry._transactions._run = counted

    async def ask() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(TOGETHER):
                tasks.start_soon(ferry.transact, job)

    anyio.run(ask)
    assert len(threads) == TOGETHER
    assert batches == [TOGETHER]


def test_everybody_gets_the_result_of_his_own_job_and_a_failure_is_nobody_elses(world: World) -> None:
    told: dict[int, object] = {}
    ferry = world.gate.ferry

    async def one(number: int) -> None:
        def look(view: Look) -> int:
            if number % 5 == 0:
                raise LookupError(f"number {number}")
            return number * 10 + view.head.size

        try:
            told[number] = await (ferry.look(look) if number % 2 else ferry.transact(look))
        except LookupError as error:
            told[number] = str(error)

    async def all_at_once() -> int:
        async with anyio.create_task_group() as tasks:
            for number in range(TOGETHER):
                tasks.start_soon(one, number)
        return await ferry.look(lambda view: view.head.size)

    size = anyio.run(all_at_once)
    expected = {n: f"number {n}" if n % 5 == 0 else n * 10 + size for n in range(TOGETHER)}
    assert told == expected


def test_who_is_cancelled_leaves_once_his_job_is_done_and_the_others_are_answered(world: World) -> None:
    done: list[str] = []
    ferry = world.gate.ferry

    async def leaver(scope: anyio.CancelScope) -> None:
        with scope:
            await ferry.transact(lambda _: done.append("left"))
            await anyio.sleep_forever()

    async def ask() -> None:
        scope = anyio.CancelScope()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leaver, scope)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await ferry.transact(lambda _: done.append("stayed"))

    anyio.run(ask)
    assert done == ["left", "stayed"]


def test_two_event_loops_of_one_process_use_the_same_ferry(world: World) -> None:
    """A worker of the same process may have a loop of its own."""

    async def ask() -> None:
        for _ in range(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(world.gate.ferry.transact, lambda tx: tx.head.size)

    loops = [threading.Thread(target=anyio.run, args=(ask,)) for _ in range(2)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join(30)
    assert not any(loop.is_alive() for loop in loops)


def test_a_ledger_that_is_broken_fails_everybody_and_stays_broken(world: World) -> None:
    def broken(view: Look) -> None:
        raise LedgerBroken("entry 3 was changed")

    async def ask() -> list[str]:
        said: list[str] = []

        async def one(job: int) -> None:
            try:
                await world.gate.ferry.look(broken if job == 0 else lambda view: view.head.size)
            except LedgerBroken as error:
                said.append(str(error))

        async with anyio.create_task_group() as tasks:
            for job in range(3):
                tasks.start_soon(one, job)
        with pytest.raises(LedgerBroken, match="entry 3"):
            await world.gate.ferry.transact(lambda tx: tx.head.size)
        return said

    assert anyio.run(ask) == ["entry 3 was changed"]


def test_a_ledger_that_cannot_be_locked_fails_those_who_came_and_serves_those_who_come_later(world: World) -> None:
    async def ask() -> int:
        lock = world.home.place.lock
        lock.rename(lock.with_name("away"))
        lock.mkdir()
        with pytest.raises(LedgerUnavailable):
            await world.gate.ferry.transact(lambda tx: tx.head.size)
        lock.rmdir()
        lock.with_name("away").rename(lock)
        return await world.gate.ferry.transact(lambda tx: tx.head.size)

    assert anyio.run(ask) > 0


def test_who_interrupts_a_crossing_is_not_held_up_and_the_next_crossing_goes(world: World) -> None:
    class Stop(BaseException):
        """As a signal's."""

    calls = 0
    ledger = world.gate.ledger

    def interrupted(jobs: Sequence[Callable[[Any], Any]]) -> list[Ended]:
        nonlocal calls
        calls += 1
        return [Ended(error=Stop()) for _ in jobs] if calls == 1 else ledger.look_all(jobs)

    ferry = Ferry(ledger)
    ferry._looks._run = interrupted

    async def ask() -> int:
        with pytest.raises(asyncio.CancelledError):
            await ferry.look(lambda view: view.head.size)
        return await ferry.look(lambda view: view.head.size)

    assert anyio.run(ask) > 0
