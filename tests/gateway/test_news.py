"""News: whoever waits is woken by what concerns it, at once, and by nothing else."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import keyturn.gateway.news
from keyturn.gateway.desk import Look
from keyturn.gateway.news import News, grown_beyond, moved_from
from keyturn.gateway.sweep import sweep
from keyturn.ledger.bell import Listener
from keyturn.model.errors import LedgerError
from tests.gateway import processes
from tests.gateway.world import World
from tests.ledger.processes import running, told


@pytest.fixture(autouse=True)
def _only_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by itself in time: what is heard was rung."""
    monkeypatch.setattr(keyturn.gateway.news, "LOOK_ANYWAY", 30.0)


def within(seconds: float, job: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        with anyio.fail_after(seconds):
            return await job()

    return anyio.run(bounded)


def size(view: Look) -> int:
    return view.head.size


def test_an_entry_of_another_process_is_heard_at_once(world: World) -> None:
    world.executing = False
    action = str(world.comment("Hello.").envelope["action_id"])

    async def wait(said: Any) -> bool:
        news = world.gate.news
        mark, seen = news.mark(), world.gate.ledger.look(lambda view: view.state.actions[action])
        assert await anyio.to_thread.run_sync(told, said) == action
        return await news.wait(mark, moved_from(action, seen), 25)

    with running(processes.hold_on, world.home) as (_, said):
        assert within(60, lambda: wait(said)) is True
        said.send("go on")
        assert told(said) == "done"


def test_a_hundred_that_wait_share_one_look_and_only_whom_it_concerns_is_woken(world: World) -> None:
    world.executing = False
    actions = [world.held(), world.held("codex")]
    woken: list[str] = []
    looks: list[int] = []

    async def wait(action: str) -> None:
        seen = world.gate.ledger.look(lambda view: view.state.actions[action])
        if await world.gate.news.wait(world.gate.news.mark(), moved_from(action, seen), 20):
            woken.append(action)

    async def all_wait() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(wait, actions[number % 2])
            while len(world.gate.news._waiters) < 100:  # noqa: ASYNC110 - those who wait tell nobody
                await anyio.sleep(0.01)
            await anyio.sleep(0.2)
            before = world.gate.news._looks
            await anyio.to_thread.run_sync(world.approve, actions[0])
            while len(woken) < 50:  # noqa: ASYNC110 - those who are woken tell nobody
                await anyio.sleep(0.01)
            await anyio.sleep(0.1)
            looks.append(world.gate.news._looks - before)
            tasks.cancel_scope.cancel()

    within(60, all_wait)
    assert woken == [actions[0]] * 50
    assert looks == [1]


def test_what_happened_between_the_look_and_the_wait_is_not_missed(world: World) -> None:
    """Also when another one that waited has heard the ring."""
    news = world.gate.news

    async def wait() -> list[bool]:
        heard: list[bool] = []

        async def another(of: int) -> None:
            heard.append(await news.wait(news.mark(), grown_beyond(of), 20))

        async with anyio.create_task_group() as tasks:
            mark, before = news.mark(), world.gate.ledger.look(size)
            tasks.start_soon(another, before)
            await anyio.sleep(0.05)
            await anyio.to_thread.run_sync(world.held)
            while not heard:  # noqa: ASYNC110 - the other one tells nobody
                await anyio.sleep(0.01)
            heard.append(await news.wait(mark, grown_beyond(before), 20))
        return heard

    assert within(20, wait) == [True, True]


def test_one_that_leaves_hands_the_listening_on(world: World) -> None:
    news, heard = world.gate.news, []

    async def wait(seconds: float, before: int) -> None:
        heard.append(await news.wait(news.mark(), grown_beyond(before), seconds))

    async def both() -> None:
        before = world.gate.ledger.look(size)
        async with anyio.create_task_group() as tasks:
            for seconds in (0.1, 0.2, 20.0):
                tasks.start_soon(wait, seconds, before)
            while len(heard) < 2:  # noqa: ASYNC110 - those who leave tell nobody
                await anyio.sleep(0.02)
            assert heard == [False, False]
            await anyio.to_thread.run_sync(world.held)

    within(20, both)
    assert heard == [False, False, True]


def test_one_that_is_cancelled_hands_the_listening_on(world: World) -> None:
    news, heard = world.gate.news, []

    async def wait(before: int) -> None:
        heard.append(await news.wait(news.mark(), grown_beyond(before), 20))

    async def both() -> None:
        before = world.gate.ledger.look(size)
        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as client:
                client.start_soon(wait, before)
                await anyio.sleep(0.05)
                tasks.start_soon(wait, before)
                await anyio.sleep(0.05)
                client.cancel_scope.cancel()
            await anyio.to_thread.run_sync(world.held)

    within(20, both)
    assert heard == [True]


def test_where_nobody_can_ring_it_looks_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyturn.gateway.news, "LOOK_EVERY", 0.05)

    def deaf() -> Listener:
        raise OSError("no sockets here")

    news = News(world.gate.ledger, deaf)

    async def wait() -> bool:
        before = world.gate.ledger.look(size)
        mark = news.mark()
        await anyio.to_thread.run_sync(world.held)
        return await news.wait(mark, grown_beyond(before), 10)

    assert within(15, wait) is True
    news.close()


def test_a_commit_that_wrote_nothing_rings_nobody(world: World) -> None:
    async def wait() -> int:
        news = world.gate.news
        mark, before = news.mark(), world.gate.ledger.look(size)
        world.gate.ledger.transact(sweep)
        assert await news.wait(mark, grown_beyond(before), 0.2) is False
        return news.mark() - mark

    world.gate.ledger.transact(sweep)
    assert within(10, wait) <= 1  # the rings of the founding, if any


def test_a_ledger_that_cannot_be_read_is_told_to_who_listens(world: World) -> None:
    other = world.open("other")
    other.ledger.close()

    async def wait() -> None:
        mark = other.news.mark()
        await anyio.to_thread.run_sync(world.held)
        await other.news.wait(mark, grown_beyond(0), 10)

    with pytest.raises(LedgerError):
        within(15, wait)
    other.news.close()


def test_waiting_costs_next_to_nothing(world: World) -> None:
    """A second of waiting takes a few milliseconds of processor time; one that Python tidies up in does not count."""

    async def wait() -> float:
        news, before = world.gate.news, world.gate.ledger.look(size)
        spent = time.process_time()
        await news.wait(news.mark(), grown_beyond(before), 1.0)
        return time.process_time() - spent

    assert any(within(20, wait) < 0.1 for _ in range(3))
