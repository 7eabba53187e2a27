"""Systems that do not answer: a call is refused, an effect is interrupted or left, and nothing else is held up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread
import pytest

import keyturn.gateway.patience
from keyturn.gateway.patience import TookTooLong, Work, bounded
from keyturn.gateway.recover import reprobe
from keyturn.model.outcome import CannotTell, Outcome, Succeeded
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef
from tests.gateway.test_executing_here import COMMENT, serving
from tests.gateway.test_work import until, working
from tests.gateway.world import STAGING, Simulator, World, result


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What a thread hangs in until it is set."""
    monkeypatch.setattr(keyturn.gateway.patience, "GRACE", 0.05)
    event = threading.Event()
    yield event
    event.set()


def impatient(world: World, **seconds: float) -> None:
    world.gate = replace(
        world.gate,
        timeouts=lambda tool: seconds.get(tool, 30.0),
        plan_timeout=seconds.get("plan", 30.0),
    )


def in_thread(event: threading.Event) -> Any:
    async def hang(*_: object) -> Any:
        await anyio.to_thread.run_sync(event.wait)
        return Succeeded({"late": True})

    return hang


async def for_ever(*_: object) -> Any:
    await anyio.sleep_forever()


def test_an_effect_that_takes_too_long_is_interrupted_and_settled_by_a_probe(world: World) -> None:
    impatient(world, update_ticket=0.1)
    ended: list[str] = []

    async def slow(_plan: Plan, action: ActionRef) -> Outcome:
        try:
            return await for_ever()  # type: ignore[no-any-return]
        finally:
            ended.append(action.action)

    world.with_tool(Simulator(world.gate.governed["update_ticket"], executes=slow))
    answer = world.comment("Hello.")
    assert (answer.envelope["status"], ended) == ("failed", [answer.envelope["action_id"]])
    assert world.entries("execution.finished")[0].facts["effect"] is False


def test_where_the_probe_cannot_tell_either_the_outcome_is_unknown_and_says_why(world: World) -> None:
    impatient(world, update_ticket=0.1)
    simulator = Simulator(world.gate.governed["update_ticket"], executes=for_ever)
    simulator.probes = lambda *_: CannotTell("the tracker is silent")
    world.with_tool(simulator)
    answer = world.comment("Hello.")
    assert answer.envelope["status"] == "unknown"
    assert "it took longer than 0.1 s and was interrupted" in str(answer.envelope["message"])


def test_a_thread_that_goes_on_leaves_the_outcome_unknown_until_it_has_ended_and_a_probe_settles_it(
    world: World, hanging: threading.Event
) -> None:
    impatient(world, update_ticket=0.1)
    real = world.gate.governed["update_ticket"]

    outcomes: list[Outcome] = []

    async def late(plan: Plan, action: ActionRef) -> Outcome:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(hanging.wait)
            outcomes.append(await real.execute(plan, action))
        return outcomes[0]

    simulator = Simulator(real, executes=late)
    world.with_tool(simulator)

    async def calls(_: anyio.Event) -> None:
        answer = await world.calling("update_ticket", COMMENT)
        action = str(answer.envelope["action_id"])
        assert (answer.envelope["status"], world.executor.running) == ("unknown", {action})
        assert "still goes on" in str(answer.envelope["message"])
        # Asking again does nothing, housekeeping asks nothing, and other targets are free.
        assert (await world.calling("update_ticket", COMMENT)).envelope["action_id"] == action
        assert await reprobe(world.gate, world.executor.running) == 0
        assert (await world.calling("rollback_deployment", STAGING)).envelope["status"] == "succeeded"
        assert simulator.probed == []
        hanging.set()
        await until(lambda: not world.executor.running)
        assert (await world.calling("get_action", {"action_id": action})).envelope["status"] == "succeeded"

    serving(world, calls)
    assert (world.ticket.count("Hello."), len(simulator.probed)) == (1, 1)
    assert world.entries("execution.resolved")[0].facts["method"] == "probe"


