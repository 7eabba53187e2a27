"""A process that executes itself: a permitted call begins in the commit that permits it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

import keyturn.gateway.call
from keyturn.gateway.call import call
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.work import work
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.log.entry import Entry
from keyturn.model.outcome import Outcome, Succeeded
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef
from tests.gateway.test_work import until
from tests.gateway.world import STAGING, Simulator, World, result

COMMENT = {"ticket": "OPS-1", "comment": "Hello."}


def serving(world: World, calls: Callable[[anyio.Event], Awaitable[None]]) -> None:
    """Run the work loop of a process that has an executor, and calls beside it."""
    world.gate = replace(world.gate, executor=world.executor)

    async def both() -> None:
        stop = anyio.Event()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: work(world.gate, world.executor, world.home.place.run, idle=None, stop=stop))
                with anyio.fail_after(30):
                    while not world.executor.accepting:  # noqa: ASYNC110 - the loop opens its doors without a word
                        await anyio.sleep(0.001)
                await calls(stop)
                stop.set()

    anyio.run(both)


@contextmanager
def commits(world: World) -> Iterator[list[int]]:
    """Count the entries of each batch that a ledger commits, where it has any."""
    counted: list[int] = []
    ledger: Any = world.gate.ledger
    commit = ledger._commit

    def counting(batch: list[Any]) -> None:
        before = ledger._follower.head.size
        commit(batch)
        if ledger._follower.head.size > before:
            counted.append(ledger._follower.head.size - before)

    ledger._commit = counting
    try:
        yield counted
    finally:
        ledger._commit = commit


def of(entries: list[Entry], action: str) -> list[str]:
    return [entry.kind for entry in entries if entry.action == action]


def test_a_permitted_call_takes_three_entries_in_two_commits_and_answers_with_its_result(world: World) -> None:
    async def calls(_: anyio.Event) -> None:
        with commits(world) as counted:
            answer = await world.calling("update_ticket", COMMENT)
        assert (answer.envelope["status"], answer.is_error, counted) == ("succeeded", False, [2, 1])
        assert answer.receipt == world.entries()[-1]

    serving(world, calls)
    assert world.kinds()[-3:] == ["action.requested", "execution.started", "execution.finished"]
    started = world.entries("execution.started")[0]
    assert (started.facts["instance"], started.facts["reviews"]) == (world.executor.instance, [])
    assert world.ticket.count("Hello.") == 1
    assert world.executor.running == set()


def test_what_is_answered_here_is_what_get_action_answers_later(world: World) -> None:
    async def calls(_: anyio.Event) -> None:
        answer = await world.calling("rollback_deployment", STAGING)
        later = await world.calling("get_action", {"action_id": answer.envelope["action_id"]})
        assert later == answer

    serving(world, calls)


def test_a_second_call_on_a_busy_target_stays_approved_and_follows(world: World) -> None:
    """In order, one at a time; another target is not held up."""
    hold = anyio.Event()

    async def effect(_plan: Plan, _action: ActionRef) -> Outcome:
        await hold.wait()
        return Succeeded({})

    rollbacks = Simulator(world.gate.governed["rollback_deployment"], executes=effect)
    world.with_tool(rollbacks)
    answers: dict[str, Any] = {}
    asked: list[str] = []

    async def ask(to: str) -> None:
        answers[to] = await world.calling("rollback_deployment", {**STAGING, "to": to})

    async def calls(_: anyio.Event) -> None:
        async with anyio.create_task_group() as tasks:
            for to in ("2.3.1", "2.2.0"):
                asked.append(to)
                tasks.start_soon(ask, to)
                await until(lambda: len(world.entries("action.requested")) == len(answers) + len(asked))
            states = result(await world.calling("list_actions", {}))["actions"]
            assert sorted(str(action["status"]) for action in states) == ["approved", "running"]
            assert (await world.calling("update_ticket", COMMENT)).envelope["status"] == "succeeded"
            hold.set()

    serving(world, calls)
    assert {to: answer.envelope["status"] for to, answer in answers.items()} == {
        "2.3.1": "succeeded",
        "2.2.0": "succeeded",
    }
    assert len(rollbacks.effects) == len(set(rollbacks.effects)) == 2


def test_an_effect_goes_on_when_the_call_that_asked_for_it_is_cancelled(world: World) -> None:
    hold, begun = anyio.Event(), anyio.Event()

    async def effect(plan: Plan, action: ActionRef) -> Outcome:
        begun.set()
        await hold.wait()
        return await real.execute(plan, action)

    real = world.gate.governed["update_ticket"]
    world.with_tool(Simulator(real, executes=effect))

    async def calls(_: anyio.Event) -> None:
        async with anyio.create_task_group() as client:
            client.start_soon(world.calling, "update_ticket", COMMENT)
            await begun.wait()
            client.cancel_scope.cancel()
        assert world.ticket.count("Hello.") == 0
        hold.set()
        await until(lambda: bool(world.entries("execution.finished")))

    serving(world, calls)
    assert world.entries("execution.finished")[0].facts["outcome"] == "succeeded"
    assert world.ticket.count("Hello.") == 1


def test_a_call_cancelled_while_it_is_decided_leaves_nothing_behind_that_nobody_runs(world: World) -> None:
    """Whatever the moment: what has an intent is executed, what has none is as if it had not been asked."""

    async def calls(_: anyio.Event) -> None:
        for number in range(20):
            with anyio.move_on_after(0.002 * number):
                await world.calling("update_ticket", {"ticket": "OPS-1", "comment": f"Number {number}."})

    serving(world, calls)
    begun, ended = world.entries("execution.started"), world.entries("execution.finished")
    assert {entry.action for entry in begun} == {entry.action for entry in ended}
    assert [entry.facts["recovered"] for entry in ended] == [False] * len(ended)
    assert world.ticket.count("Number") == len(ended)
    world.executor.stopping = False
    world.drain()  # what found its target busy when its client was gone
    assert world.ticket.count("Number") == len(world.entries("action.requested"))


def test_a_call_does_not_wait_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyturn.gateway.call, "PERMIT_WAIT", 0.05)
    hold = anyio.Event()

    async def effect(_plan: Plan, _action: ActionRef) -> Outcome:
        await hold.wait()
        return Succeeded({})

    world.with_tool(Simulator(world.gate.governed["update_ticket"], executes=effect))

    async def calls(_: anyio.Event) -> None:
        answer = await world.calling("update_ticket", COMMENT)
        assert (answer.envelope["status"], answer.is_error) == ("running", False)
        hold.set()
        later = await world.calling("get_action", {"action_id": answer.envelope["action_id"], "wait_seconds": 20})
        assert later.envelope["status"] == "succeeded"

    serving(world, calls)


def test_one_that_is_stopping_finishes_what_runs_and_leaves_the_rest_approved_for_others(world: World) -> None:
    hold, begun = anyio.Event(), anyio.Event()

    async def effect(_plan: Plan, _action: ActionRef) -> Outcome:
        begun.set()
        await hold.wait()
        return Succeeded({})

    world.with_tool(Simulator(world.gate.governed["update_ticket"], executes=effect))
    late: list[str] = []

    async def calls(stop: anyio.Event) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.calling, "update_ticket", COMMENT)
            await begun.wait()
            stop.set()
            await until(lambda: not world.executor.accepting)
            late.append(str((await world.calling("rollback_deployment", STAGING)).envelope["status"]))
            hold.set()

    serving(world, calls)
    assert late == ["approved"]
    assert [entry.facts["outcome"] for entry in world.entries("execution.finished")] == ["succeeded"]
    assert world.live("staging") == "2.4.0"


def test_with_enough_running_the_next_waits_for_room(world: World) -> None:
    world.executor.at_once = 1
    hold = anyio.Event()

    async def effect(_plan: Plan, _action: ActionRef) -> Outcome:
        await hold.wait()
        return Succeeded({})

    world.with_tool(Simulator(world.gate.governed["update_ticket"], executes=effect))
    answers: list[Any] = []

    async def ask(ticket: str) -> None:
        answers.append(await world.calling("update_ticket", {"ticket": ticket, "comment": "Hello."}))

    async def calls(_: anyio.Event) -> None:
        async with anyio.create_task_group() as tasks:
            for ticket in ("OPS-1", "OPS-2"):
                tasks.start_soon(ask, ticket)
            await until(lambda: len(world.entries("action.requested")) == 2)
            assert len(world.entries("execution.started")) == 1
            hold.set()

    serving(world, calls)
    assert [answer.envelope["status"] for answer in answers] == ["succeeded"] * 2


def test_an_intent_that_could_not_be_written_is_nobodys_and_its_room_is_free_again(world: World) -> None:
    world.executor.at_once = 1

    async def calls(_: anyio.Event) -> None:
        caller = world.caller()
        with world.ledger_away(), pytest.raises(LedgerUnavailable):
            await call(world.gate, caller, Incoming("update_ticket", COMMENT, 40))
        assert world.executor.running == set()
        assert (await world.calling("update_ticket", COMMENT)).envelope["status"] == "succeeded"

    serving(world, calls)
    assert world.ticket.count("Hello.") == 1


def test_a_request_that_says_something_else_than_its_plan_does_not_begin(world: World) -> None:
    """The policy judged one target and the plan would act on another: the claim voids it."""
    simulator = Simulator(
        world.gate.governed["update_ticket"], plans=lambda plan: replace(plan, tool="rollback_deployment")
    )
    world.with_tool(simulator)

    async def calls(_: anyio.Event) -> None:
        answer = await world.calling("update_ticket", COMMENT)
        assert (answer.envelope["status"], answer.is_error) == ("stale", True)

    serving(world, calls)
    assert simulator.effects == []
    assert world.entries("execution") == []


@pytest.mark.parametrize("asked", [False, True])
def test_a_call_whose_effect_takes_long_is_answered_that_it_runs_and_the_effect_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    monkeypatch.setattr(keyturn.gateway.call, "PERMIT_WAIT", 0.05)
    monkeypatch.setattr(keyturn.gateway.call, "HEAR_EVERY", 0.01)
    go = anyio.Event()
    heard: list[str] = []

    async def slow(_plan: Plan, _action: ActionRef) -> Outcome:
        await go.wait()
        return Succeeded({})

    async def report(_: object, state: str) -> None:
        heard.append(state)

    world.with_tool(Simulator(world.gate.governed["update_ticket"], executes=slow))

    async def calls(_: anyio.Event) -> None:
        answer = await world.calling("update_ticket", COMMENT, report=report if asked else None)
        assert (answer.envelope["status"], answer.is_error) == ("running", False)
        go.set()
        await until(lambda: len(world.entries("execution.finished")) == 1)

    serving(world, calls)
    assert heard == (["running"] if asked else [])
