"""The worker's loop: what it starts, what it waits for, and what does not stop it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any

import anyio
import pytest

import keyturn.gateway.execute
import keyturn.gateway.work
from keyturn.gateway.execute import execute, recordable
from keyturn.gateway.work import plain_errors, work
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.model.outcome import CannotTell, Failed, Outcome, Stale, Succeeded, Unknown
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef
from tests.gateway.hands import claim_next
from tests.gateway.world import STAGING, Simulator, World

FRACTION = Succeeded({"ratio": 0.5})  # type: ignore[dict-item]  # outside of what can be recorded, on purpose


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not await anyio.to_thread.run_sync(true):  # noqa: ASYNC110 - what is waited for happens in files
            await anyio.sleep(0.02)


def working(
    world: World, meanwhile: Callable[[anyio.Event], Coroutine[Any, Any, None]], idle: float | None = None
) -> None:
    """Run the loop, and `meanwhile` beside it; it sets the event to end the loop."""

    async def both() -> None:
        stop = anyio.Event()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(meanwhile, stop)
                await work(world.gate, world.executor, world.home.place.run, idle=idle, stop=stop)

    anyio.run(both)


def over(world: World, count: int) -> Callable[[], bool]:
    return lambda: len(world.entries("execution.finished")) >= count


def test_what_is_there_and_what_comes_is_run_until_told_to_stop(world: World) -> None:
    world.executing = False
    world.comment("Before.")

    async def meanwhile(stop: anyio.Event) -> None:
        await until(over(world, 1))
        await world.calling("update_ticket", {"ticket": "OPS-1", "comment": "Later."})
        await until(over(world, 2))
        stop.set()

    working(world, meanwhile)
    assert "Before." in world.ticket
    assert "Later." in world.ticket


def test_without_work_it_ends_after_a_while(world: World) -> None:
    async def nothing(_: anyio.Event) -> None:
        pass

    working(world, nothing, idle=0.3)


def test_different_targets_run_side_by_side_and_one_that_hangs_holds_up_only_its_own(world: World) -> None:
    """What runs when it is told to stop is finished first, and nothing more is begun."""
    gates: dict[str, anyio.Event] = {}

    async def hang(_plan: Plan, action: ActionRef) -> Outcome:
        gates[action.action] = anyio.Event()
        await gates[action.action].wait()
        return Succeeded({})

    world.with_tool(Simulator(world.gate.governed["rollback_deployment"], executes=hang))
    world.executing = False
    hanging = str(world.call("rollback_deployment", **STAGING).envelope["action_id"])
    waiting = str(world.call("rollback_deployment", **{**STAGING, "to": "2.2.0"}).envelope["action_id"])
    world.comment("Meanwhile.")

    async def meanwhile(stop: anyio.Event) -> None:
        await until(over(world, 1))
        await until(lambda: hanging in gates and world.executor.running == {hanging})
        stop.set()
        await anyio.sleep(0.3)
        assert world.executor.running == {hanging}
        gates[hanging].set()

    working(world, meanwhile)
    assert world.status(hanging) == "succeeded"
    assert world.status(waiting) == "approved"
    assert "Meanwhile." in world.ticket


def test_a_ledger_that_is_away_for_a_while_stops_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither housekeeping nor claiming; what was approved meanwhile runs once it is back."""
    monkeypatch.setattr(keyturn.gateway.work, "HOUSEKEEPING_EVERY", 0.1)
    monkeypatch.setattr(keyturn.gateway.work, "RETRY_EVERY", 0.1)
    world.executing = False

    async def meanwhile(stop: anyio.Event) -> None:
        await anyio.sleep(0.2)
        await world.calling("update_ticket", {"ticket": "OPS-1", "comment": "Hello."})
        await until(over(world, 1))
        stop.set()

    async def away(stop: anyio.Event) -> None:
        with world.ledger_away():
            await anyio.sleep(0.5)
        await meanwhile(stop)

    world.comment("First.")
    working(world, away)
    assert "First." in world.ticket


def test_the_clocks_repair_is_noticed_although_it_writes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyturn.gateway.work, "LOOK_ANYWAY", 0.2)
    world.executing = False
    world.comment("Hello.")
    world.clock.step(hours=-1)

    async def meanwhile(stop: anyio.Event) -> None:
        await anyio.sleep(0.4)
        assert world.entries("execution") == []
        world.clock.step(hours=1)
        await until(over(world, 1))
        stop.set()

    working(world, meanwhile)


