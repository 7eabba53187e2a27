"""Executors that die: whoever comes next settles what they left, and nothing is done twice."""

from __future__ import annotations

import signal

import anyio
import pytest

from keyturn.gateway.acts import draft_resolution
from keyturn.gateway.recover import recover, reprobe
from keyturn.model.errors import ConnectorError, Refused
from keyturn.model.outcome import CannotHappen, CannotTell, Happened, Unknown
from tests.gateway import processes
from tests.gateway.hands import claim_next
from tests.gateway.world import STAGING, Simulator, World, raises, result
from tests.ledger.processes import running, told


@pytest.mark.parametrize(
    ("step", "becomes", "times"),
    [("before the claim", "succeeded", 1), ("before the effect", "failed", 0), ("after the effect", "succeeded", 1)],
)
def test_what_a_killed_executor_left_is_settled_by_the_next(
    world: World, step: str, becomes: str, times: int
) -> None:
    world.executing = False
    action = str(world.comment("Hello.").envelope["action_id"])
    with running(processes.die, world.home, step) as (process, _):
        process.join(20)
        assert process.exitcode == -signal.SIGKILL
    for _ in range(2):
        world.drain()
        assert (world.status(action), world.ticket.count("Hello.")) == (becomes, times)
    finished = world.entries("execution.finished")
    assert [entry.facts["recovered"] for entry in finished] == [step != "before the claim"]
    assert len(world.entries("execution.started")) == 1
    if becomes == "failed":
        # Nothing happened and nothing can: it may be asked again at once, and gave back what it took.
        assert finished[0].facts["effect"] is False
        world.executing = True
        assert world.comment("Hello.").envelope["status"] == "succeeded"


@pytest.mark.parametrize(("step", "live"), [("before the effect", "2.4.0"), ("after the effect", "2.3.1")])
def test_a_rollback_whose_executor_was_killed_is_not_made_a_second_time(world: World, step: str, live: str) -> None:
    world.executing = False
    action = str(world.call("rollback_deployment", **STAGING).envelope["action_id"])
    with running(processes.die, world.home, step) as (process, _):
        process.join(20)
        assert process.exitcode == -signal.SIGKILL
    world.drain()
    assert world.live("staging") == live
    assert world.status(action) == ("succeeded" if step == "after the effect" else "failed")


def test_the_intent_of_a_living_executor_is_left_alone_until_it_dies(world: World) -> None:
    world.executing = False
    action = str(world.comment("Hello.").envelope["action_id"])
    with running(processes.hold_on, world.home) as (process, said):
        assert told(said) == action
        for _ in range(3):
            assert anyio.run(recover, world.gate, world.executor, world.home.place.run) == 0
            assert (world.status(action), world.entries("execution.finished")) == ("running", [])
        process.kill()
        process.join()
    assert anyio.run(recover, world.gate, world.executor, world.home.place.run) == 1
    assert world.status(action) == "failed"
    assert not list(world.home.place.run.glob(str(world.entries("execution.started")[0].facts["instance"])))


def test_a_living_executor_finishes_what_others_looked_at(world: World) -> None:
    world.executing = False
    action = str(world.comment("Hello.").envelope["action_id"])
    with running(processes.hold_on, world.home) as (_, said):
        assert told(said) == action
        world.drain()
        said.send("go on")
        assert told(said) == "done"
    assert world.envelope(action)["result"] == {"waited": True}


def test_two_that_recover_at_once_settle_it_once(world: World) -> None:
    world.executing = False
    action = str(world.comment("Hello.").envelope["action_id"])
    with running(processes.die, world.home, "after the effect") as (process, _):
        process.join(20)
    others = [world.open(f"other {n}") for n in range(2)]

    async def both() -> None:
        async with anyio.create_task_group() as tasks:
            for gate in others:
                tasks.start_soon(recover, gate, world.executor, world.home.place.run)

    anyio.run(both)
    anyio.run(recover, world.gate, world.executor, world.home.place.run)
    assert (world.status(action), len(world.entries("execution.finished"))) == ("succeeded", 1)
    for gate in others:
        gate.ledger.close()


