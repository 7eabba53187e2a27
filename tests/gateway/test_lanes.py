"""Lanes on a real home: the approval of the environment, the tools it allows, and whom a ticket may tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keyturn.verifier import verify_ledger
from tests.gateway.world import STAGING, World

TRACKER = 'targets = ["tickets:ops/*"]'
GROUP = '{ quorum = 1, from = ["group:sre"], expires = "1h" }'


def laned(world: World, **lane: str) -> None:
    """Put the tracker and staging into a lane."""
    path = world.home.folder / "policy.toml"
    lines = "\n".join(f"{key} = {value}" for key, value in lane.items())
    path.write_text(f"{path.read_text()}\n[lanes.red]\n{lines}\n")
    staging = 'targets = ["deployments:web/staging"]'
    world.activate(*((targets, f'{targets}\nlane = "red"') for targets in (TRACKER, staging)))


def watch(world: World, *names: str) -> None:
    path = world.home.folder / "samples/tickets/OPS-1.md"
    path.write_text(path.read_text().replace("[sre@example.org]", f"[{', '.join(names)}]"))


def codes(envelope: Any) -> list[str]:
    return [reason["code"] for reason in envelope["reasons"]]


@pytest.fixture(autouse=True)
def _provable(world: World) -> Iterator[None]:
    """Whatever a test does, its decisions can be derived once more from the ledger."""
    yield
    report = verify_ledger(world.home.place.database)
    assert (report.verdict, report.first_bad) == ("PASS-UNANCHORED", None)


def test_a_comment_that_no_grant_holds_is_held_by_the_lane(world: World) -> None:
    laned(world, approval=GROUP)
    answer = world.comment("Looking.").envelope
    assert answer["status"] == "pending"
    action = str(answer["action_id"])
    world.approve(action)
    world.drain()
    assert (world.status(action), "Looking." in world.ticket) == ("succeeded", True)
    [request] = world.entries("action.requested")
    facts: Any = request.facts
    assert [due["rule"] for due in facts["obligations"]] == ["lanes.red"]


def test_reading_there_goes_on(world: World) -> None:
    laned(world, approval=GROUP)
    assert world.call("get_ticket", ticket="OPS-1").envelope["status"] == "succeeded"


def test_a_tool_that_the_lane_does_not_allow_is_refused(world: World) -> None:
    laned(world, tools='["update_ticket", "get_ticket"]')
    answer = world.call("rollback_deployment", **STAGING).envelope
    assert (answer["status"], codes(answer)) == ("denied", ["lane"])
    assert world.comment("Looking.").envelope["status"] == "succeeded"


def test_whoever_watches_a_ticket_must_be_one_that_the_lane_lets_be_told(world: World) -> None:
    laned(world, recipients='["*@example.org"]')
    assert world.comment("Looking.").envelope["status"] == "succeeded"
    watch(world, "sre@example.org", "eve@elsewhere.example")
    answer = world.comment("And again.").envelope
    assert (answer["status"], codes(answer)) == ("denied", ["lane"])
    assert "does not let 1 of the 2 be told" in str(answer["message"])
    assert "elsewhere" not in str(answer)


def test_who_watches_only_since_the_review_is_told_nothing(world: World) -> None:
    laned(world, recipients='["*@example.org"]', approval=GROUP)
    action = str(world.comment("Looking.").envelope["action_id"])
    world.approve(action)
    watch(world, "eve@elsewhere.example")
    world.drain()
    assert world.status(action) == "failed"
    assert "Looking." not in world.ticket


def test_a_lane_that_a_later_policy_has_asks_for_its_approval_at_the_claim(world: World) -> None:
    world.executing = False
    action = str(world.comment("Looking.").envelope["action_id"])
    laned(world, approval=GROUP)
    world.drain()
    envelope = world.envelope(action)
    assert envelope["status"] == "stale"
    assert "lanes.red" in str(envelope["message"])
