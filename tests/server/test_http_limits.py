"""How much one client may take: connections, time, requests and sessions, with a real server in the test's loop."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import anyio.abc
import httpx2
import pytest

from keyturn.model.principal import Caller
from keyturn.server.http.app import Application, build_app
from keyturn.server.http.limits import LIMITS, Limits
from keyturn.server.http.listening import open_address
from keyturn.server.http.program import Web
from keyturn.server.http.sessions import NoRoom, Sessions
from tests.server.home import Place, found
from tests.server.web import ACCEPT, HELLO, MODERN, call

pytestmark = pytest.mark.anyio
SHORT = Limits(
    connections=8,
    header_seconds=0.5,
    request_seconds=1.0,
    idle_seconds=1,
    stalled_seconds=0.5,
    body_bytes=4096,
    requests=4,
    requests_bytes=6000,
    sessions=5,
    sessions_each=3,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return found(tmp_path_factory.mktemp("limits"), others=["codex"])


@asynccontextmanager
async def served(place: Place, limits: Limits = SHORT) -> AsyncIterator[tuple[Application, int]]:
    """Serve the application of a gateway; yields it and the port."""
    with place.gateway() as gate:
        app = build_app(gate, limits=limits)
        [listener] = open_address("127.0.0.1:0", ())
        web = Web(app, limits)
        async with app.running(), anyio.create_task_group() as tasks:
            tasks.start_soon(web.serve, [listener.socket])
            yield app, listener.socket.getsockname()[1]
            web.should_exit = True
        listener.close()


def client(port: int, token: str) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {token}", "Accept": ACCEPT, "Content-Type": "application/json"}
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20)


def head_of(token: str) -> str:
    """The headers of a request whose body is to follow."""
    lines = "POST /mcp HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}", "Content-Length: 4000"
    return "\r\n".join([*lines, "", ""])


async def come_true(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in the server and has no event
            await anyio.sleep(0.02)


async def closed_within(stream: anyio.abc.SocketStream, seconds: float) -> bytes:
    """Read until the server closes; fail when it takes longer."""
    whole = b""
    with anyio.fail_after(seconds):
        while True:
            try:
                whole += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return whole


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"G",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nG",
    ],
)
async def test_a_client_that_sends_its_headers_byte_by_byte_is_dropped(place: Place, begin: bytes) -> None:
    async with served(place) as (_, port), await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(begin)
        async with anyio.create_task_group() as tasks:

            async def drip() -> None:
                while True:
                    await anyio.sleep(0.1)
                    try:
                        await stream.send(b"x")
                    except anyio.BrokenResourceError:
                        return

            tasks.start_soon(drip)
            answer = await closed_within(stream, 30)
            tasks.cancel_scope.cancel()
        assert answer.count(b"HTTP/1.1 200") == begin.count(b"\r\n\r\n")


async def test_a_client_that_sends_its_body_byte_by_byte_is_dropped_with_or_without_a_token(place: Place) -> None:
    async with served(place) as (app, port):
        for token in (place.token, "kt_wrong"):
            head = head_of(token)
            async with await anyio.connect_tcp("127.0.0.1", port) as stream, anyio.create_task_group() as tasks:
                await stream.send(head.encode())

                async def drip(stream: anyio.abc.SocketStream = stream) -> None:
                    while True:
                        try:
                            await stream.send(b" ")
                        except anyio.BrokenResourceError:
                            return
                        await anyio.sleep(0.1)

                tasks.start_soon(drip)
                answer = await closed_within(stream, 30)
                tasks.cancel_scope.cancel()
            assert answer == b"" or answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 401"))
        with anyio.fail_after(30):
            await app.calm()


async def test_an_idle_connection_is_closed_after_a_while(place: Place) -> None:
    async with served(place) as (_, port), await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await closed_within(stream, 30)).startswith(b"HTTP/1.1 200")


async def test_connections_that_ask_nothing_make_room_for_those_that_do(place: Place) -> None:
    async with served(place, Limits(connections=8)) as (_, port):
        idle = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(30)]
        async with client(port, place.token) as web:
            for _ in range(3):
                assert (await web.get("/healthz")).status_code == 200
        for stream in idle:
            await stream.aclose()


async def test_where_every_connection_is_served_the_next_is_closed(place: Place) -> None:
    async with served(place, replace(LIMITS, connections=2)) as (app, port):
        busy = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(2)]
        for stream in busy:
            await stream.send(head_of(place.token).encode())
        await come_true(lambda: app.open_calls() == 2)
        async with await anyio.connect_tcp("127.0.0.1", port) as late:
            assert await closed_within(late, 30) == b""
        app.leave()
        for stream in busy:
            await stream.aclose()


async def test_a_client_that_does_not_read_what_it_asked_for_is_dropped(place: Place) -> None:
    patient = replace(LIMITS, stalled_seconds=0.5)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}})
    lines = (
        "POST /mcp HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {place.token}",
        f"Accept: {ACCEPT}",
        "Content-Type: application/json",
        "MCP-Protocol-Version: 2026-07-28",
        "Mcp-Method: tools/list",
        f"Content-Length: {len(body)}",
    )
    one = "\r\n".join([*lines, "", body]).encode()  # its answer is long: what the kernel keeps of it is soon full
    async with served(place, patient) as (_, port), await anyio.connect_tcp("127.0.0.1", port) as stream:
        with anyio.fail_after(60), pytest.raises(anyio.BrokenResourceError):
            await _send_for_ever(stream, one)
        async with client(port, place.token) as web:
            assert (await web.get("/healthz")).status_code == 200


async def _send_for_ever(stream: anyio.abc.SocketStream, data: bytes) -> None:
    while True:
        await stream.send(data)


async def test_requests_of_one_principal_are_bounded_and_anothers_are_served(place: Place) -> None:
    limits = Limits(requests=4)
    async with served(place, limits) as (app, port), client(port, place.token) as mine:
        modern = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call"}
        held = await mine.post(
            "/mcp",
            json=call("update_ticket", ticket="OPS-1", status="closed"),
            headers={**modern, "Mcp-Name": "update_ticket"},
        )
        action = held.json()["result"]["structuredContent"]["action_id"]
        waiting = call("get_action", action_id=action, wait_seconds=45)
        statuses: list[int] = []
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                answer = await mine.post("/mcp", json=waiting, headers={**modern, "Mcp-Name": "get_action"})
                statuses.append(answer.status_code)

            for _ in range(10):
                tasks.start_soon(wait)
            await come_true(lambda: len(statuses) >= 6)
            assert statuses == [429] * 6
            async with client(port, place.tokens["codex"]) as other:
                read = await other.post(
                    "/mcp", json=call("get_permissions"), headers={**modern, "Mcp-Name": "get_permissions"}
                )
                assert read.status_code == 200
            app.leave()
        assert statuses == [429] * 6 + [200] * 4
        assert app.counts.refused[429] == 6


async def test_bodies_of_one_principal_are_bounded_together(place: Place) -> None:
    async with served(place, replace(LIMITS, body_bytes=4096, requests_bytes=6000)) as (app, port):
        head = head_of(place.token)
        async with (
            await anyio.connect_tcp("127.0.0.1", port) as one,
            await anyio.connect_tcp("127.0.0.1", port) as two,
        ):
            await one.send(head.encode() + b" " * 3500)
            await come_true(lambda: app._shares._bytes.total() == 3500)
            await two.send(head.encode() + b" " * 3500)
            with anyio.fail_after(30):
                assert (await two.receive()).startswith(b"HTTP/1.1 429")
        with anyio.fail_after(30):
            await app.calm()


@pytest.mark.parametrize("before", [True, False])
async def test_a_body_that_does_not_come_does_not_keep_a_server_from_leaving(place: Place, *, before: bool) -> None:
    async with served(place, LIMITS) as (app, port), await anyio.connect_tcp("127.0.0.1", port) as stream:
        if not before:
            app.leave()
        await stream.send(head_of(place.token).encode() + b"{")
        if before:
            await come_true(lambda: app.open_calls() == 1)
            app.leave()
        with anyio.fail_after(30):
            assert (await stream.receive()).startswith(b"HTTP/1.1 503 " if before else b"HTTP/1.1 408 ")
            await app.calm()


async def test_values_count_as_held_beside_their_bytes(place: Place) -> None:
    limits = replace(LIMITS, requests_bytes=4_000_000)
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"many": [0] * 20_000}}
    async with served(place, limits) as (_, port), client(port, place.token) as web:
        assert (await web.post("/mcp", json=message)).status_code == 429
        message["params"] = {"one": "[{," * 20_000}
        assert (await web.post("/mcp", json=message)).status_code != 429


async def test_a_principals_oldest_unused_session_makes_room_and_others_keep_theirs(place: Place) -> None:
    async with served(place) as (app, port):
        opened: list[str] = []
        for token in [place.tokens["codex"], *[place.token] * 8]:
            async with client(port, token) as web:
                answer = await web.post("/mcp", json=HELLO)
                opened.append(answer.headers["mcp-session-id"])
        assert len(app.sessions) == 4
        known = []
        for id_, token in zip(opened, [place.tokens["codex"], *[place.token] * 8], strict=True):
            async with client(port, token) as web:
                answer = await web.post(
                    "/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers={"Mcp-Session-Id": id_}
                )
                known.append(answer.status_code)
        assert known == [200, 404, 404, 404, 404, 404, 200, 200, 200]


async def test_sessions_whose_opening_fails_are_not_kept(place: Place) -> None:
    async with served(place) as (app, port), client(port, place.token) as web:
        for _ in range(10):
            await web.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
            await web.get("/mcp", headers={"Accept": "text/event-stream"})
        assert len(app.sessions) == 0
        assert app._manager._server_instances == {}


async def test_sessions_that_nobody_uses_are_ended(place: Place) -> None:
    async with served(place, Limits(session_seconds=0.3)) as (app, port), client(port, place.token) as web:
        assert (await web.post("/mcp", json=HELLO)).status_code == 200
        assert len(app.sessions) == 1
        await come_true(lambda: len(app.sessions) == 0)


def caller(principal: str) -> Caller:
    return Caller(principal=principal, token="t", transport="http", scopes=None, client="")


def test_a_principal_whose_sessions_are_all_in_use_opens_no_more() -> None:
    sessions = Sessions(Limits(sessions=10, sessions_each=2))
    for number in range(2):
        sessions.opened(f"s{number}", caller("a"), float(number))
    with sessions.used("s0", 5.0), sessions.used("s1", 5.0), pytest.raises(NoRoom), sessions.opening("a"):
        raise AssertionError("it was opened")
    with sessions.opening("a") as leaves:
        assert leaves == "s0"
    with sessions.used("s0", 6.0):
        pass
    with sessions.opening("a") as leaves:
        assert leaves == "s1"


def test_all_sessions_together_are_bounded_and_those_being_opened_count() -> None:
    sessions = Sessions(Limits(sessions=2, sessions_each=2))
    sessions.opened("s", caller("a"), 0.0)
    with sessions.opening("b") as leaves:
        assert leaves is None
        with pytest.raises(NoRoom), sessions.opening("c"):
            raise AssertionError("it was opened")
    sessions.ended("s")
    assert sessions.owner("s") is None
    with sessions.used("s", 0.0) as session:
        assert session is None