def test_an_own_intent_that_nobody_runs_is_settled_too(world: World) -> None:
    """As after a ledger that could not be written for too long when the effect was over."""
    world.executing = False
    action = str(world.comment("Hello.").envelope["action_id"])
    assert claim_next(world.gate, world.executor.instance) is not None
    world.executor.running.add(action)
    assert anyio.run(recover, world.gate, world.executor, world.home.place.run) == 0
    world.executor.running.clear()
    assert anyio.run(recover, world.gate, world.executor, world.home.place.run) == 1
    assert world.status(action) == "failed"


def unknown(world: World) -> tuple[str, Simulator]:
    simulator = Simulator(
        world.gate.governed["update_ticket"],
        executes=lambda *_: Unknown("no answer came"),
        probes=lambda *_: CannotTell("no answer"),
    )
    world.with_tool(simulator)
    return str(world.comment("Hello.").envelope["action_id"]), simulator


@pytest.mark.parametrize(("happened", "becomes"), [(True, "succeeded"), (False, "failed")])
def test_an_operators_signed_word_settles_an_unknown_outcome(world: World, happened: bool, becomes: str) -> None:
    action, _ = unknown(world)
    draft = draft_resolution(world.gate, action, happened=happened, reason="I looked.", by="alice")
    with pytest.raises(Refused) as caught:
        world.act(draft, "mallory")
    assert (caught.value.code, world.status(action)) == ("not_a_reviewer", "unknown")
    world.act(draft)
    envelope = world.envelope(action)
    assert (envelope["status"], envelope["reasons"][-1]["text"]) == (
        becomes,
        "it was unknown; an operator settled it with a signed word, not by reading the system",
    )
    with pytest.raises(Refused):
        world.act(draft)
    with pytest.raises(Refused):
        draft_resolution(world.gate, action, happened=happened, reason="", by="alice")
    with pytest.raises(Refused, match="UTF-8"):
        draft_resolution(world.gate, action, happened=happened, reason="\udcff", by="alice")


def test_a_probe_and_an_operator_do_not_both_settle_it(world: World) -> None:
    action, simulator = unknown(world)

    def meanwhile(*_: object) -> Happened:
        world.act(draft_resolution(world.gate, action, happened=False, reason="I looked.", by="alice"))
        return Happened({})

    simulator.probes = meanwhile
    anyio.run(reprobe, world.gate)
    assert (world.status(action), len(world.entries("execution.resolved"))) == ("failed", 1)


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (ConnectorError("no room", kind="refused"), "failed"),
        (ConnectorError("later", kind="retry"), "failed"),
        (ConnectorError("moved", kind="conflict"), "stale"),
        (ConnectorError("timed out", kind="unknown"), "failed"),
        (ValueError("a mistake in the middle"), "failed"),
    ],
)
def test_every_failure_of_an_effect_is_an_outcome(world: World, error: Exception, becomes: str) -> None:
    """Where it may have happened all the same the probe is asked; here it makes sure that it cannot."""
    simulator = Simulator(world.gate.governed["update_ticket"], executes=raises(error))
    world.with_tool(simulator)
    answer = world.comment("Hello.")
    assert (answer.is_error, answer.envelope["status"]) == (True, becomes)
    asked = isinstance(error, ValueError) or (isinstance(error, ConnectorError) and error.kind == "unknown")
    assert simulator.probed == ([answer.envelope["action_id"]] if asked else [])
    assert "a mistake in the middle" not in str(answer.envelope)


@pytest.mark.parametrize("error", [ConnectorError("down", kind="retry"), ValueError("a mistake")])
def test_a_probe_that_fails_proves_nothing(world: World, error: Exception) -> None:
    simulator = Simulator(
        world.gate.governed["update_ticket"], executes=raises(ValueError("a mistake")), probes=raises(error)
    )
    world.with_tool(simulator)
    assert world.comment("Hello.").envelope["status"] == "unknown"
    simulator.probes = lambda *_: CannotHappen("the tracker says so")
    anyio.run(reprobe, world.gate)
    assert result(world.call("list_actions"))["actions"][0]["status"] == "failed"
