"""Clients for the server's tests: the SDK's own, and a raw one that says whatever it likes, line by line."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jsonschema
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.server.home import SECONDS, Place, contract

Mode = Literal["auto", "legacy"]
MODES: tuple[Mode, ...] = ("auto", "legacy")
RECEIPT = "io.keyturn/receipt"


@dataclass(frozen=True, slots=True)
class Assistant:
    """A connected SDK client whose every result is held against the contract, the text and the ledger."""

    client: Client
    place: Place
    progress: list[str | None] = field(default_factory=list)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool; returns the envelope once everything about the result has been checked."""
        return (await self.result(tool, **arguments))[0]

    async def result(self, tool: str, **arguments: Any) -> tuple[dict[str, Any], types.CallToolResult]:
        result = await self.client.call_tool(tool, arguments, progress_callback=self._note)
        envelope = result.structured_content
        assert isinstance(envelope, dict)
        jsonschema.Draft202012Validator(contract(tool)["output"]).validate(envelope)
        [text] = result.content
        assert isinstance(text, types.TextContent)
        assert json.loads(text.text) == envelope
        assert result.meta is not None
        entry = self.place.receipt(result.meta[RECEIPT])
        if envelope["action_id"] is not None:
            assert entry.action == envelope["action_id"]
        return envelope, result

    async def _note(self, progress: float, total: float | None, message: str | None) -> None:
        assert progress == len(self.progress) + 1
        self.progress.append(message)


@asynccontextmanager
async def assistant(place: Place, mode: Mode, token: str | None = None) -> AsyncIterator[Assistant]:
    """Connect the SDK's client to a server of its own; afterwards the server must have said nothing."""
    parameters = StdioServerParameters(
        command=sys.executable, args=place.serve(), env={"KEYTURN_TOKEN": token or place.token}
    )
    errors = place.folder.parent / f"stderr-{time.monotonic_ns()}"
    with errors.open("w") as stderr:
        transport = stdio_client(parameters, errlog=stderr)
        name = types.Implementation(name="tests", version="1")
        async with Client(transport, mode=mode, client_info=name, read_timeout_seconds=SECONDS) as client:
            yield Assistant(client, place)
    assert errors.read_text() == ""


@dataclass(slots=True)
class Raw:
    """A server process and the bytes that go in and come out."""

    process: subprocess.Popen[bytes]
    errors: Path
    _rest: bytes = b""

    def send(self, *messages: Mapping[str, Any] | bytes) -> None:
        """Write messages, or bytes as they are (a newline is added).

        What comes out meanwhile is kept: a server whose answers nobody takes need not take more questions.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        into = self.process.stdin.fileno()
        lines = (message if isinstance(message, bytes) else json.dumps(message).encode() for message in messages)
        left = memoryview(b"".join(line + b"\n" for line in lines))
        while left:
            listening = [] if self.process.stdout.closed else [self.process.stdout]
            comes, goes, _ = select.select(listening, [into], [], SECONDS)
            assert comes or goes, "the server neither reads nor answers"
            if comes:
                assert self._take(), f"the server ended: {self.said()}"
            if goes:
                left = left[os.write(into, left[: select.PIPE_BUF]) :]

    def _take(self) -> bool:
        """Keep what has come out; tell whether it was anything."""
        assert self.process.stdout is not None
        chunk = os.read(self.process.stdout.fileno(), 1 << 20)
        self._rest += chunk
        return bool(chunk)

    def receive(self, seconds: float = SECONDS) -> dict[str, Any]:
        """Read the next message; fail when none comes in time."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the server did not answer"
            assert self._take(), f"the server ended: {self.said()}"
        line, _, self._rest = self._rest.partition(b"\n")
        message: dict[str, Any] = json.loads(line.decode("utf-8"))
        return message

    def ask(self, message: Mapping[str, Any] | bytes) -> dict[str, Any]:
        """Send one message and return the next one that comes."""
        self.send(message)
        return self.receive()

    def greet(self) -> None:
        """Shake hands as clients of the older eras do."""
        info = {"name": "raw", "version": "1"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
        answer = self.ask({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params})
        assert answer["result"]["serverInfo"]["name"] == "keyturn"
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def alive(self) -> None:
        """Prove that the server still answers."""
        assert self.ask({"jsonrpc": "2.0", "id": "alive", "method": "ping"}) == {
            "jsonrpc": "2.0",
            "id": "alive",
            "result": {},
        }

    def end(self) -> int:
        """Close the client's side and return the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(SECONDS)

    def kill_group(self) -> None:
        """Kill everything in the server's session group, as a dying client does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(SECONDS)

    def said(self) -> str:
        """What it wrote to standard error."""
        return self.errors.read_text()


@contextmanager
def raw(place: Place, *options: str, **variables: str) -> Iterator[Raw]:
    """Start a server and talk to it byte by byte; it is gone afterwards."""
    environment = {"PATH": os.environ["PATH"], "KEYTURN_TOKEN": place.token, **variables}
    errors = place.folder.parent / f"stderr-{time.monotonic_ns()}"
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, *place.serve(*options)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield Raw(process, errors)
        finally:
            if process.poll() is None:
                process.kill()


def request(id_: Any, tool: str, **arguments: Any) -> dict[str, Any]:
    """A call of a tool in the older eras' form."""
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
