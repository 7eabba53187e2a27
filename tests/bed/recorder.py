"""A reverse proxy on loopback that writes down every request and passes it on, exactly as it came, to an upstream.

`Proxy` runs an event loop in a thread of its own. What happens to a request is decided by layers, each of which may
answer itself, change what the next one says, or cut the line (`Cut`): the faults and GitHub's manners are layers. A
request is written down twice: as it came from the client (`seen`) and as it went to the upstream (`reached`).
Credentials are not kept: of an `Authorization` header remain its scheme and the digest of the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import h11

Headers = tuple[tuple[str, str], ...]

BOUND = 30.0
"""Seconds a request may take on its way to the upstream and back; nothing on loopback takes that long."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent: the target exactly as on the line, headers with lower-case names in their order."""

    method: str
    target: str
    headers: Headers
    body: bytes
    peer: str = ""
    """The common name of the client's certificate, if it showed one."""

    @property
    def path(self) -> str:
        """The target without its query, not decoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What follows the question mark, not decoded; empty if there is none."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """The first header of that (lower-case) name."""
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Any:
        """The body read as JSON; None if it is empty."""
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back; `content-length` is written by the proxy."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header of that (lower-case) name."""
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Any:
        """The body read as JSON; None if it is empty."""
        return json.loads(self.body) if self.body else None


def answer(status: int, document: object = None, **headers: str) -> Answer:
    """Make an answer with a JSON body; names of headers are written with underscores."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    if document is None:
        return Answer(status, named)
    kind = (("content-type", "application/json; charset=utf-8"),)
    return Answer(status, kind + named, json.dumps(document).encode())


class Cut(Exception):
    """Close the line to the client after sending these bytes, perhaps none; `reset` makes it a hard one (RST)."""

    def __init__(self, sent: bytes = b"", *, reset: bool = False) -> None:
        super().__init__("the line is cut")
        self.sent = sent
        self.reset = reset


Next = Callable[[Request], Awaitable[Answer]]
Layer = Callable[[Request, Next], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as it was written down, and the answer to it; no answer if the line was cut."""

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    scheme: str
    credential: str
    answer: Answer | None = None

    @property
    def status(self) -> int | None:
        """The status of the answer."""
        return self.answer.status if self.answer is not None else None

    def json(self) -> Any:
        """The request's body read as JSON; None if it is empty."""
        return json.loads(self.body) if self.body else None

    def header(self, name: str) -> str | None:
        """The first header of that (lower-case) name."""
        return next((value for key, value in self.headers if key == name), None)

    def fits(self, method: str, path: str) -> bool:
        """Say whether method (`*`: any; `change`: all but GET and HEAD) and path (a pattern) are these."""
        return fits(self.method, self.path, method, path)


def fits(method: str, path: str, wanted: str, pattern: str) -> bool:
    """Say whether a request is meant: method `*` is any, `change` all but GET and HEAD; the decoded path must
    match."""
    if wanted == "change":
        if method in ("GET", "HEAD"):
            return False
    elif wanted not in ("*", method):
        return False
    return re.fullmatch(pattern, unquote(path)) is not None


def digest(credential: str) -> str:
    """Return what is written down in place of a credential: twelve digits of its SHA-256."""
    return hashlib.sha256(credential.encode()).hexdigest()[:12]


@dataclass(slots=True)
class Record:
    """Requests in the order they were answered in; safe to read from the test's thread."""

    exchanges: list[Exchange] = field(default_factory=list)

    def of(self, method: str = "*", path: str = ".*") -> list[Exchange]:
        """Return the requests meant by `fits`."""
        return [exchange for exchange in list(self.exchanges) if exchange.fits(method, path)]

    def changes(self) -> list[Exchange]:
        """Return all that is not a GET or HEAD."""
        return self.of("change")

    def effects(self, method: str = "change", path: str = ".*") -> int:
        """Count the requests meant that were answered with success (2xx)."""
        return sum(1 for exchange in self.of(method, path) if exchange.status and 200 <= exchange.status < 300)

    def forget(self) -> None:
        """Begin anew."""
        self.exchanges.clear()


