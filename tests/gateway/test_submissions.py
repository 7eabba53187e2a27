"""What was submitted counts, whatever became of it: who is refused all the time is refused sooner."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.gateway.world import PULL_REQUEST, STAGING, World

CAP = """
[[limits]]
id = "submissions"
limits = ["{count} submissions per hour"]
"""
MARK = "# A forbid beats every grant."


def capped(world: World, count: int, per: str = "principal") -> None:
    text = CAP.format(count=count).replace("per hour", f"per hour per {per}")
    world.activate((MARK, text + MARK))


def code(world: World, tool: str, principal: str = "claude", **arguments: Any) -> str:
    reasons: Any = world.call(tool, principal, **arguments).envelope["reasons"]
    return str(reasons[0]["code"]) if reasons else ""


def test_requests_and_refusals_count_alike_and_nothing_gives_them_back(world: World) -> None:
    capped(world, 3)
    held = world.held()
    world.review(held, verdict="reject", reason="no")
    assert code(world, "open_pull_request", **{**PULL_REQUEST, "repository": "none"}) != "limit"
    assert code(world, "update_ticket", ticket="OPS-99", comment="x") != "limit"
    assert code(world, "rollback_deployment", **STAGING) == "limit"
    world.clock.run(hours=1, minutes=1)
    assert world.call("rollback_deployment", **STAGING).envelope["status"] == "succeeded"


def test_an_owners_assistants_share_what_is_counted_per_owner(world: World) -> None:
    capped(world, 1, "owner")
    world.held()
    assert code(world, "rollback_deployment", **STAGING) == "limit"
    assert code(world, "rollback_deployment", "codex", **STAGING) != "limit"


def test_asking_again_for_what_waits_is_no_submission(world: World) -> None:
    capped(world, 2)
    held = world.held()
    for _ in range(5):
        assert world.held() == held
    assert world.comment("Hello.").envelope["status"] == "succeeded"


def test_many_at_once_submit_exactly_as_many_as_they_may(world: World) -> None:
    capped(world, 5)
    world.executing = False

    def ask(number: int) -> str:
        gate = world.open(f"process {number}")
        try:
            other = World.__new__(World)
            other.__dict__.update(world.__dict__)
            other.gate = gate
            return str(other.comment(f"Hello {number}.").envelope["status"])
        finally:
            gate.close()

    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(ask, range(16)))
    assert len(world.entries("action.requested")) == 5
    assert states.count("denied") == 11
