"""Whatever comes in at the HTTP door: no traceback, no hang, and nothing grows but the counts of what was refused."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.server.home import Place
from tests.server.web import ACCEPT, HELLO, Session, Site, call, site

NOISES = 60  # for each seed
SEEDS = range(3)


@pytest.fixture(scope="module")
def running(place: Place) -> Iterator[Site]:
    with site(place) as running:
        yield running
        assert running.stop() == 0
        assert running.said() == []


def _noise(rng: random.Random, most: int = 300) -> bytes:
    return rng.randbytes(rng.randrange(most))


def _header(rng: random.Random, token: str) -> bytes:
    return rng.choice(
        [
            b"Host: localhost",
            b"Host: " + _noise(rng, 20).replace(b"\n", b""),
            f"Authorization: Bearer {token}".encode(),
            b"Authorization: Bearer " + _noise(rng, 30).replace(b"\r", b""),
            b"Content-Type: application/json",
            b"Content-Type: application/jsonx; charset=utf-99",
            f"Accept: {ACCEPT}".encode(),
            b"Accept: text/html",
            b"Transfer-Encoding: chunked",
            b"Content-Encoding: gzip",
            b"Content-Length: %d" % rng.choice([0, 1, 50, 10**6, 10**20]),
            b"Mcp-Session-Id: " + rng.choice([b"x", b"\xff\xfe", b"a" * 3000]),
            b"MCP-Protocol-Version: " + rng.choice([b"2026-07-28", b"2025-11-25", b"2025-03-26", b"1", b""]),
            b"Mcp-Method: " + rng.choice([b"tools/call", b"tools/list", b"\x80"]),
            b"Mcp-Name: " + rng.choice([b"get_ticket", b"x", b"=?base64?eA==?="]),
            b"Last-Event-ID: 1",
            b"Expect: 100-continue",
            b"Connection: " + rng.choice([b"close", b"keep-alive", b"upgrade"]),
            b"Upgrade: " + rng.choice([b"websocket", b"h2c"]),
            b": ",
            b"X" + b"-Y" * rng.randrange(200) + b": z",
            _noise(rng, 40),
        ]
    )


def _message(rng: random.Random) -> bytes:
    value: object = rng.choice(
        [
            HELLO,
            call("get_ticket", ticket="OPS-1"),
            call("get_permissions"),
            call("no_such_tool", x=[None, {"y": 1e300}]),
            {"jsonrpc": "2.0", "id": rng.choice([0, -1, "", "x" * 300, None, 1.5, [], 2**70]), "method": "ping"},
            {"jsonrpc": "2.0", "method": rng.choice(["notifications/cancelled", "notifications/initialized", ""])},
            {"jsonrpc": "2.0", "id": 1, "result": {}},
            {"jsonrpc": "2.0", "id": 1, "method": rng.choice(["tools/list", "resources/list", "logging/setLevel"])},
            [HELLO, HELLO],
            "\ud83d",
            {"a": {}} if rng.random() < 0.5 else 7,
        ]
    )
    data = json.dumps(value).encode()
    if rng.random() < 0.4:  # break it somewhere
        at = rng.randrange(len(data))
        data = data[:at] + rng.choice([b"", _noise(rng, 5), b'"', b"}", b"\\ud800", b"[" * 2000]) + data[at + 1 :]
    return data


def _raw(rng: random.Random, token: str) -> bytes:
    """A request, whole or in pieces of one, more or less like HTTP."""
    body = _message(rng)
    first = rng.choice(
        [b"POST /mcp HTTP/1.1", b"GET /mcp HTTP/1.1", b"DELETE /mcp HTTP/1.1", b"POST /mcp?x HTTP/1.0"]
    )
    lines = [first, *(_header(rng, token) for _ in range(rng.randrange(8)))]
    if rng.random() < 0.7:
        fixed = [b"Host: localhost", f"Authorization: Bearer {token}".encode(), b"Content-Length: %d" % len(body)]
        kinds = [f"Accept: {ACCEPT}".encode(), b"Content-Type: application/json"]
        lines = [first, *fixed, *kinds, *lines[1 : rng.randrange(1, 4)]]
    whole = b"\r\n".join([*lines, b"", b""]) + body
    if rng.random() < 0.2:
        whole = _noise(rng) + whole
    return whole * rng.choice([1, 1, 1, 3]) if rng.random() < 0.8 else whole[: rng.randrange(len(whole))]


def _hit(running: Site, data: bytes, patience: float) -> None:
    with running.connect() as sock, suppress(ConnectionError):
        sock.settimeout(patience)
        sock.sendall(data)
        with suppress(TimeoutError):
            while piece := sock.recv(65536):
                assert b"Traceback" not in piece


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_that_looks_like_requests_is_survived(running: Site, seed: int) -> None:
    rng, place = random.Random(seed), running.place
    size = len(place.look(lambda view: view.entries(0)))
    tokens: list[Callable[[], str]] = [lambda: place.token, lambda: "kt_wrong", lambda: ""]
    for _ in range(NOISES):
        _hit(running, _raw(rng, rng.choice(tokens)()), patience=0.02)
    running.alive()
    grown = place.look(lambda view: view.entries(0))[size:]
    # Reads that were served are receipts, and refusals are written ten times a minute at most.
    assert [entry.kind for entry in grown if entry.kind not in {"read.served", "action.denied"}] == []
    assert len([entry for entry in grown if entry.kind == "action.denied"]) <= 10


def test_what_was_opened_by_noise_does_not_keep_others_out(running: Site) -> None:
    session = Session(running, running.place.token)
    assert session.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).status_code == 200
    assert session.end().status_code == 200
    with socket.create_connection(running.address) as sock:
        sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
