"""The whole way of an action over HTTP, in both eras, for several assistants and several servers on one home."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import httpx2
import pytest

from tests.server.clients import MODES, Mode, assistant
from tests.server.home import Place, found, until
from tests.server.web import Session, Site, call, message_of, site, web_assistant

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A home with two assistants."""
    place = found(tmp_path_factory.mktemp("http"), others=["codex"])
    yield place
    place.end_workers()


@pytest.fixture(scope="module")
def running(place: Place) -> Iterator[Site]:
    """One server for the module; afterwards it ends in order, has said nothing and started no worker."""
    with site(place) as running:
        yield running
        assert place.workers() == []
        assert running.stop() == 0
        assert running.said() == []


@pytest.mark.parametrize("mode", MODES)
async def test_a_held_action_goes_its_whole_way(running: Site, mode: Mode) -> None:
    ticket = {"auto": "OPS-1", "legacy": "OPS-2"}[mode]
    async with web_assistant(running, mode, running.place.token) as claude:
        tools = {tool.name for tool in (await claude.client.list_tools()).tools}
        assert {"update_ticket", "get_action", "rollback_deployment"} <= tools
        held = await claude.call("update_ticket", ticket=ticket, status="closed")
        assert held["status"] == "pending"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(anyio.to_thread.run_sync, running.place.review, held["action_id"]))
            done = await claude.call("get_action", action_id=held["action_id"], wait_seconds=45)
        assert done["status"] == "succeeded"
        assert claude.progress[0] == "update_ticket is pending"
    text = (running.place.folder / f"samples/tickets/{ticket}.md").read_text()
    assert "status: closed" in text
    [requested] = running.place.entries("action.requested", held["action_id"])
    assert requested.facts["transport"] == "http"
    assert len(running.place.entries("execution.finished", held["action_id"])) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_permitted_action_is_done_when_the_call_returns(running: Site, mode: Mode) -> None:
    async with web_assistant(running, mode, running.place.token) as claude:
        done = await claude.call("update_ticket", ticket="OPS-1", comment=f"from {mode}")
        assert done["status"] == "succeeded"
        read = await claude.call("get_ticket", ticket="OPS-1")
        assert f"from {mode}" in json.dumps(read)


async def test_two_assistants_do_not_see_each_others_actions(running: Site) -> None:
    tokens = running.place.tokens
    async with (
        web_assistant(running, "auto", tokens["claude"]) as claude,
        web_assistant(running, "legacy", tokens["codex"]) as codex,
    ):
        mine = await claude.call("update_ticket", ticket="OPS-3", status="in progress")
        other = await codex.client.call_tool("get_action", {"action_id": mine["action_id"], "wait_seconds": 0})
        unknown = await codex.client.call_tool(
            "get_action", {"action_id": "01900000-0000-7000-8000-000000000000", "wait_seconds": 0}
        )
        assert other.structured_content is not None
        assert unknown.structured_content is not None
        codes = [[why["code"] for why in each.structured_content["reasons"]] for each in (other, unknown)]
        assert codes == [["not_found"], ["not_found"]]
        assert mine["action_id"] not in json.dumps(await codex.call("list_actions"))
        assert mine["action_id"] in json.dumps(await claude.call("list_actions"))
        permissions = await codex.call("get_permissions")
        assert permissions["result"]["principal"] == "codex"


def test_a_revoked_token_stops_at_once_and_ends_what_waits(running: Site) -> None:
    token = "kt_revoked_in_the_middle"
    running.place.issue(token, transports=("http",))
    session = Session(running, token)
    held = message_of(session.post(call("update_ticket", ticket="OPS-2", comment="x", status="resolved")))
    action = held["result"]["structuredContent"]["action_id"]
    with running.client(token) as client:
        waiting = call("get_action", action_id=action, wait_seconds=45)
        with client.stream("POST", running.url, json=waiting, headers=session.headers()) as stream:
            running.place.revoke(token)
            with pytest.raises(httpx2.RemoteProtocolError):  # cut in the middle, before any answer
                stream.read()
    assert session.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).status_code == 401
    assert running.call(token, "get_permissions").status_code == 401
    # The session is gone with its token: even its number is not known any more.
    again = "kt_issued_afterwards"
    running.place.issue(again, transports=("http",))
    assert session.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, token=again).status_code == 404