def test_an_outcome_is_recorded_once_the_ledger_is_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process holds it when the effect is over; the effect is not made again."""
    monkeypatch.setattr(keyturn.gateway.execute, "RETRY_EVERY", 0.05)
    real = world.gate.governed["update_ticket"]
    away = world.ledger_away()

    async def effect(plan: Plan, action: ActionRef) -> Outcome:
        outcome = await real.execute(plan, action)
        away.__enter__()
        return outcome

    world.with_tool(Simulator(real, executes=effect))
    world.executing = False
    world.comment("Hello.")
    claimed = claim_next(world.gate, world.executor.instance)
    assert claimed is not None

    async def come_back() -> None:
        await until(lambda: "Hello." in world.ticket)
        await anyio.sleep(0.3)
        away.__exit__(None, None, None)

    async def both() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(come_back)
            await execute(world.gate, world.executor, claimed)

    anyio.run(both)
    assert (world.kinds()[-1], world.ticket.count("Hello.")) == ("execution.finished", 1)


def test_an_outcome_that_cannot_be_recorded_for_too_long_is_left_to_housekeeping(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker goes on, and settles the open intent by a probe once it can."""
    for name, seconds in (("RETRY_EVERY", 0.05), ("LEDGER_PATIENCE", 0.2)):
        monkeypatch.setattr(keyturn.gateway.execute, name, seconds)
    monkeypatch.setattr(keyturn.gateway.work, "HOUSEKEEPING_EVERY", 0.2)
    real = world.gate.governed["update_ticket"]
    away = world.ledger_away()

    async def effect(plan: Plan, action: ActionRef) -> Outcome:
        outcome = await real.execute(plan, action)
        away.__enter__()
        return outcome

    world.with_tool(Simulator(real, executes=effect))
    world.executing = False
    world.comment("Hello.")

    async def meanwhile(stop: anyio.Event) -> None:
        await until(lambda: "Hello." in world.ticket)
        await until(lambda: not world.executor.running)
        away.__exit__(None, None, None)
        await until(over(world, 1))
        stop.set()

    working(world, meanwhile)
    finished = world.entries("execution.finished")
    assert [(entry.facts["outcome"], entry.facts["recovered"]) for entry in finished] == [("succeeded", True)]
    assert world.ticket.count("Hello.") == 1


def test_a_lock_held_by_somebody_else_is_waited_for_and_then_nothing_is_done(world: World) -> None:
    """The real wait of five seconds: the call fails naming the holder, and no intent came of it."""
    world.executing = False
    world.comment("Hello.")
    with closing(sqlite3.connect(world.home.place.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="locked"):
            world.drain()
        other.execute("ROLLBACK")
    assert world.entries("execution") == []
    world.drain()
    assert "Hello." in world.ticket


def test_without_a_durable_intent_nothing_runs(world: World) -> None:
    world.executing = False
    world.comment("Hello.")
    simulator = Simulator(world.gate.governed["update_ticket"])
    world.with_tool(simulator)
    with world.ledger_away(), pytest.raises(LedgerUnavailable):
        world.drain()
    assert simulator.effects == []
    world.drain()
    assert len(simulator.effects) == 1


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [
        (FRACTION, Succeeded({"note": keyturn.gateway.execute.UNREADABLE})),
        (Failed("\ud800", effect=True), Failed(keyturn.gateway.execute.UNREADABLE, effect=True)),
        (Stale(("\ud800",)), Stale((keyturn.gateway.execute.UNREADABLE,))),
        (Unknown("\ud800"), Unknown(keyturn.gateway.execute.UNREADABLE)),
        (Succeeded({"text": "fine"}), Succeeded({"text": "fine"})),
    ],
)
def test_an_outcome_that_cannot_be_written_is_written_without_its_words(outcome: Outcome, kept: Outcome) -> None:
    assert recordable(outcome) == kept


def test_a_result_that_cannot_be_encoded_neither_loses_the_outcome_nor_stops_the_worker(world: World) -> None:
    world.with_tool(Simulator(world.gate.governed["update_ticket"], executes=lambda *_: FRACTION))
    answer = world.comment("Hello.")
    assert (answer.envelope["status"], answer.envelope["result"]) == (
        "succeeded",
        {"note": keyturn.gateway.execute.UNREADABLE},
    )


def test_errors_of_others_keep_their_group() -> None:
    with pytest.raises(ExceptionGroup), plain_errors():
        raise ExceptionGroup("several", [ValueError("not the ledger's")])


def test_an_unknown_outcome_is_probed_again_by_housekeeping(world: World) -> None:
    simulator = Simulator(
        world.gate.governed["update_ticket"],
        executes=lambda *_: Unknown("no answer came"),
        probes=lambda *_: CannotTell("no answer"),
    )
    world.with_tool(simulator)
    action = str(world.comment("Hello.").envelope["action_id"])
    simulator.probes = None

    async def meanwhile(stop: anyio.Event) -> None:
        await until(lambda: bool(world.entries("execution.resolved")))
        stop.set()

    working(world, meanwhile)
    assert world.status(action) == "failed"