def test_hung_effects_use_up_neither_the_threads_nor_the_turns_of_others(
    world: World, hanging: threading.Event
) -> None:
    """As many as may run side by side hang; reading and planning go on, and so does what is decided."""
    impatient(world, update_ticket=0.05)
    world.executor.at_once = 3
    world.activate(('limits = ["50 calls per hour"]', 'limits = ["500 calls per hour"]'))
    world.with_tool(Simulator(world.gate.governed["update_ticket"], executes=in_thread(hanging)))
    for number in range(3, 6):
        text = world.ticket.replace("OPS-1", f"OPS-{number}")
        (world.home.folder / f"samples/tickets/OPS-{number}.md").write_text(text)

    async def calls(_: anyio.Event) -> None:
        for number in range(3, 6):
            answer = await world.calling("update_ticket", {"ticket": f"OPS-{number}", "comment": "Hello."})
            assert answer.envelope["status"] == "unknown"
        assert len(world.executor.running) == 3
        assert (await world.calling("get_ticket", {"ticket": "OPS-1"})).envelope["status"] == "succeeded"
        held = await world.calling("rollback_deployment", {**STAGING, "environment": "production"})
        assert held.envelope["status"] == "pending"
        hanging.set()
        # Their room is free again: one that found none runs now.
        assert (await world.calling("rollback_deployment", STAGING)).envelope["status"] == "succeeded"

    serving(world, calls)


@pytest.mark.parametrize("threaded", [False, True])
def test_a_plan_that_takes_too_long_is_a_refusal_and_nothing_was_done(
    world: World, hanging: threading.Event, threaded: bool
) -> None:
    impatient(world, plan=0.1)
    simulator = Simulator(world.gate.governed["update_ticket"])
    vars(simulator)["plan"] = in_thread(hanging) if threaded else for_ever
    world.with_tool(simulator)

    async def ask() -> Any:
        with anyio.fail_after(30):
            answer = await world.calling("update_ticket", COMMENT)
        hanging.set()  # the event loop's own end waits for its threads
        return answer

    answer = anyio.run(ask)
    assert (answer.envelope["status"], answer.envelope["reasons"][0]["code"]) == ("denied", "plan_timeout")
    assert simulator.effects == []


@pytest.mark.parametrize("step", ["locate", "read"])
def test_a_read_that_takes_too_long_is_a_refusal(world: World, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(world, plan=0.1)
    monkeypatch.setattr(world.gate.reading["get_ticket"], step, for_ever)
    answer = world.call("get_ticket", ticket="OPS-1")
    assert (answer.envelope["status"], answer.is_error) == ("denied", True)
    assert "did not answer: it took longer than 0.1 s" in str(answer.envelope["message"])
    assert world.entries("read.served") == []


def test_a_probe_that_hangs_proves_nothing_and_holds_up_no_claim(world: World) -> None:
    simulator = Simulator(world.gate.governed["rollback_deployment"], executes=for_ever)
    vars(simulator)["probe"] = for_ever
    world.with_tool(simulator)
    world.executing = False
    action = str(world.call("rollback_deployment", **STAGING).envelope["action_id"])
    world.comment("Meanwhile.")
    impatient(world, plan=0.2, rollback_deployment=0.1)

    async def meanwhile(stop: anyio.Event) -> None:
        await until(lambda: len(world.entries("execution.finished")) == 2)
        stop.set()

    working(world, meanwhile)
    assert "Meanwhile." in world.ticket
    assert result(world.call("list_actions", status="unknown"))["actions"][0]["action_id"] == action


def test_work_that_its_caller_gives_up_is_cancelled_and_not_waited_for() -> None:
    ended = anyio.Event()

    async def job() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async def give_up() -> None:
        with anyio.fail_after(30):
            with anyio.move_on_after(0.05):
                await bounded(job, 30)
            await ended.wait()

    anyio.run(give_up)


def test_work_tells_its_end_whatever_that_was() -> None:
    async def fail() -> None:
        raise ValueError("no")

    async def seven() -> int:
        return 7

    async def all_of_them() -> None:
        assert await bounded(seven, 5) == 7
        with pytest.raises(ValueError, match="no"):
            await bounded(fail, 5)
        with pytest.raises(TookTooLong, match=r"0\.01 s"):
            await bounded(for_ever, 0.01)
        work = Work(for_ever)
        assert await work.within(0.01) is False
        assert await work.interrupt() is True
        assert work.interrupted

    anyio.run(all_of_them)