def test_a_session_serves_only_the_token_that_opened_it(running: Site) -> None:
    session = Session(running, running.place.tokens["claude"])
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    assert session.post(listing).status_code == 200
    second = "kt_second_of_the_same_principal"
    running.place.issue(second, transports=("http",))
    for other in (running.place.tokens["codex"], second):
        assert session.post(listing, token=other).status_code == 404
    assert session.end().status_code == 200
    assert session.post(listing).status_code == 404


def test_a_principals_label_is_never_its_identity(running: Site) -> None:
    meta = {"io.modelcontextprotocol/clientInfo": {"name": "codex", "version": "1"}}
    message = call("get_permissions")
    message["params"]["_meta"] = {**message["params"]["_meta"], **meta}
    answer = message_of(running.post(running.place.tokens["claude"], message))
    assert answer["result"]["structuredContent"]["result"]["principal"] == "claude"


def test_a_tool_the_caller_may_not_see_answers_like_an_unknown_one(running: Site) -> None:
    token = "kt_reads_only"
    running.place.issue(token, transports=("http",), scopes=("ticket:read",))
    hidden = message_of(running.call(token, "rollback_deployment", deployment="web"))
    unknown = message_of(running.call(token, "no_such_tool", deployment="web"))
    assert hidden["error"]["message"].replace("rollback_deployment", "no_such_tool") == unknown["error"]["message"]
    assert hidden["error"]["code"] == unknown["error"]["code"]


async def test_several_servers_on_one_home_run_an_action_once(place: Place, running: Site) -> None:
    with site(place) as second:
        async with (
            web_assistant(running, "auto", place.token) as one,
            web_assistant(second, "legacy", place.token) as two,
            assistant(place, "legacy") as three,
        ):
            held = await one.call("rollback_deployment", deployment="web", environment="production", to="2.3.1")
            action = held["action_id"]
            assert (await two.call("get_action", action_id=action, wait_seconds=0))["status"] == "pending"
            place.review(action)
            seen = [await each.call("get_action", action_id=action, wait_seconds=45) for each in (two, three, one)]
            assert {envelope["status"] for envelope in seen} == {"succeeded"}
        assert second.stop() == 0
        assert second.said() == []
    assert len(place.entries("execution.started", action)) == 1
    assert (place.folder / "samples/web/production/history.jsonl").read_text().count(action) == 1


CALL = {"deployment": "web", "environment": "staging", "to": "2.3.1"}


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Place]:
    """A home whose rollbacks last until the file `go` is there."""
    check = f"until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    place = found(tmp_path, f'health = ["sh", "-c", "{check}"]')
    yield place
    (tmp_path / "go").touch()


