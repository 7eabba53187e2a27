"""Servers over HTTP for the tests: real processes on loopback or a socket file, the SDK's client, and raw sockets."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.server.clients import Assistant, Mode
from tests.server.home import SECONDS, Place

ACCEPT = "application/json, text/event-stream"
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
HELLO = {
    "jsonrpc": "2.0",
    "id": "hello",
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    },
}


@dataclass(slots=True)
class Site:
    """A running server: where it listens, its process, and what it wrote to standard error."""

    place: Place
    process: subprocess.Popen[bytes]
    errors: Path
    names: list[str] = field(default_factory=list)
    path: str | None = None

    @property
    def url(self) -> str:
        return "http://localhost/mcp" if self.path else self.names[0]

    def base(self, path: str) -> str:
        return self.url.replace("/mcp", path)

    def said(self) -> list[str]:
        """What it wrote to standard error besides where it serves."""
        lines = self.errors.read_text().splitlines()
        return [line for line in lines if not line.startswith("keyturn: serving on ")]

    def client(self, token: str | None, **headers: str) -> httpx2.Client:
        """A plain HTTP client with a token; close it."""
        every = headers if token is None else {"Authorization": f"Bearer {token}", **headers}
        transport = httpx2.HTTPTransport(uds=self.path) if self.path else None
        return httpx2.Client(headers=every, transport=transport, timeout=SECONDS)

    def post(self, token: str | None, message: object, **headers: str) -> httpx2.Response:
        """Post one message of the newest era, or bytes as they are."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        fixed = {"Accept": ACCEPT, "Content-Type": "application/json", "MCP-Protocol-Version": "2026-07-28"}
        if isinstance(message, dict):
            fixed["Mcp-Method"] = str(message.get("method"))
            if isinstance(message.get("params"), dict) and "name" in message["params"]:
                fixed["Mcp-Name"] = str(message["params"]["name"])
        with self.client(token) as client:
            return client.post(self.url, content=body, headers={**fixed, **headers})

    def call(self, token: str | None, tool: str, /, **arguments: Any) -> httpx2.Response:
        """Call a tool in the newest era."""
        return self.post(token, call(tool, **arguments))

    def envelope(self, token: str, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return the envelope it answers with."""
        answer = message_of(self.call(token, tool, **arguments))
        found: dict[str, Any] = answer["result"]["structuredContent"]
        return found

    def connect(self) -> socket.socket:
        """A raw connection."""
        if self.path:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.connect(self.path)
        else:
            sock = socket.create_connection(self.address)
        sock.settimeout(SECONDS)
        return sock

    @property
    def address(self) -> tuple[str, int]:
        found = re.search(r"//([^/]+):(\d+)/", self.names[0])
        assert found is not None
        return found[1], int(found[2])

    def alive(self) -> None:
        """Prove that the server still answers, and in time."""
        with self.client(None) as client:
            assert client.get(self.base("/healthz"), timeout=10).json() == {"status": "ok"}

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to leave and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@contextmanager
def site(place: Place, *options: str, wants: int = 1, path: str | None = None) -> Iterator[Site]:
    """Start a server over HTTP on a free port of loopback, or as `options` say; it is gone afterwards."""
    errors = place.folder.parent / f"stderr-{time.monotonic_ns()}"
    chosen = options or (("--socket", path) if path else ("--http", "127.0.0.1:0"))
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, *place.serve(*chosen)],
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        ) as process,
    ):
        try:
            running = Site(place, process, errors, path=path)
            _await_names(running, wants)
            yield running
        finally:
            if process.poll() is None:
                process.kill()


def _await_names(running: Site, wants: int) -> None:
    deadline = time.monotonic() + SECONDS
    while len(running.names) < wants:
        assert running.process.poll() is None, running.errors.read_text()
        assert time.monotonic() < deadline, "it does not serve"
        time.sleep(0.02)
        running.names = re.findall(r"^keyturn: serving on (\S+)$", running.errors.read_text(), re.MULTILINE)


@asynccontextmanager
async def web_assistant(running: Site, mode: Mode, token: str) -> AsyncIterator[Assistant]:
    """Connect the SDK's client with a token."""
    transport = httpx2.AsyncHTTPTransport(uds=running.path) if running.path else None
    async with httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {token}"}, transport=transport, timeout=SECONDS
    ) as http:
        streams = streamable_http_client(running.url, http_client=http)
        name = types.Implementation(name="tests", version="1")
        async with Client(streams, mode=mode, client_info=name, read_timeout_seconds=SECONDS) as client:
            yield Assistant(client, running.place)


def call(tool: str, /, **arguments: Any) -> dict[str, Any]:
    """A call of a tool in the newest era's form."""
    params = {"name": tool, "arguments": arguments, "_meta": MODERN}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def message_of(answer: httpx2.Response) -> dict[str, Any]:
    """The JSON-RPC message in an answer, be it JSON or the last event of a stream."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        lines = [line for line in answer.text.splitlines() if line.startswith("data:")]
        found: dict[str, Any] = json.loads(lines[-1].removeprefix("data:"))
        return found
    whole: dict[str, Any] = answer.json()
    return whole


class Session:
    """A session of the older eras, spoken by hand."""

    def __init__(self, running: Site, token: str) -> None:
        self.running = running
        self.token = token
        answer = self.post(HELLO)
        assert answer.status_code == 200, answer.text
        self.id = answer.headers["mcp-session-id"]

    def headers(self, **more: str) -> dict[str, str]:
        id_ = getattr(self, "id", None)
        session = {} if id_ is None else {"Mcp-Session-Id": id_, "MCP-Protocol-Version": "2025-11-25"}
        return {"Accept": ACCEPT, "Content-Type": "application/json", **session, **more}

    def post(self, message: Mapping[str, Any], token: str | None = None) -> httpx2.Response:
        with self.running.client(token or self.token) as client:
            return client.post(self.running.url, json=message, headers=self.headers())

    def end(self) -> httpx2.Response:
        with self.running.client(self.token) as client:
            return client.delete(self.running.url, headers=self.headers())


def read_until_closed(sock: socket.socket, seconds: float = SECONDS) -> bytes:
    """Read a raw connection until the server closes it; fail when it does not in time."""
    deadline, whole = time.monotonic() + seconds, b""
    while True:
        ready, _, _ = select.select([sock], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"the server keeps the connection: {whole[:200]!r}"
        try:
            piece = sock.recv(65536)
        except ConnectionError:
            return whole
        if not piece:
            return whole
        whole += piece
