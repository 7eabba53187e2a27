from __future__ import annotations

import shutil
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
from keyturn.model.plan import Effects, Plan, plan_from_json
from keyturn.model.tool import EarlierAction, GovernedTool
from keyturn.tools.arguments.update_ticket import Arguments
from keyturn.tools.update_ticket import TOOL, UpdateTicket
from tests.connectors.deployments.processes import action
from tests.connectors.tickets.world import World


def nothing_earlier(action_id: str) -> EarlierAction | None:
    del action_id
    return None


def plan(tool: UpdateTicket, **arguments: object) -> Plan:
    made: Plan = anyio.run(tool.plan, Arguments.model_validate({"ticket": "OPS-1", **arguments}), nothing_earlier)
    return made


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def tool(world: World) -> UpdateTicket:
    return TOOL({"ops": world.port})


def test_it_is_a_governed_tool_of_the_tickets_port(tool: UpdateTicket) -> None:
    assert isinstance(tool, GovernedTool)
    assert (TOOL.name, TOOL.port) == ("update_ticket", "tickets")


def test_a_plan_says_everything_a_reviewer_and_the_policy_need(world: World, tool: UpdateTicket) -> None:
    made = plan(tool, status="closed", comment="Bye.")
    assert (made.target, made.backend, made.environment) == ("tickets:ops/OPS-1", world.port.backend(), None)
    assert made.summary == "Set OPS-1 from 'open' to 'closed' and comment on OPS-1 (3 watchers)"
    assert made.effects == Effects(files_changed=1, lines_changed=8, recipients=3)
    assert made.view == {
        "status": "closed",
        "comment": True,
        "recipients": 3,
        "audience": list(anyio.run(world.port.snapshot, "OPS-1").watchers),
    }
    assert made.facts == {"ticket": "OPS-1", "recipients": 3, "status": "open", "exists": True}
    assert made.guard.keys() == {"sha256"}
    assert made.change == {"ticket": "OPS-1", "status": "closed", "comment": "Bye."}
    assert made.inverse is not None
    assert made.inverse.arguments == {"ticket": "OPS-1", "status": "open", "tracker": "ops"}


def test_a_comment_alone_is_summed_up_as_such(world: World, tool: UpdateTicket) -> None:
    world.path.write_text("---\nid: OPS-1\ntitle: T\nstatus: open\nwatchers: [ann]\n---\n")
    made = plan(tool, comment="Hello.")
    assert (made.summary, made.effects.recipients) == ("Comment on OPS-1 (1 watcher)", 1)


@pytest.mark.parametrize(
    "asked", [{"status": "closed"}, {"comment": "Bye."}, {"status": "closed", "comment": "Bye."}]
)
def test_a_plan_read_back_from_the_ledger_is_executed_once_and_probed(
    world: World, tool: UpdateTicket, asked: dict[str, str]
) -> None:
    made = plan(tool, **asked)
    kept = plan_from_json(decode_object(encode(made.to_json())), made.diff)
    outcome = anyio.run(tool.execute, kept, action(1))
    assert isinstance(outcome, Succeeded)
    after = world.text()
    assert anyio.run(tool.execute, kept, action(1)) == outcome
    assert anyio.run(tool.probe, kept, action(1)) == Happened(outcome.result)
    assert world.text() == after


def test_a_status_that_moved_makes_the_action_stale(world: World, tool: UpdateTicket) -> None:
    made = plan(tool, status="closed")
    world.set_status("in progress")
    assert anyio.run(tool.execute, made, action(1)) == Stale(("the ticket's status is no longer 'open'",))


def test_watchers_who_came_after_the_review_make_the_action_stale(world: World, tool: UpdateTicket) -> None:
    made = plan(tool, comment="Hello.")
    world.path.write_text(world.text().replace("watchers: [", "watchers: [dan, "))
    assert anyio.run(tool.execute, made, action(1)) == Stale(
        ("another number of people watch the ticket than at the review",)
    )


@pytest.mark.parametrize("newline", [True, False], ids=["whole last line", "no newline at the end"])
def test_others_who_wrote_meanwhile_neither_void_the_plan_nor_hide_what_it_shows(
    world: World, tool: UpdateTicket, newline: bool
) -> None:
    if not newline:
        world.path.write_text(world.text().removesuffix("\n"))
    made = plan(tool, status="closed", comment="Bye.")
    world.comment("Me too.")
    forged = replace(made, diff=made.diff.replace("+Bye.", "+Hello."))
    assert isinstance(anyio.run(tool.execute, forged, action(1)), Failed)
    assert isinstance(anyio.run(tool.execute, made, action(2)), Succeeded)


