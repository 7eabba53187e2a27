"""Turns and shares: a flood waits for itself, a quiet caller does not, and nothing is kept of who has gone."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.server.leaving import Leaving
from keyturn.server.turns import Shares, TooMany, Turns

pytestmark = pytest.mark.anyio


class Play:
    """Callers that take turns and hold them until they are told to go on; `order` is who got one when."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.order: list[str] = []
        self.holding: list[tuple[str, anyio.Event]] = []
        self.most = 0

    async def call(self, principal: str) -> None:
        async with self.turns.one(principal):
            self.order.append(principal)
            done = anyio.Event()
            self.holding.append((principal, done))
            self.most = max(self.most, len(self.holding))
            await done.wait()

    def finish_oldest(self) -> None:
        _, done = self.holding.pop(0)
        done.set()

    async def finish_all(self) -> None:
        while self.holding:
            self.finish_oldest()
            await anyio.wait_all_tasks_blocked()


async def test_the_first_call_of_a_quiet_principal_gets_the_next_free_turn() -> None:
    play = Play(Turns(together=4, each=4))
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(play.call, "flood")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(play.call, "quiet")
        await anyio.wait_all_tasks_blocked()
        assert play.order == ["flood"] * 4
        play.finish_oldest()
        await anyio.wait_all_tasks_blocked()
        assert play.order == ["flood"] * 4 + ["quiet"]
        await play.finish_all()
    assert play.order.count("flood") == 20
    assert play.most == 4


async def test_who_is_alone_has_all_its_turns_and_few_while_another_calls_too() -> None:
    play = Play(Turns(together=16, each=8, crowded=2))
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(play.call, "flood")
        await anyio.wait_all_tasks_blocked()
        assert len(play.holding) == 8
        tasks.start_soon(play.call, "quiet")
        await anyio.wait_all_tasks_blocked()
        assert play.order[-1] == "quiet"  # at once
        for _ in range(8):
            play.finish_oldest()
        await anyio.wait_all_tasks_blocked()
        assert [principal for principal, _ in play.holding] == ["quiet", "flood", "flood"]
        await play.finish_all()
    assert play.order.count("flood") == 20


async def test_one_principal_never_has_all_turns_where_there_are_more_than_its_own() -> None:
    play = Play(Turns(together=8, each=2))
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(play.call, "flood")
        await anyio.wait_all_tasks_blocked()
        assert len(play.holding) == 2
        tasks.start_soon(play.call, "quiet")
        await anyio.wait_all_tasks_blocked()
        assert play.order[-1] == "quiet"
        await play.finish_all()


async def test_whoever_is_cancelled_while_it_waits_leaves_the_queue_and_no_turn_is_lost() -> None:
    turns = Turns(together=1, each=1)
    play = Play(turns)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(play.call, "first")
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.01):
            await play.call("impatient")
        tasks.start_soon(play.call, "second")
        await play.finish_all()
        await anyio.wait_all_tasks_blocked()
        await play.finish_all()
    assert play.order == ["first", "second"]


async def test_a_turn_given_to_somebody_who_is_cancelled_in_that_moment_is_not_lost() -> None:
    turns = Turns(together=1, each=1)
    scope, first = anyio.CancelScope(), anyio.Event()

    async def holder() -> None:
        async with turns.one("first"):
            await first.wait()
        scope.cancel()  # the turn has just gone to the next in the queue, which has not run yet

    async def unlucky() -> None:
        with scope:
            async with turns.one("unlucky"):
                await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(holder)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(unlucky)
        await anyio.wait_all_tasks_blocked()
        first.set()
    with anyio.fail_after(20):
        async with turns.one("next"):
            pass
    assert not turns._taken


async def test_nothing_is_kept_of_principals_without_calls() -> None:
    turns, shares = Turns(2, 2), Shares(2, 10)
    for number in range(100):
        async with turns.one(f"p{number}"):
            with shares.one(f"p{number}") as share:
                share.hold(10)
    assert not turns._taken
    assert not turns._waiting
    assert not shares._calls
    assert not shares._bytes


def test_a_call_beyond_what_one_may_have_open_is_refused_and_others_are_not() -> None:
    shares = Shares(calls=2, size=100)
    with shares.one("a"), shares.one("a"):
        with pytest.raises(TooMany) as refused, shares.one("a"):
            raise AssertionError("it was let in")
        assert refused.value.open_calls == 2
        with shares.one("b") as share:
            share.hold(100)
            assert shares.open_calls() == 3


@given(st.lists(st.integers(0, 60), max_size=20))
def test_the_bytes_of_one_principal_are_bounded_together_and_given_back(sizes: list[int]) -> None:
    shares, held = Shares(calls=100, size=100), 0
    with shares.one("a") as share:
        for size in sizes:
            if held + size > 100:
                with pytest.raises(TooMany):
                    share.hold(size)
            else:
                share.hold(size)
                held += size
        assert share.held == held
    with shares.one("a") as share:
        share.hold(100)


async def test_waits_end_when_the_server_begins_to_leave_and_those_that_come_later_do_not_begin() -> None:
    leaving, ended = Leaving(), []

    async def wait(name: str) -> None:
        with leaving.waiting():
            await anyio.sleep_forever()
        ended.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "early")
        await anyio.wait_all_tasks_blocked()
        leaving.begin()
        tasks.start_soon(wait, "late")
    assert ended == ["early", "late"]
