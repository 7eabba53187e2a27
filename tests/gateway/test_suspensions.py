"""What an operator has suspended: nothing of it is asked, begun or read until it is lifted."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from keyturn.fold.suspensions import READ_ONLY, SUSPENDED, Scope
from keyturn.gateway.review import Actor
from keyturn.gateway.suspensions import draft_lift, set_suspension
from keyturn.model.plan import Plan
from tests.gateway.test_executing_here import serving
from tests.gateway.world import STAGING, Simulator, World

OPERATOR = Actor("account", "root")
ALL = Scope("all")
HERE = [ALL, Scope("principal", "claude"), Scope("tool", "update_ticket")]
STAGE = Scope("environment", "staging")


def suspend(world: World, scope: Scope, mode: str = SUSPENDED) -> None:
    set_suspension(world.gate.ledger, scope, mode=mode, by=OPERATOR, reason="an incident")


def lift(world: World, scope: Scope) -> None:
    world.act(draft_lift(world.gate, scope, reason="it is over", by="alice"))


def counting(world: World, tool: str) -> Simulator:
    simulator = Simulator(world.gate.governed[tool])
    world.with_tool(simulator)
    return simulator


@pytest.mark.parametrize("mode", [SUSPENDED, READ_ONLY])
@pytest.mark.parametrize("scope", HERE, ids=str)
def test_a_governed_call_in_the_scope_is_refused_before_it_is_planned_until_the_scope_is_lifted(
    world: World, scope: Scope, mode: str
) -> None:
    simulator = counting(world, "update_ticket")
    planned: list[str] = []

    def plans(plan: Plan) -> Plan:
        planned.append(plan.target)
        return plan

    simulator.plans = plans
    suspend(world, scope, mode)
    answer = world.comment("Hello.")
    assert (answer.envelope["status"], answer.is_error, planned, simulator.effects) == ("denied", True, [], [])
    reasons = answer.envelope["reasons"]
    assert isinstance(reasons, list)
    assert reasons[0]["code"] == {"suspended": "suspended", "read-only": "read_only"}[mode]
    assert "an incident" in reasons[0]["text"]
    lift(world, scope)
    assert world.comment("Hello.").envelope["status"] == "succeeded"


def test_others_go_on(world: World) -> None:
    suspend(world, Scope("principal", "codex"))
    suspend(world, Scope("tool", "open_pull_request"))
    suspend(world, Scope("environment", "production"))
    assert world.comment("Hello.").envelope["status"] == "succeeded"
    assert world.call("rollback_deployment", **STAGING).envelope["status"] == "succeeded"


@pytest.mark.parametrize("mode", [SUSPENDED, READ_ONLY])
def test_an_environment_stops_what_turns_out_to_lie_in_it(world: World, mode: str) -> None:
    suspend(world, STAGE, mode)
    answer = world.call("rollback_deployment", **STAGING)
    assert (answer.envelope["status"], answer.envelope["environment"]) == ("denied", "staging")
    assert world.live("staging") == "2.4.0"
    reading = world.call("get_deployment", deployment="web", environment="staging")
    assert reading.envelope["status"] == ("denied" if mode == SUSPENDED else "succeeded")


@pytest.mark.parametrize(("mode", "status"), [(SUSPENDED, "denied"), (READ_ONLY, "succeeded")])
def test_reads_stop_with_a_suspension_and_go_on_in_read_only_mode(world: World, mode: str, status: str) -> None:
    suspend(world, ALL, mode)
    assert world.call("get_ticket", ticket="OPS-1").envelope["status"] == status
    assert world.call("get_permissions").envelope["status"] == "succeeded"


def test_what_was_approved_waits_while_it_is_read_only_and_runs_once_that_is_lifted(world: World) -> None:
    world.executing = False
    action = str(world.comment("Hello.").envelope["action_id"])
    suspend(world, STAGE, READ_ONLY)
    suspend(world, Scope("tool", "update_ticket"), READ_ONLY)
    world.drain()
    assert (world.status(action), "Hello." in world.ticket) == ("approved", False)
    lift(world, Scope("tool", "update_ticket"))
    world.drain()
    assert (world.status(action), "Hello." in world.ticket) == ("succeeded", True)


def test_what_was_approved_is_cancelled_by_a_suspension_and_never_runs(world: World) -> None:
    world.executing = False
    action = str(world.comment("Hello.").envelope["action_id"])
    suspend(world, ALL)
    world.drain()
    lift(world, ALL)
    world.drain()
    assert (world.status(action), "Hello." in world.ticket) == ("cancelled", False)


def between(world: World, meanwhile: Callable[[], None]) -> Simulator:
    """A tool during whose planning something happens: after the call was screened, before it is decided."""
    simulator = counting(world, "update_ticket")

    def plans(plan: Plan) -> Plan:
        meanwhile()
        return plan

    simulator.plans = plans
    return simulator


@pytest.mark.parametrize("scope", HERE, ids=str)
def test_a_suspension_set_while_a_call_is_planned_still_stops_it(world: World, scope: Scope) -> None:
    simulator = between(world, lambda: suspend(world, scope))
    assert world.comment("Hello.").envelope["status"] == "denied"
    assert simulator.effects == []


def test_a_process_that_executes_itself_stops_too(world: World) -> None:
    simulator = between(world, lambda: suspend(world, ALL, READ_ONLY))

    async def calls(_: anyio.Event) -> None:
        answer = await world.calling("update_ticket", {"ticket": "OPS-1", "comment": "Hello."})
        assert answer.envelope["status"] == "denied"

    serving(world, calls)
    assert simulator.effects == []


def test_a_refusal_tells_later_readers_that_it_was_a_suspension(world: World) -> None:
    suspend(world, ALL)
    denied = world.comment("Hello.")
    assert "an operator suspended everything" in str(world.envelope(str(denied.envelope["action_id"]))["message"])


def test_a_read_that_is_suspended_while_the_system_is_read_is_not_told(world: World) -> None:
    tool = world.gate.reading["get_ticket"]
    read = tool.read

    async def reading(plan: object, arguments: object) -> object:
        suspend(world, ALL)
        return await read(plan, arguments)  # type: ignore[arg-type]  # passed through

    vars(tool)["read"] = reading
    answer = world.call("get_ticket", ticket="OPS-1")
    assert (answer.envelope["status"], answer.envelope["result"]) == ("denied", None)
    assert world.entries("read.served") == []