@pytest.mark.parametrize(
    ("forged", "named"),
    [
        ({"target": "tickets:ops/OPS-2"}, "target"),
        ({"environment": "staging"}, "environment"),
        ({"effects": Effects(files_changed=1, lines_changed=8)}, "effects"),
        ({"view": {"status": "closed", "comment": False, "recipients": 3}}, "view"),
        ({"summary": "Comment on OPS-1 (3 watchers)"}, "summary"),
        ({"diff": ""}, "diff"),
    ],
)
def test_a_plan_that_shows_something_else_than_it_does_is_not_executed(
    world: World, tool: UpdateTicket, forged: dict[str, Any], named: str
) -> None:
    before = world.text()
    outcome = anyio.run(tool.execute, replace(plan(tool, status="closed", comment="Bye."), **forged), action(1))
    assert outcome == Failed(
        f"the plan does something else than it shows ({named} would be different); nothing was done"
    )
    assert (world.text(), world.marks()) == (before, {})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("+Bye.", "+Hello."),
        ("OPS-1.md", "OPS-2.md"),
        ("+## Comment by <principal>", " ## Comment by <principal>"),
        ("@@ -1,7", "@@ -1,0 +1,0 @@\ndiff --git a/x b/x\n@@ -1,7"),
    ],
)
def test_a_diff_that_shows_another_change_is_not_executed(
    world: World, tool: UpdateTicket, old: str, new: str
) -> None:
    made = plan(tool, status="closed", comment="Bye.")
    assert old in made.diff
    outcome = anyio.run(tool.execute, replace(made, diff=made.diff.replace(old, new)), action(1))
    assert isinstance(outcome, Failed)
    assert "(diff would be different)" in outcome.reason


@pytest.mark.parametrize(
    "change",
    [{"comment": "Hello."}, {"comment": "/deploy now"}, {"status": "nonsense"}, {"status": None}, {"comment": None}],
)
def test_a_change_that_is_not_the_one_shown_is_not_executed(
    world: World, tool: UpdateTicket, change: dict[str, Any]
) -> None:
    made, before = plan(tool, status="closed", comment="Bye."), world.text()
    outcome = anyio.run(perform, tool, replace(made, change={**made.change, **change}), action(1))
    assert isinstance(outcome, Failed | Stale)
    assert world.text() == before


def test_another_back_end_than_the_reviewed_one_is_never_touched(world: World, tool: UpdateTicket) -> None:
    made, before = plan(tool, status="closed"), world.text()
    other = replace(made, backend=replace(made.backend, location="/elsewhere"))
    assert anyio.run(tool.execute, other, action(1)) == Stale(
        ("the tracker is declared as another system than the one that was reviewed",)
    )
    assert isinstance(anyio.run(tool.probe, other, action(1)), CannotTell)
    assert world.text() == before


def test_a_tracker_that_is_not_declared_any_more_cannot_be_told(tool: UpdateTicket) -> None:
    made, emptied = plan(tool, status="closed"), TOOL({})
    assert isinstance(anyio.run(emptied.probe, made, action(1)), CannotTell)
    with pytest.raises(ConnectorError, match='tracker "ops" is not declared'):
        anyio.run(emptied.execute, made, action(1))


def test_a_probe_of_what_never_ran_settles_it(tool: UpdateTicket) -> None:
    assert isinstance(anyio.run(tool.probe, plan(tool, comment="Hello."), action(1)), CannotHappen)


def test_a_ticket_is_found_in_the_one_tracker_that_holds_it(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = TicketFolder(name="dev", folder=tmp_path / "other")
    tool = TOOL({"ops": world.port, "dev": other})
    assert plan(tool, status="closed").target == "tickets:ops/OPS-1"
    with pytest.raises(ConnectorError, match='ticket "OPS-2" is in no declared tracker'):
        plan(tool, ticket="OPS-2", status="closed")
    shutil.copy(world.path, tmp_path / "other")
    with pytest.raises(ConnectorError, match="is in several trackers: dev, ops"):
        plan(tool, status="closed")
    assert plan(tool, tracker="dev", status="closed").target == "tickets:dev/OPS-1"
    with pytest.raises(ConnectorError, match='tracker "sales" is not declared'):
        plan(tool, tracker="sales", status="closed")
