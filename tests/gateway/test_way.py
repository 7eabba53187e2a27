"""The whole way of each tool, on real files."""

from __future__ import annotations

import subprocess

import anyio

from tests.gateway.world import PRODUCTION, PULL_REQUEST, STAGING, World, result


def git(world: World, *arguments: str) -> str:
    repository = world.home.folder / "samples/shop.git"
    done = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_comment_runs_by_itself_and_is_read_back(world: World) -> None:
    answer = world.comment("Looking into it.")
    assert (answer.is_error, answer.envelope["status"], answer.envelope["terminal"]) == (False, "succeeded", True)
    assert "Looking into it." in world.ticket
    assert world.kinds()[-3:] == ["action.requested", "execution.started", "execution.finished"]
    assert answer.receipt == world.entries()[-1]


def test_a_staging_rollback_runs_by_itself(world: World) -> None:
    answer = world.call("rollback_deployment", **STAGING)
    assert answer.envelope["status"] == "succeeded"
    assert result(answer)["to"] == "2.3.1"
    assert (world.live("staging"), world.live("production")) == ("2.3.1", "2.4.0")


def test_a_production_rollback_waits_for_a_person(world: World) -> None:
    answer = world.call("rollback_deployment", **PRODUCTION)
    assert (answer.is_error, answer.envelope["status"]) == (False, "pending")
    assert answer.envelope["reviews"] == {"have": 0, "need": 1, "from": ["group:sre"]}
    assert world.live("production") == "2.4.0"
    reviewed = world.approve(str(answer.envelope["action_id"]))
    assert (reviewed.status, reviewed.have, reviewed.need) == ("approved", 1, 1)
    world.drain()
    assert world.live("production") == "2.3.1"
    assert world.status(str(answer.envelope["action_id"])) == "succeeded"


def test_a_reviewed_pull_request_becomes_a_commit_beside_an_untouched_base(world: World) -> None:
    base = git(world, "rev-parse", "main")
    action = world.held()
    world.approve(action)
    world.drain()
    envelope = world.envelope(action)
    assert envelope["status"] == "succeeded"
    assert git(world, "rev-parse", f"keyturn/{action}").strip() == envelope["result"]["commit"]
    assert "TIMEOUT_SECONDS = 60" in git(world, "show", f"keyturn/{action}:app/settings.py")
    assert git(world, "rev-parse", "main") == base


def test_ones_own_pull_request_is_read_and_updated(world: World) -> None:
    opened = world.held()
    world.approve(opened)
    world.drain()
    update = world.call(
        "update_pull_request", action_id=opened, files=[{"path": "NOTES.md", "content": "More to say.\n"}]
    )
    assert update.envelope["status"] == "pending"
    world.approve(str(update.envelope["action_id"]))
    world.drain()
    assert world.status(str(update.envelope["action_id"])) == "succeeded"
    assert result(world.call("get_pull_request", action_id=opened))["commits"] == 2
    assert world.entries()[-1].kind == "read.served"


def test_somebody_elses_pull_request_is_unknown_to_tools(world: World) -> None:
    opened = world.held()
    world.approve(opened)
    world.drain()
    for tool, more in (("get_pull_request", {}), ("update_pull_request", {"files": PULL_REQUEST["files"]})):
        answer = world.call(tool, "codex", action_id=opened, **more)
        assert answer.envelope["status"] == "denied"
        assert "is not one of yours" in str(answer.envelope["message"])


def test_a_read_is_an_entry_before_its_result_leaves(world: World) -> None:
    for tool, arguments in (
        ("get_ticket", {"ticket": "OPS-1"}),
        ("get_deployment", {"deployment": "web", "environment": "staging"}),
    ):
        answer = world.call(tool, **arguments)
        assert (answer.envelope["status"], answer.is_error) == ("succeeded", False)
        assert answer.receipt == world.entries()[-1]
        assert world.entries()[-1].kind == "read.served"


def test_waiting_for_a_permitted_action_reports_its_states(world: World) -> None:
    seen: list[str] = []

    async def report(_action: object, state: str) -> None:
        seen.append(state)

    async def ask() -> None:
        await world.calling("update_ticket", {"ticket": "OPS-2", "comment": "Soon."}, report=report)

    anyio.run(ask)
    assert seen == ["succeeded"]


def test_without_a_worker_a_permitted_action_stays_approved_until_somebody_asks_again(world: World) -> None:
    world.executing = False
    answer = world.comment("Later.")
    assert (answer.envelope["status"], answer.is_error) == ("approved", False)
    assert "Later." not in world.ticket
    world.executing = True
    assert world.status(str(answer.envelope["action_id"])) == "succeeded"
    assert "Later." in world.ticket
