"""A bridge to a real Keyturn on a socket: an assistant is governed as on stdio, whatever happens to the server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from keyturn.server.words import NOT_AUTHENTICATED
from tests.server.bridged import HELLO, READY, ask, bridge, call
from tests.server.clients import MODES, Assistant, Mode
from tests.server.home import SECONDS, Place, found, until

CHANGE = {
    "repository": "shop",
    "base": "main",
    "title": "Raise the timeout",
    "files": [{"path": "app/settings.py", "edits": [{"old": "TIMEOUT_SECONDS = 30", "new": "TIMEOUT_SECONDS = 60"}]}],
}


@dataclass
class Serving:
    """A home, and the server on its socket."""

    place: Place
    socket: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> str:
        return f"unix:{self.socket}"

    def start(self) -> None:
        command = [sys.executable, *self.place.serve("--socket", str(self.socket))]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until(self.socket.exists)

    def end(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(SECONDS) == 0
            self.process = None


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    place = found(tmp_path_factory.mktemp("bridged"))
    serving = Serving(place, place.folder.parent / "mcp.sock")
    serving.start()
    yield serving
    serving.end()
    place.end_workers()


@pytest.mark.anyio
@pytest.mark.parametrize("mode", MODES)
async def test_an_action_goes_its_whole_way_with_receipts_and_progress(serving: Serving, mode: Mode) -> None:
    place = serving.place
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "keyturn", "connect", serving.target],
        env={"KEYTURN_TOKEN": place.token},
    )
    async with Client(stdio_client(parameters), mode=mode, read_timeout_seconds=SECONDS) as client:
        assistant = Assistant(client, place)
        asked = await assistant.call("open_pull_request", **CHANGE, repeat=True, body=mode)
        assert asked["status"] == "pending"
        place.review(asked["action_id"])
        done = await assistant.call("get_action", action_id=asked["action_id"], wait_seconds=30)
        assert done["status"] == "succeeded"


def test_a_token_that_is_revoked_meanwhile_stops_counting_in_the_servers_own_words(serving: Serving) -> None:
    serving.place.issue("kt_for_a_moment", transports=("http",))
    with bridge(serving.target, token="kt_for_a_moment") as client:
        assert client.ask(ask(1, "tools/list", modern=True))["result"]["tools"]
        serving.place.revoke("kt_for_a_moment")
        error = client.ask(ask(2, "tools/list", modern=True))["error"]
        assert error["code"] == NOT_AUTHENTICATED
        assert "does not count here" in error["message"]
        assert "kt_for_a_moment" not in json.dumps(error) + client.said()


def test_a_session_goes_on_when_the_server_was_started_again(serving: Serving) -> None:
    with bridge(serving.target, token=serving.place.token) as client:
        assert client.ask(HELLO)["result"]["serverInfo"]["name"] == "keyturn"
        client.send(READY)
        before = client.ask(ask(1, "tools/list"))["result"]
        serving.end()
        serving.start()
        assert client.ask(ask(2, "tools/list"))["result"] == before
        called = client.ask(call(3, "get_permissions"))["result"]
        assert called["structuredContent"]["status"] == "succeeded"
        assert client.end() == 0
