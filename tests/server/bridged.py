"""Bridges for tests: the program itself, to a server that comes and goes, or to a door that answers as it likes."""

from __future__ import annotations

import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.server.clients import Raw
from tests.server.elsewhere import TOKEN
from tests.server.home import ROOT, SECONDS, until

MEASURED = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS_")}
"""What makes coverage count the lines of a program, too, where a test run counts its own."""

HELLO = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
}
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def ask(id_: object, method: str, *, modern: bool = False, **params: object) -> dict[str, object]:
    """A request in the form of either era."""
    meta = {"_meta": MODERN | dict(params.pop("meta", {}))} if modern else {}  # type: ignore[call-overload]
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": {**params, **meta}}


def call(id_: object, tool: str, *, modern: bool = False, **arguments: object) -> dict[str, object]:
    """A call of a tool in the form of either era."""
    return ask(id_, "tools/call", modern=modern, name=tool, arguments=arguments)


@dataclass
class Elsewhere:
    """The bare server on a socket, started and ended at will."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "mcp.sock"

    @property
    def target(self) -> str:
        return f"unix:{self.socket}"

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.server.elsewhere", str(self.socket), str(self.folder)]
        self.process = subprocess.Popen(command, cwd=ROOT)
        until(self._listens)

    def end(self, *, kill: bool = False) -> None:
        if self.process is not None:
            (self.process.kill if kill else self.process.terminate)()
            self.process.wait(SECONDS)
            self.process = None

    def happened(self, name: str) -> bool:
        return (self.folder / name).exists()

    def go(self, name: str) -> None:
        (self.folder / f"{name}.go").touch()

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0


@contextmanager
def bridge(target: str, *options: str, token: str | None = TOKEN, **variables: str) -> Iterator[Raw]:
    """Start the bridge as a client does, and talk to it byte by byte; it is gone afterwards."""
    held = {} if token is None else {"KEYTURN_TOKEN": token}
    environment = {"PATH": os.environ["PATH"], **MEASURED, **held, **variables}
    errors = Path(variables.get("TMPDIR", "/tmp")) / f"bridge-{os.getpid()}-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "keyturn", "connect", target, *options]
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
        ) as process,
    ):
        try:
            yield Raw(process, errors)
        finally:
            if process.poll() is None:
                (process.terminate if MEASURED else process.kill)()  # one that is killed tells no counts
                process.wait(SECONDS)
            errors.unlink()


@dataclass
class Door:
    """An HTTP server that answers each POST as a test says, and keeps what it was sent."""

    answers: Callable[[BaseHTTPRequestHandler, bytes], None]
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def door(
    answers: Callable[[BaseHTTPRequestHandler, bytes], None], tls: ssl.SSLContext | None = None
) -> Iterator[Door]:
    """Open a door on a port of this machine."""
    found = Door(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.bodies.append(body)
            found.headers.append({name.lower(): value for name, value in self.headers.items()})
            found.answers(self, body)

        def do_GET(self) -> None:
            reply(self, 405)

        def do_DELETE(self) -> None:
            found.left.append(self.headers["mcp-session-id"])
            reply(self, 200)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has in the library
            """Say nothing."""

    class Many(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

        def finish_request(self, request: Any, client_address: Any) -> None:
            try:
                wrapped = request if tls is None else tls.wrap_socket(request, server_side=True)
            except OSError:
                return  # the client did not like the certificate
            super().finish_request(wrapped, client_address)
            if tls is not None:
                wrapped.close()

    with Many(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def reply(
    handler: BaseHTTPRequestHandler, status: int, content: bytes = b"", kind: str = "application/json", **more: str
) -> None:
    """Send a whole answer."""
    handler.send_response(status)
    for name, value in {"content-type": kind, "content-length": str(len(content)), **more}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)
