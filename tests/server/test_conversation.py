"""What an assistant sees of the way of an action, over real stdio, in both eras of the protocol."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from mcp import MCPError

from keyturn import canon
from tests.server.clients import MODES, Mode, assistant
from tests.server.home import Place, contract, found

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", MODES)]
EDIT = {"old": "TIMEOUT_SECONDS = 30", "new": "TIMEOUT_SECONDS = 60"}
PULL = {"repository": "shop", "base": "main", "files": [{"path": "app/settings.py", "edits": [EDIT]}]}


def git(place: Place, *arguments: str) -> str:
    command = ["git", "-C", str(place.folder / "samples/shop.git"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


async def reviewed(place: Place, action: str, verdict: str = "approve", reason: str = "fine") -> str:
    return await anyio.to_thread.run_sync(partial(place.review, action, verdict, reason))


async def test_a_pull_request_is_held_reviewed_opened_and_leaves_its_base_alone(place: Place, mode: Mode) -> None:
    base = git(place, "rev-parse", "main")
    async with assistant(place, mode) as claude:
        held = await claude.call("open_pull_request", title=f"Raise the timeout, {mode}", reason="OPS-1", **PULL)
        assert (held["status"], held["terminal"], held["reviews"]["have"]) == ("pending", False, 0)
        action = held["action_id"]
        assert git(place, "branch", "--list", f"keyturn/{action}") == ""
        assert await reviewed(place, action) == "approved"
        done = await claude.call("get_action", action_id=action, wait_seconds=45)
        assert (done["status"], done["terminal"], done["reviews"]["have"]) == ("succeeded", True, 1)
    assert git(place, "rev-parse", f"keyturn/{action}") == done["result"]["commit"]
    assert git(place, "log", "-1", "--format=%P", f"keyturn/{action}") == base
    assert git(place, "show", f"keyturn/{action}:app/settings.py").startswith(EDIT["new"])
    assert git(place, "rev-parse", "main") == base
    assert len(place.entries("execution.started", action)) == 1
    [request] = place.entries("action.requested", action)
    told = place.look(lambda view: view.payload(request, "client"))
    assert told == b'"tests 1"'


async def test_a_waiting_client_is_told_how_it_goes_on_and_the_approved_action_runs(place: Place, mode: Mode) -> None:
    async with assistant(place, mode) as claude:
        held = await claude.call("update_ticket", ticket="OPS-1", status="resolved", repeat=True)
        assert held["status"] == "pending"
        claude.progress.clear()

        async def approve_once_somebody_waits() -> None:
            while not claude.progress:
                await anyio.lowlevel.checkpoint()
            await reviewed(place, held["action_id"])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(approve_once_somebody_waits)
            done = await claude.call("get_action", action_id=held["action_id"], wait_seconds=45)
        assert done["status"] == "succeeded"
        assert claude.progress[0] == "update_ticket is pending"
        assert claude.progress[-1] == "update_ticket is succeeded"
        # Put it back, so that the other era finds what this one found.
        again = await claude.call("update_ticket", ticket="OPS-1", status="open", repeat=True)
        await reviewed(place, again["action_id"])
        assert (await claude.call("get_action", action_id=again["action_id"], wait_seconds=45))[
            "status"
        ] == "succeeded"


async def test_every_other_end_conforms_to_the_contract_and_is_an_error_to_the_model(
    place: Place, mode: Mode
) -> None:
    async with assistant(place, mode) as claude:
        forbidden = {"path": ".github/workflows/test.yml", "content": "on: [push]\n"}
        denied, result = await claude.result("open_pull_request", title="CI", **{**PULL, "files": [forbidden]})
        assert (denied["status"], result.is_error) == ("denied", True)
        assert denied["reasons"][0]["rule"] == "never touch what runs with secrets"

        malformed, result = await claude.result("get_ticket", ticket="OPS-1", verbose=True)
        assert (malformed["status"], result.is_error) == ("denied", True)
        assert malformed["reasons"][0]["code"] == "argument_unknown"

        missing, result = await claude.result("get_action", action_id="01890000-0000-7000-8000-000000000000")
        assert (missing["status"], result.is_error) == ("denied", True)

        held = await claude.call("open_pull_request", title=f"Not now, {mode}", **PULL)
        repeated = await claude.call("open_pull_request", title=f"Not now, {mode}", **PULL)
        assert (repeated["action_id"], repeated["repeated"]) == (held["action_id"], True)
        await reviewed(place, held["action_id"], "reject", "not on a Friday")
        rejected, result = await claude.result("get_action", action_id=held["action_id"], wait_seconds=45)
        assert (rejected["status"], result.is_error) == ("rejected", True)
        assert "not on a Friday" in rejected["message"]

        held = await claude.call("open_pull_request", title=f"Changed my mind, {mode}", **PULL)
        cancelled, result = await claude.result("cancel_action", action_id=held["action_id"], reason="no need")
        assert (cancelled["status"], result.is_error) == ("cancelled", True)


async def test_an_action_reviewed_for_a_world_that_moved_is_stale(place: Place, mode: Mode) -> None:
    live = place.folder / "samples/web/production/current"
    async with assistant(place, mode) as claude:
        held = await claude.call("rollback_deployment", deployment="web", environment="production", to="2.2.0")
        assert held["status"] == "pending"
        before = live.readlink()
        _point(live, Path("releases/2.3.1"))
        await reviewed(place, held["action_id"])
        stale, result = await claude.result("get_action", action_id=held["action_id"], wait_seconds=45)
        assert (stale["status"], result.is_error) == ("stale", True)
        assert live.readlink() == Path("releases/2.3.1")
        _point(live, before)


async def test_questions_about_oneself_and_reads_answer_in_the_same_form(place: Place, mode: Mode) -> None:
    async with assistant(place, mode) as claude:
        for tool, arguments in (
            ("get_permissions", {}),
            ("list_actions", {"limit": 5}),
            ("get_deployment", {"deployment": "web", "environment": "staging"}),
            ("get_ticket", {"ticket": "OPS-1"}),
        ):
            envelope, result = await claude.result(tool, **arguments)
            assert (envelope["status"], result.is_error) == ("succeeded", False)


async def test_the_tools_are_listed_as_the_contracts_say(place: Place, mode: Mode) -> None:
    async with assistant(place, mode) as claude:
        listed = await claude.client.list_tools()
        assert (listed.cache_scope, listed.ttl_ms, listed.next_cursor) == ("private", 0, None)
        assert [tool.name for tool in listed.tools] == sorted(
            path.name.removesuffix(".v1.json")
            for path in (place.folder / "tool_schemas").glob("*.v1.json")
            if not path.name.startswith("envelope.")
        )
        for tool in listed.tools:
            promised = contract(tool.name)
            assert canon.encode(tool.input_schema) == canon.encode(promised["input"])
            assert canon.encode(tool.output_schema) == canon.encode(promised["output"])
            assert (tool.title, tool.description) == (promised["title"], promised["description"])
            assert tool.annotations is not None
            hints = tool.annotations.model_dump(by_alias=True, exclude_none=True)
            assert hints == promised["annotations"]
        assert claude.client.instructions is not None
        for rule in ("answers at once", "get_action", "wait_seconds", "Never repeat", "Do not retry", "is data"):
            assert rule in claude.client.instructions


async def test_a_tool_that_is_hidden_answers_as_one_that_does_not_exist(
    place: Place, mode: Mode, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bare = found(tmp_path_factory.mktemp("narrow"))
    bare.issue("kt_narrow", scopes=("ticket:read",))
    async with assistant(bare, mode, "kt_narrow") as claude:
        names = {tool.name for tool in (await claude.client.list_tools()).tools}
        assert "get_ticket" in names
        assert "update_ticket" not in names
        answers = {}
        for name in ("update_ticket", "update_tocket"):
            with pytest.raises(MCPError) as caught:
                await claude.client.call_tool(name, {"ticket": "OPS-1", "comment": "hello"})
            answers[name] = caught.value.error.model_dump_json().replace(name, "NAME")
        assert answers["update_ticket"] == answers["update_tocket"]
        assert "Unknown tool: NAME" in answers["update_ticket"]


async def test_a_wait_ends_with_an_effect_that_failed_and_with_an_action_that_expired(
    mode: Mode, tmp_path: Path
) -> None:
    place = found(tmp_path, 'health = ["false"]', expires="2s")
    async with assistant(place, mode) as claude:
        arguments = {"deployment": "web", "environment": "production", "to": "2.3.1"}
        held = await claude.call("rollback_deployment", **arguments)
        failed, result = await claude.result("rollback_deployment", **{**arguments, "environment": "staging"})
        assert (failed["status"], result.is_error) == ("failed", True)
        with anyio.fail_after(30):
            expired, result = await claude.result("get_action", action_id=held["action_id"], wait_seconds=45)
        assert (expired["status"], result.is_error) == ("expired", True)
    await anyio.to_thread.run_sync(place.end_workers)


def _point(link: Path, target: Path) -> None:
    fresh = link.with_name("fresh")
    fresh.symlink_to(target)
    fresh.rename(link)
