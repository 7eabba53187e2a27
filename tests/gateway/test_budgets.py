"""Budgets for runtime and cost: reserved with the request, settled at the end, held while nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import anyio
import anyio.to_thread
import pytest

from keyturn.gateway.recover import reprobe
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Happened, Outcome, Stale, Succeeded
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef
from keyturn.policy.series import LONGEST_WINDOW
from keyturn.policy.usage import Scope
from keyturn.verifier import verify_ledger
from tests.gateway.world import Simulator, World, raises

PRICE = '\n[tools.update_ticket]\ncost = 5\nruntime = "60s"\n\n[[limits]]\nid = "purse"\nlimits = ["{}"]\n'


@pytest.fixture(autouse=True)
def _provable(world: World) -> Iterator[None]:
    """Whatever a test does, the ledger it leaves can be proved: every decision again, with what was used then."""
    yield
    report = verify_ledger(world.home.place.database)
    assert (report.verdict, report.first_bad) == ("PASS-UNANCHORED", None)


def priced(world: World, *limits: str) -> None:
    path = world.home.folder / "policy.toml"
    path.write_text(path.read_text() + PRICE.format('", "'.join(limits or ("1000 cost per day",))))
    world.activate()


def used(world: World) -> tuple[int, int]:
    """Cost and runtime, as limits count them now."""

    def look(unit: str) -> int:
        return world.gate.ledger.look(
            lambda view: view.state.usage.used(unit, Scope(), LONGEST_WINDOW, view.now).amount
        )

    return look("cost"), look("runtime")


def ending(world: World, outcome: Outcome, after: float = 0) -> None:
    """Have comments end so, after a time."""

    def execute(_plan: Plan, _action: ActionRef) -> Outcome:
        world.clock.run(seconds=after)
        return outcome

    world.with_tool(Simulator(world.gate.governed["update_ticket"], executes=execute))


def test_what_a_call_reserves_stands_directly_after_its_request(world: World) -> None:
    priced(world)
    world.executing = False
    world.comment("Looking.")
    request, reserved = world.entries()[-2:]
    assert (request.kind, reserved.kind, reserved.action) == ("action.requested", "action.reserved", request.action)
    assert reserved.facts == {"amounts": {"cost": 5, "runtime": 60}}
    assert used(world) == (5, 60)


def test_a_tool_that_reserves_nothing_leaves_no_entry(world: World) -> None:
    priced(world)
    world.call("rollback_deployment", deployment="web", environment="staging", to="previous")
    assert not world.entries("action.reserved")


@pytest.mark.parametrize(
    ("outcome", "left"),
    [
        (Succeeded({}), (5, 8)),
        (Failed("it half happened", effect=True), (5, 8)),
        (Failed("nothing happened", effect=False), (0, 8)),
        (Stale(("the ticket moved",)), (0, 8)),
    ],
)
def test_at_the_end_runtime_is_settled_and_cost_kept_unless_nothing_happened(
    world: World, outcome: Outcome, left: tuple[int, int]
) -> None:
    priced(world)
    ending(world, outcome, after=7.5)
    world.comment("Looking.")
    cost, runtime = used(world)
    assert cost == left[0]
    assert runtime in {left[1], left[1] + 1}  # whole seconds, and what the machine itself took


def test_what_was_longer_than_reserved_counts_no_more_than_was_reserved(world: World) -> None:
    """Whoever finds out late that an executor died has not run for that long."""
    priced(world)
    ending(world, Succeeded({}), after=3_000)
    world.comment("Looking.")
    assert used(world) == (5, 60)


def test_what_never_began_gives_everything_back(world: World) -> None:
    priced(world)
    action = str(world.call("update_ticket", ticket="OPS-1", status="closed").envelope["action_id"])
    assert used(world) == (5, 60)
    world.review(action, verdict="reject", reason="no")
    assert used(world) == (0, 0)


def test_a_mind_that_was_changed_reserves_once_more(world: World) -> None:
    priced(world)
    world.executing = False
    action = str(world.call("update_ticket", ticket="OPS-1", status="closed").envelope["action_id"])
    world.approve(action)
    assert used(world) == (5, 60)
    world.approve(action, "carol")
    assert used(world) == (5, 60)


def test_an_unknown_outcome_keeps_its_budget_until_it_is_settled(world: World) -> None:
    priced(world, "5 cost per day")
    real = world.gate.governed["update_ticket"]
    lost = raises(ConnectorError("no answer", kind="unknown"))
    world.with_tool(Simulator(real, executes=lost, probes=lambda *_: CannotTell("nobody answers")))
    answer = world.comment("Looking.").envelope
    assert answer["status"] == "unknown"
    assert used(world) == (5, 60)
    assert world.comment("Another.").envelope["status"] == "denied"
    world.clock.run(hours=1)
    assert used(world) == (5, 60)
    world.with_tool(Simulator(real, probes=lambda *_: CannotHappen("it was not done")))
    world.drain()
    assert anyio.run(reprobe, world.gate) == 1
    cost, runtime = used(world)
    assert cost == 0
    assert runtime <= 2  # what it took until it was known to be unknown, and not until it was settled
    assert world.comment("Another.").envelope["status"] != "denied"


def test_a_restart_keeps_every_budget(world: World) -> None:
    priced(world, "12 cost per day", "150 runtime per day")
    world.executing = False
    assert [world.comment(f"{n}").envelope["status"] for n in range(3)] == ["approved", "approved", "denied"]
    before = world.gate.ledger.look(lambda view: view.state.usage.to_json())
    with closing(world.open("another process")) as gate:
        assert gate.ledger.look(lambda view: view.state.usage.to_json()) == before
    state = world.gate.ledger.look(lambda view: view.state)
    again = type(state).from_json(state.to_json())
    assert again.to_json() == state.to_json()
    world.drain()
    assert used(world)[0] == 10


def test_a_denial_tells_how_much_was_asked_of_which_budget(world: World) -> None:
    priced(world, "100 runtime per hour per target")
    world.executing = False
    world.comment("One.")
    told = str(world.comment("Two.").envelope["message"])
    assert "limit 100 runtime per 1h per target: 60 of 100 used, 60 more asked" in told


def test_an_effect_is_interrupted_when_the_runtime_it_reserved_is_over(world: World) -> None:
    path = world.home.folder / "policy.toml"
    path.write_text(path.read_text() + '\n[tools.update_ticket]\nruntime = "1s"\n')
    world.activate()

    async def hang(_plan: Plan, _action: ActionRef) -> Outcome:
        await anyio.sleep(60)
        return Succeeded({})

    real = world.gate.governed["update_ticket"]
    world.with_tool(Simulator(real, executes=hang, probes=lambda *_: Happened({})))
    assert world.comment("Slow.").envelope["status"] == "succeeded"
    cost, runtime = used(world)
    assert (cost, runtime) == (0, 1)


def test_a_grant_that_only_records_reserves_nothing(world: World) -> None:
    line = 'id = "assistants comment on tickets"'
    priced(world)
    world.activate((line, f'{line}\nmode = "shadow"'))
    assert world.comment("What if.").envelope["status"] == "shadowed"
    assert used(world) == (0, 0)
    assert not world.entries("action.reserved")


@pytest.mark.parametrize("price", [None, 1])
def test_what_reserved_less_than_the_policy_in_force_asks_does_not_run_past_a_budget(
    world: World, price: int | None
) -> None:
    if price is not None:
        priced(world)
        world.activate(("cost = 5", f"cost = {price}"))
    world.executing = False
    asked = [str(world.comment(f"{n}").envelope["action_id"]) for n in range(2)]
    if price is None:
        priced(world)
    else:
        world.activate((f"cost = {price}", "cost = 5"))
    world.executing = True
    world.drain()
    assert [world.status(action) for action in asked] == ["stale", "stale"]
    assert world.comment("Asked anew.").envelope["status"] == "succeeded"
    assert used(world)[0] == 5


def test_what_reserved_more_than_the_policy_in_force_asks_runs(world: World) -> None:
    priced(world)
    world.executing = False
    action = str(world.comment("Looking.").envelope["action_id"])
    world.activate(("cost = 5", "cost = 1"))
    world.executing = True
    world.drain()
    assert world.status(action) == "succeeded"
    assert used(world)[0] == 5
