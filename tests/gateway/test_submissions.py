"""What was submitted counts, whatever became of it: who is refused all the time is refused sooner."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from tests.gateway.test_freezes import freeze_from, override
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


SHADOW = """
[[grants]]
id = "in shadow"
mode = "shadow"
principals = ["group:assistants"]
tool = "update_ticket"
contract = "v1 sha256:5cab7e20aa7764fca1dcb5a89458d1df37715ea889fcecfca9ff2fd6a1fdb081"
"""
ONCE_PLANNED = (
    'where = { "arguments.status" = { exists = false } }',
    'where = { environment = "tracker", "arguments.status" = { exists = false } }',
)


def comments(world: World, count: int) -> list[str]:
    return [str(world.comment(f"Hello {number}.").envelope["status"]) for number in range(count)]


def test_a_shadow_grant_lets_nobody_submit_more(world: World) -> None:
    world.activate((MARK, CAP.format(count=2) + SHADOW + MARK), ONCE_PLANNED)
    assert comments(world, 4) == ["succeeded", "succeeded", "denied", "denied"]


def test_what_is_counted_by_what_only_a_plan_tells_is_counted(world: World) -> None:
    for per in ("environment", "target"):
        capped(world, 2, per)
        assert comments(world, 4) == ["succeeded", "succeeded", "denied", "denied"]
        world.clock.run(hours=2)
        world.activate((CAP.format(count=2).replace("per hour", f"per hour per {per}"), ""))


def test_submissions_of_some_environments_are_counted(world: World) -> None:
    text = CAP.format(count=2) + 'environments = ["tracker"]\n'
    world.activate((MARK, text + MARK))
    assert comments(world, 4) == ["succeeded", "succeeded", "denied", "denied"]


def test_a_grants_own_limit_of_submissions_counts_beside_another_grant(world: World) -> None:
    own = SHADOW.replace("shadow", "live").replace("in live", "more") + 'where = { environment = "tracker" }\n'
    world.activate((MARK, own + 'limits = ["2 submissions per hour"]\n' + MARK), ONCE_PLANNED)
    assert comments(world, 4) == ["succeeded", "succeeded", "denied", "denied"]


def test_what_was_submitted_may_begin_when_nothing_more_may_be_submitted(world: World) -> None:
    capped(world, 1)
    held = world.held()
    world.approve(held)
    world.drain()
    assert world.status(held) == "succeeded"


def test_a_freeze_that_is_set_aside_refuses_nothing_where_submissions_are_counted(world: World) -> None:
    capped(world, 9)
    freeze_from(world, timedelta(hours=-1), timedelta(hours=2))
    assert comments(world, 1) == ["denied"]
    override(world, timedelta(hours=1))
    assert comments(world, 1) == ["succeeded"]
