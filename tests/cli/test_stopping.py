"""Suspending and resuming on a real terminal: what was cancelled, what runs on, and what waits."""

from __future__ import annotations

import pytest

from keyturn.assembly.administration import hindrance_of
from keyturn.gateway.claim import claim_ready
from tests.cli.operator import tell
from tests.cli.test_terminal import bare, shown
from tests.gateway.test_claim import ONE_REVIEW
from tests.gateway.world import World


def test_a_suspension_lists_what_it_cancels_and_what_runs_on(world: World) -> None:
    running = world.held()
    world.approve(running)
    assert [claimed.action.id for claimed in claim_ready(world.gate, world.executor, 1)] == [running]
    waiting = world.held(title="Another title")
    screen = bare(shown(world, "suspend", "--all", "--read-only", "-m", "let us look"))
    assert "✓ everything is read-only (entry" in screen
    assert f"{waiting[-6:]}  waits" in screen
    assert f"{running[-6:]}  running, and not stopped by this" in screen
    screen = bare(shown(world, "suspend", "--all", "-m", "it is bad"))
    assert f"{waiting[-6:]}  cancelled" in screen
    assert "was suspended already" in bare(shown(world, "suspend", "--all", "-m", "it is bad"))


def test_an_approval_names_the_suspension_that_the_action_waits_for(world: World) -> None:
    waiting = world.held()
    shown(world, "suspend", "--principal", "claude", "--read-only", "-m", "let us look")
    key = str(world.keys["carol"])
    screen = bare(shown(world, "approve", waiting, "--key", key))
    assert "approved; it waits until principal claude is resumed." in screen
    assert "it runs now" not in screen


def test_an_approval_of_what_the_policy_in_force_refuses_says_that_it_will_not_run(world: World) -> None:
    waiting = world.held()
    world.activate(
        (
            'limits = ["20 calls per hour", "2000 lines_changed per day", "5 pending"]',
            'where = { environment = "staging" }',
        )
    )
    screen = bare(shown(world, "approve", waiting, "--key", str(world.keys["carol"])))
    assert "approved; it will not run: the policy in force: " in screen
    assert "it runs now" not in screen


def test_what_is_stale_by_now_is_not_said_to_run(world: World) -> None:
    waiting = world.held()
    world.approve(waiting)
    assert hindrance_of(world.home, waiting) is None
    world.activate(ONE_REVIEW)
    assert hindrance_of(world.home, waiting) == (
        "stale",
        "the policy in force asks for more: assistants open pull requests: 1 of 2 approvals",
    )
    world.drain()
    assert hindrance_of(world.home, waiting) == ("over", "it is stale by now")


def test_a_resumption_says_who_signed(world: World) -> None:
    shown(world, "suspend", "--tool", "update_ticket", "-m", "let us look")
    key = str(world.keys["carol"])
    screen = bare(shown(world, "resume", "--tool", "update_ticket", "-m", "all is well", "--key", key))
    assert "tool update_ticket may go on (entry" in screen
    assert "signed by carol" in screen


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_a_name_that_no_entry_takes_is_a_usage_error(world: World, name: str) -> None:
    said = tell("--home", world.home.folder, "suspend", "--principal", name, "-m", "let us look")
    assert said.code == 2
    assert "1 to 100 characters" in said.err


def test_a_tool_by_which_assistants_only_ask_about_their_own_actions_is_not_said_to_be_suspended(
    world: World,
) -> None:
    said = tell("--home", world.home.folder, "suspend", "--tool", "list_actions", "-m", "let us look")
    assert said.code == 5
    assert "no tool 'list_actions'" in said.err
    assert "update_ticket" in said.err
    tell("--home", world.home.folder, "suspend", "--all", "-m", "let us look")
    assert world.call("list_actions").envelope["status"] == "succeeded"