async def _begin(running: Site) -> str:
    """Ask for a rollback that is permitted, and return its id once it runs; the caller hangs up."""
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            async with web_assistant(running, "auto", running.place.token) as claude:
                await claude.client.call_tool("rollback_deployment", CALL)

        tasks.start_soon(ask)
        [started] = await anyio.to_thread.run_sync(until, lambda: running.place.entries("execution.started"))
        tasks.cancel_scope.cancel()
    return str(started.action)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_in_the_middle_of_an_effect_waits_for_it_and_answers_those_who_wait(
    slow: Place, number: signal.Signals
) -> None:
    with site(slow) as running:
        action = await _begin(running)
        answers: list[str] = []
        asking: list[Mode] = []

        async def wait_for_it(mode: Mode) -> None:
            async with web_assistant(running, mode, slow.token) as claude:
                asking.append(mode)
                answers.append((await claude.call("get_action", action_id=action, wait_seconds=45))["status"])

        with anyio.move_on_after(40):
            async with anyio.create_task_group() as tasks:
                for mode in MODES:
                    tasks.start_soon(wait_for_it, mode)
                while len(asking) < len(MODES):  # noqa: ASYNC110 - both have their session, and ask
                    await anyio.sleep(0.02)
                await anyio.sleep(1)
                running.process.send_signal(number)
        assert answers == ["running", "running"]
        with running.client(slow.token) as client:
            assert client.get(running.base("/healthz")).status_code == 200
            ready = client.get(running.base("/readyz"))
            assert (ready.status_code, ready.json()) == (503, {"status": "stopping"})
        assert running.call(slow.token, "get_permissions").status_code == 503
        running.process.send_signal(number)
        until(running.said)
        assert running.said() == ["keyturn: first finishing what runs, which is never cut short: 1"]
        assert running.process.poll() is None
        (slow.folder.parent / "go").touch()
        assert running.process.wait(30) == 0
    [finished] = slow.entries("execution.finished", action)
    assert (finished.text("outcome"), finished.facts["recovered"]) == ("succeeded", False)


async def test_what_goes_on_beyond_its_time_out_is_named_and_left_to_the_next_server(tmp_path: Path) -> None:
    go = tmp_path / "go"
    check = f"until [ -e {go} ]; do sleep 0.05; done"
    place = found(tmp_path, f'health = ["sh", "-c", "{check}"]', tables="\n[timeouts]\ndefault = 1\n")
    try:
        with site(place) as running:
            action = await _begin(running)
            envelope = running.envelope(place.token, "get_action", action_id=action, wait_seconds=45)
            assert envelope["status"] == "unknown"
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(20) == 1
            assert running.said() == [f"keyturn: left unfinished, to be settled by whoever executes next: {action}"]
    finally:
        go.touch()
    with site(place) as running:
        await anyio.to_thread.run_sync(until, lambda: place.entries("execution.resolved", action))
        assert running.stop() == 0
    [resolved] = place.entries("execution.resolved", action)
    assert (resolved.text("outcome"), resolved.text("method")) == ("succeeded", "probe")
    assert (place.folder / "samples/web/staging/history.jsonl").read_text().count(action) == 1


async def test_what_a_killed_server_began_is_settled_once_by_the_next(slow: Place) -> None:
    with site(slow) as running:
        action = await _begin(running)
        # Killed before the effect began, it would be proved that it never will.
        current = slow.folder / "samples/web/staging/current"
        await anyio.to_thread.run_sync(until, lambda: current.readlink().name == CALL["to"])
        running.process.kill()
        running.process.wait()
    assert slow.entries("execution.finished", action) == []
    (slow.folder.parent / "go").touch()
    with site(slow) as running:
        envelope = running.envelope(slow.token, "get_action", action_id=action, wait_seconds=45)
        assert envelope["status"] == "succeeded"
        assert running.stop() == 0
    [finished] = slow.entries("execution.finished", action)
    assert finished.facts["recovered"] is True
    assert (slow.folder / "samples/web/staging/history.jsonl").read_text().count(action) == 1


def test_a_ledger_that_cannot_be_trusted_is_told_to_the_call_that_met_it_and_ends_the_server(tmp_path: Path) -> None:
    place = found(tmp_path)
    with site(place) as running:
        assert running.envelope(place.token, "get_permissions")["status"] == "succeeded"
        database = place.home.place.database
        database.with_name(database.name + "-wal").unlink()
        database.write_bytes(b"no database at all" * 1000)
        answer = running.call(place.token, "get_permissions")
        assert answer.status_code in {200, 500, 503}
        assert "cannot be" in message_of(answer)["error"]["message"]
        assert running.process.wait(20) == 1
        assert any("keyturn audit verify" in line for line in running.said())