class Proxy:
    """A reverse proxy: `with Proxy(("127.0.0.1", port), layers=[…]) as proxy: proxy.url`."""

    def __init__(
        self,
        upstream: tuple[str, int] | str,
        *,
        layers: Iterable[Layer] = (),
        server_tls: ssl.SSLContext | None = None,
        upstream_tls: ssl.SSLContext | None = None,
        name: str = "127.0.0.1",
    ) -> None:
        """Say where to; `server_tls` makes it speak https, `name` is the host in `url` (it must mean loopback)."""
        self.upstream = upstream if isinstance(upstream, tuple) else _address(upstream)
        self.layers: Sequence[Layer] = tuple(layers)
        self.seen, self.reached = Record(), Record()
        self.surprises: list[str] = []
        self.port = 0
        self._tls, self._upstream_tls, self._name = server_tls, upstream_tls, name
        self._loop = asyncio.new_event_loop()
        self._lines: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._listening, self._stop = threading.Event(), asyncio.Event()

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"{'https' if self._tls else 'http'}://{self._name}:{self.port}"

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        assert self._listening.wait(BOUND), "the proxy does not listen"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; a layer that failed of itself fails the test here, if nothing else did."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(BOUND)
        assert not self._thread.is_alive(), "the proxy does not end"
        assert kind is not None or not self.surprises, self.surprises

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._line, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stop.wait()
        server.close()
        for line in list(self._lines):
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)
        await server.wait_closed()

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        try:
            await self._conversation(reader, writer)
        except (ConnectionError, h11.RemoteProtocolError, TimeoutError, ssl.SSLError):
            pass  # the client went away, or did not speak HTTP: there is nobody to tell
        except asyncio.CancelledError:
            pass  # the proxy ends
        finally:
            self._lines.discard(task)
            writer.close()
            with suppress(Exception, asyncio.CancelledError):
                await writer.wait_closed()

    async def _conversation(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        while True:
            request = await _next_request(wire, reader, writer)
            if request is None:
                return
            try:
                said = await self._answer(request)
            except Cut as cut:
                await _cut(cut, writer)
                return
            writer.write(_written(wire, request.method, said))
            await writer.drain()
            if wire.our_state is not h11.DONE or wire.their_state is not h11.DONE:
                return
            wire.start_next_cycle()

    async def _answer(self, request: Request) -> Answer:
        told: Answer | None = None
        try:
            told = await self._through(0, request)
        except (Cut, asyncio.CancelledError):
            raise
        except OSError as error:
            told = answer(502, {"message": f"the upstream cannot be reached: {error}"})
        except Exception as error:  # noqa: BLE001 - a mistake of the test bed must not look like a fault
            self.surprises.append(f"{request.method} {request.target}: {error!r}")
            told = answer(599, {"message": f"the test bed failed: {error!r}"})
        finally:
            self.seen.exchanges.append(_exchange(request, told))
        return told

    async def _through(self, place: int, request: Request) -> Answer:
        if place == len(self.layers):
            return await self._forward(request)

        async def onward(following: Request) -> Answer:
            return await self._through(place + 1, following)

        return await self.layers[place](request, onward)

    async def _forward(self, request: Request) -> Answer:
        told: Answer | None = None
        try:
            async with asyncio.timeout(BOUND):
                told = await fetch(self.upstream, request, tls=self._upstream_tls)
        finally:
            self.reached.exchanges.append(_exchange(request, told))
        return told


async def fetch(upstream: tuple[str, int], request: Request, *, tls: ssl.SSLContext | None = None) -> Answer:
    """Send one request over a line of its own and return the whole answer."""
    reader, writer = await asyncio.open_connection(*upstream, ssl=tls)
    try:
        wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        hop = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect", "upgrade"}
        kept = [(name, value) for name, value in request.headers if name not in hop]
        if request.body or request.method not in ("GET", "HEAD", "DELETE"):
            kept.append(("content-length", str(len(request.body))))
        head = h11.Request(method=request.method, target=request.target, headers=[*kept, ("connection", "close")])
        written = [wire.send(head), wire.send(h11.Data(data=request.body)) if request.body else b""]
        writer.write(b"".join(filter(None, [*written, wire.send(h11.EndOfMessage())])))
        await writer.drain()
        return await _whole(wire, reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _whole(wire: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    status, body = 0, b""
    found: Headers = ()
    while True:
        event = wire.next_event()
        match event:
            case h11.NEED_DATA:
                wire.receive_data(await reader.read(1 << 16))
            case h11.Response():
                status, found = event.status_code, _headers(event.headers)
            case h11.Data():
                body += bytes(event.data)
            case h11.EndOfMessage() | h11.ConnectionClosed() | h11.PAUSED:
                return Answer(status, found, body)
            case _:
                pass  # 100 Continue and its like


async def _next_request(
    wire: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Request | None:
    head: h11.Request | None = None
    body = b""
    while True:
        event = wire.next_event()
        match event:
            case h11.NEED_DATA:
                if wire.they_are_waiting_for_100_continue:
                    writer.write(wire.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                wire.receive_data(await reader.read(1 << 16))
            case h11.Request():
                head = event
            case h11.Data():
                body += bytes(event.data)
            case h11.EndOfMessage() if head is not None:
                return Request(
                    head.method.decode(), head.target.decode(), _headers(head.headers), body, _common_name(writer)
                )
            case _:
                return None


def _common_name(writer: asyncio.StreamWriter) -> str:
    shown: Any = writer.get_extra_info("peercert") or {}
    parts = [part for several in shown.get("subject", ()) for part in several]
    return str(next((value for name, value in parts if name == "commonName"), ""))


def _written(wire: h11.Connection, method: str, said: Answer) -> bytes:
    empty = said.status in (204, 304) or said.status < 200
    dropped = {"connection", "keep-alive", "transfer-encoding", "content-length"}
    headers = [(name, value) for name, value in said.headers if name not in dropped]
    if not empty:
        headers.append(("content-length", str(len(said.body))))
    parts = [wire.send(h11.Response(status_code=said.status, headers=headers))]
    if said.body and not empty and method != "HEAD":
        parts.append(wire.send(h11.Data(data=said.body)))
    return b"".join(part or b"" for part in [*parts, wire.send(h11.EndOfMessage())])


def raw(said: Answer) -> bytes:
    """Return the bytes of an answer as they go over the wire; for faults that send only a part of them."""
    wire = h11.Connection(h11.SERVER)
    wire.receive_data(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    while not isinstance(wire.next_event(), h11.EndOfMessage):
        continue
    return _written(wire, "GET", said)


async def _cut(cut: Cut, writer: asyncio.StreamWriter) -> None:
    if cut.reset:
        writer.transport.abort()
        return
    if cut.sent:
        writer.write(cut.sent)
        await writer.drain()


def _exchange(request: Request, told: Answer | None) -> Exchange:
    scheme, _, credential = (request.header("authorization") or "").partition(" ")
    return Exchange(
        request.method,
        request.path,
        request.query,
        tuple((name, value) for name, value in request.headers if name != "authorization"),
        request.body,
        scheme,
        digest(credential) if credential else "",
        told if told is None else replace(told, headers=told.headers),
    )


def _headers(raw_headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw_headers)


def _address(url: str) -> tuple[str, int]:
    found = re.fullmatch(r"https?://([^:/]+):(\d+)/?", url)
    assert found is not None, f"not http://HOST:PORT: {url}"
    return found[1], int(found[2])
