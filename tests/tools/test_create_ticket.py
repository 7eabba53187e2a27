"""`create_ticket` makes one ticket, the one that was shown, on a real folder of tickets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from keyturn.canon import decode_object, encode
from keyturn.connectors.tickets.folder import TicketFolder
from keyturn.gateway.execute import perform
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Happened, Stale, Succeeded
from keyturn.model.plan import Effects, Plan, from_result, plan_from_json
from keyturn.model.tool import EarlierAction, GovernedTool
from keyturn.tools.arguments.create_ticket import Arguments
from keyturn.tools.arguments.get_ticket import Arguments as GetArguments
from keyturn.tools.create_ticket import TOOL, CreateTicket
from tests.connectors.deployments.processes import action
from tests.connectors.tickets.world import World


def nothing_earlier(action_id: str) -> EarlierAction | None:
    del action_id
    return None


def plan(tool: CreateTicket, **arguments: object) -> Plan:
    asked = {"title": "Basket is empty", "body": "It forgets.\n", "labels": ["shop"], **arguments}
    made: Plan = anyio.run(tool.plan, Arguments.model_validate(asked), nothing_earlier)
    return made


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def tool(world: World) -> CreateTicket:
    return TOOL({"ops": world.port})


def tickets(world: World) -> list[str]:
    return sorted(path.name for path in world.root.glob("*.md"))


def test_it_is_a_governed_tool_of_the_tickets_port(tool: CreateTicket) -> None:
    assert isinstance(tool, GovernedTool)
    assert (TOOL.name, TOOL.port) == ("create_ticket", "tickets")


def test_a_plan_shows_the_whole_ticket_and_writes_nothing(world: World, tool: CreateTicket) -> None:
    made = plan(tool)
    assert tickets(world) == ["OPS-1.md"]
    assert (made.target, made.backend, made.environment) == ("tickets:ops/+new", world.port.backend(), None)
    assert made.summary == 'Create ticket "Basket is empty" in ops (0 watchers, labels shop)'
    assert made.effects == Effects(files_changed=1, lines_changed=made.diff.count("\n+") - 1)
    assert "\n+It forgets.\n" in made.diff
    assert made.view == {
        "tracker": "ops",
        "title": "Basket is empty",
        "body": "It forgets.\n",
        "labels": ["shop"],
        "recipients": 0,
    }
    assert made.inverse is not None
    assert (made.inverse.tool, made.inverse.arguments["ticket"]) == ("update_ticket", from_result("ticket"))


def test_the_object_of_its_target_is_no_ticket_that_there_could_be(tool: CreateTicket) -> None:
    word = plan(tool).target.rpartition("/")[2]
    with pytest.raises(ValueError, match="pattern"):
        GetArguments(ticket=word)


def test_a_plan_read_back_from_the_ledger_is_executed_once_and_probed(world: World, tool: CreateTicket) -> None:
    made = plan(tool)
    kept = plan_from_json(decode_object(encode(made.to_json())), made.diff)
    outcome = anyio.run(tool.execute, kept, action(1))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["ticket"] == "OPS-2"
    assert "It forgets." in (world.root / "OPS-2.md").read_text()
    assert anyio.run(tool.execute, kept, action(1)) == outcome
    assert anyio.run(tool.probe, kept, action(1)) == Happened(outcome.result)
    assert tickets(world) == ["OPS-1.md", "OPS-2.md"]


def test_other_tickets_that_came_meanwhile_void_nothing(world: World, tool: CreateTicket) -> None:
    made = plan(tool)
    assert isinstance(anyio.run(tool.execute, plan(tool, title="Another"), action(2)), Succeeded)
    outcome = anyio.run(tool.execute, made, action(1))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["ticket"] == "OPS-3"


def test_facts_that_moved_are_told_in_words(world: World, tool: CreateTicket) -> None:
    made = plan(tool)
    renumbered = TOOL({"ops": replace_port(world, prefix="SHOP")})
    assert anyio.run(renumbered.execute, made, action(1)) == Stale(
        ("new tickets are numbered in another way than at the review",)
    )
    assert tickets(world) == ["OPS-1.md"]


def replace_port(world: World, **changes: Any) -> TicketFolder:
    assert isinstance(world.port, TicketFolder)
    return replace(world.port, **changes)


def test_without_labels_and_without_a_body_a_title_is_enough(world: World, tool: CreateTicket) -> None:
    made: Plan = anyio.run(tool.plan, Arguments(title="Slow"), nothing_earlier)
    assert made.summary == 'Create ticket "Slow" in ops (0 watchers)'
    assert isinstance(anyio.run(tool.execute, made, action(1)), Succeeded)


@pytest.mark.parametrize(
    ("forged", "named"),
    [
        ({"target": "tickets:ops/OPS-1"}, "target"),
        ({"environment": "staging"}, "environment"),
        ({"summary": "Create a ticket"}, "summary"),
        ({"effects": Effects()}, "effects"),
        ({"view": {}}, "view"),
        ({"diff": ""}, "diff"),
        ({"inverse": None}, "inverse"),
    ],
)
def test_a_plan_that_shows_something_else_than_it_makes_makes_nothing(
    world: World, tool: CreateTicket, forged: dict[str, Any], named: str
) -> None:
    outcome = anyio.run(tool.execute, replace(plan(tool), **forged), action(1))
    assert outcome == Failed(
        f"the plan does something else than it shows ({named} would be different); nothing was done"
    )
    assert tickets(world) == ["OPS-1.md"]


@pytest.mark.parametrize(
    "change", [{"title": "Hello"}, {"body": "/deploy now"}, {"labels": ["urgent"]}, {"labels": "shop"}]
)
def test_a_ticket_that_is_not_the_one_shown_is_not_made(
    world: World, tool: CreateTicket, change: dict[str, Any]
) -> None:
    made = plan(tool)
    outcome = anyio.run(perform, tool, replace(made, change={**made.change, **change}), action(1))
    assert isinstance(outcome, Failed)
    assert tickets(world) == ["OPS-1.md"]


def test_text_that_bots_would_read_as_a_command_is_refused(tool: CreateTicket) -> None:
    with pytest.raises(ConnectorError, match="command"):
        plan(tool, body="/deploy now")


def test_a_tracker_is_named_where_there_are_several(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = TicketFolder(name="dev", folder=tmp_path / "other", prefix="DEV")
    tool = TOOL({"ops": world.port, "dev": other})
    with pytest.raises(ConnectorError, match="name the one to use"):
        plan(tool)
    with pytest.raises(ConnectorError, match='tracker "sales" is not declared'):
        plan(tool, tracker="sales")
    assert plan(tool, tracker="dev").target == "tickets:dev/+new"


def test_another_back_end_than_the_reviewed_one_is_never_touched(world: World, tool: CreateTicket) -> None:
    made = plan(tool)
    other = replace(made, backend=replace(made.backend, location="/elsewhere"))
    assert anyio.run(tool.execute, other, action(1)) == Stale(
        ("the tracker is declared as another system than the one that was reviewed",)
    )
    assert isinstance(anyio.run(tool.probe, other, action(1)), CannotTell)
    assert isinstance(anyio.run(TOOL({}).probe, made, action(1)), CannotTell)
    assert tickets(world) == ["OPS-1.md"]


def test_a_probe_of_what_never_ran_settles_it(world: World, tool: CreateTicket) -> None:
    made = plan(tool)
    assert isinstance(anyio.run(tool.probe, made, action(1)), CannotHappen)
    assert isinstance(anyio.run(tool.execute, made, action(1)), Failed)
    assert tickets(world) == ["OPS-1.md"]
