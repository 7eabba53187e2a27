"""A server over real sockets that says what a script tells it, however wrong, and remembers what it heard."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, TypeAlias

End: TypeAlias = Literal["keep", "close", "reset", "hold"]


@dataclass(frozen=True)
class Heard:
    """One request: when it began to be answered and when its answer was out, in seconds of the monotonic clock."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    number: int
    times: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Saying:
    """Bytes to send, with so many seconds between two parts, and what becomes of the connection then."""

    parts: tuple[bytes, ...]
    then: End = "keep"
    every: float = 0.0


Script: TypeAlias = Callable[[Heard], Saying]


def said(
    status: int = 200, body: object = None, *, then: End = "keep", raw: bytes | None = None, **fields: Any
) -> Saying:
    """Return a whole, proper answer; fields are named with underscores."""
    data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Something", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in fields.items()]
    return Saying(("\r\n".join(lines).encode() + b"\r\n\r\n" + data,), then)


def in_turn(*sayings: Saying) -> Script:
    """Say one after another; the last for ever."""
    return lambda heard: sayings[min(heard.number, len(sayings) - 1)]


class Server:
    """Listens on a loopback port until the block is left."""

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.heard: list[Heard] = []
        self.connections = 0
        self._script = script
        self._context = context
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Server:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for line in (self._listener, *self._open):
            _shut(line)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'http' if self._context is None else 'https'}://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(line)
            thread = threading.Thread(target=self._talk, args=(line,))
            self._threads.append(thread)
            thread.start()

    def _talk(self, line: socket.socket) -> None:
        try:
            if self._context is not None:
                line = self._context.wrap_socket(line, server_side=True)
                self._open.append(line)
            while (heard := self._listen(line)) is not None and self._answer(line, heard):
                pass
        except OSError:
            pass  # whoever called hung up
        finally:
            line.close()

    def _answer(self, line: socket.socket, heard: Heard) -> bool:
        heard.times.append(time.monotonic())
        saying = self._script(heard)
        heard.times.append(time.monotonic())
        for part in saying.parts:
            line.sendall(part)
            if saying.every and self._ended.wait(saying.every):
                return False
        if saying.then == "reset":
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif saying.then == "hold":
            line.recv(1)
        return saying.then == "keep"

    def _listen(self, line: socket.socket) -> Heard | None:
        data = b""
        while b"\r\n\r\n" not in data:
            part = line.recv(65536)
            if not part:
                return None
            data += part
            if data.startswith(b"\x16"):  # TLS, which is not spoken here
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return None
        head, _, body = data.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): text for name, _, text in (field.partition(": ") for field in rest)}
        while len(body) < int(headers.get("content-length", "0")):
            body += line.recv(65536)
        method, target, _ = first.split(" ")
        with self._lock:
            heard = Heard(method, target, headers, body, len(self.heard))
            self.heard.append(heard)
        return heard


def _shut(line: socket.socket) -> None:
    with suppress(OSError):  # closed already
        line.shutdown(socket.SHUT_RDWR)
