"""One exchange over the network: a request out, a whole answer back, or the reason why not.

Failures are values here, not exceptions: no traceback keeps the frames that held a credential, and nobody has to
find out from an exception whether the request had left.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpcore2
from anyio.lowlevel import RunVar

from keyturn.connectors.credentials import Secret
from keyturn.connectors.http.connection import Origin
from keyturn.connectors.http.dialing import AddressRefused, Dialer, Unreachable
from keyturn.model.text import visible

CONNECTIONS = 10
"""Connections of one back end to its host at once, in one event loop."""
_KEPT = 2.0  # seconds an idle connection is kept; below what servers keep: their close must not meet a request
_LIBRARY = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    OSError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A request: method, target (path and query), plain fields, fields that hold credentials, body."""

    method: str
    target: str = field(repr=False)
    headers: Mapping[str, str]
    secrets: Mapping[str, Secret]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Received:
    """An answer, read to its end and unpacked. Names of fields are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """No whole answer. `sent`: some of the request may have arrived; `final`: another try would end likewise."""

    words: str
    sent: bool
    final: bool = False


class _Unreadable(Exception):
    """An answer that is read no further; the text says why."""


@dataclass(slots=True)
class Departure:
    """Whether anything of a request may have left this machine for its host."""

    sent: bool = False

    async def noted(self, name: str, info: Mapping[str, Any]) -> None:
        """Take note of a step of the library. What is said to a proxy to get a tunnel is not the request."""
        if name == "http11.send_request_headers.started" and info["request"].method != b"CONNECT":
            self.sent = True


class Transport:
    """The connections of one back end: a pool of their own in each event loop, closed when nobody needs it."""

    def __init__(
        self, origin: Origin, *, trust: Callable[[], ssl.SSLContext], proxy: Origin | None, private: bool
    ) -> None:
        self._origin = origin
        self._trust = trust
        self._proxy = proxy
        # A proxy is named by the operator, and mostly a machine nearby; what it connects to it resolves itself.
        self._private = private or proxy is not None
        self._here: RunVar[_Pool] = RunVar("keyturn_http_pool")

    def __repr__(self) -> str:
        return f"Transport({self._origin})"

    async def exchange(
        self, sending: Sending, *, limit: int, seconds: float, departure: Departure
    ) -> Received | Failure:
        """Send a request and read its answer, at most `limit` bytes unpacked, within `seconds`."""
        ended: Received | Failure | None = None
        with anyio.move_on_after(seconds):
            ended = await self._exchanged(sending, limit, departure)
        if ended is None:
            what = "no whole answer came" if departure.sent else "no connection was made"
            return Failure(f"{self._origin.host}: {what} within {seconds:.3g} s", departure.sent)
        return ended

    async def _exchanged(self, sending: Sending, limit: int, departure: Departure) -> Received | Failure:
        try:
            with self._connections() as pool:
                response = await pool.handle_async_request(self._request(sending, departure))
                try:
                    return await _read(response, limit)
                finally:
                    with anyio.CancelScope(shield=True):
                        await response.aclose()
        except AddressRefused as error:
            return Failure(str(error), departure.sent, final=True)
        except (Unreachable, _Unreadable) as error:
            return Failure(str(error), departure.sent, final=isinstance(error, _Unreadable))
        except _LIBRARY as error:
            return _failure(self._origin, error, departure.sent)

    def _request(self, sending: Sending, departure: Departure) -> httpcore2.Request:
        fields = {"Host": self._origin.authority, **sending.headers}
        if sending.body or sending.method not in ("GET", "HEAD"):
            fields["Content-Length"] = str(len(sending.body))
        raw = [(name.encode("ascii"), text.encode("latin-1")) for name, text in fields.items()]
        raw += [(name.encode("ascii"), secret.reveal().encode("ascii")) for name, secret in sending.secrets.items()]
        url = httpcore2.URL(
            scheme=self._origin.scheme, host=self._origin.host, port=self._origin.port, target=sending.target
        )
        return httpcore2.Request(
            sending.method, url, headers=raw, content=sending.body, extensions={"trace": departure.noted}
        )

    @contextmanager
    def _connections(self) -> Iterator[httpcore2.AsyncConnectionPool]:
        try:
            pool = self._here.get()
        except LookupError:
            pool = _Pool(self._made)
            self._here.set(pool)
        with pool.used() as connections:
            yield connections

    def _made(self) -> httpcore2.AsyncConnectionPool:
        trust = self._trust()
        return httpcore2.AsyncConnectionPool(
            ssl_context=trust,
            proxy=None if self._proxy is None else _tunnel(self._proxy, trust),
            max_connections=CONNECTIONS,
            keepalive_expiry=_KEPT,
            network_backend=Dialer(private=self._private, plain=self._origin.scheme == "http"),
        )


class _Pool:
    """The connections of one event loop, and the task that closes them once they are idle, or when the loop ends."""

    def __init__(self, make: Callable[[], httpcore2.AsyncConnectionPool]) -> None:
        self._make = make
        self._made: httpcore2.AsyncConnectionPool | None = None
        self._busy = 0
        self._keeper: asyncio.Task[None] | None = None

    @contextmanager
    def used(self) -> Iterator[httpcore2.AsyncConnectionPool]:
        if self._made is None:
            self._made = self._make()
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._keep(self._made))
        self._busy += 1
        try:
            yield self._made
        finally:
            self._busy -= 1

    async def _keep(self, connections: httpcore2.AsyncConnectionPool) -> None:
        """Wait until nobody has used the connections for a while. An event loop that ends cancels this first."""
        try:
            idle = False
            while not idle:
                idle = self._busy == 0  # and still nobody when it wakes up
                await asyncio.sleep(_KEPT)
                idle = idle and self._busy == 0
        finally:
            self._made = None  # the next to come gets new ones, with certificates as they are then
            await connections.aclose()


def _tunnel(proxy: Origin, trust: ssl.SSLContext) -> httpcore2.Proxy:
    url = httpcore2.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target="/")
    return httpcore2.Proxy(url, ssl_context=trust if proxy.scheme == "https" else None)


async def _read(response: httpcore2.Response, limit: int) -> Received:
    """Read an answer to its end. Raises `_Unreadable` where it is too long, or packed as nobody asked for."""
    headers: dict[str, str] = {}
    for raw_name, raw_text in response.headers:
        name, text = raw_name.decode("ascii", "replace").lower(), raw_text.decode("latin-1")
        if name != "set-cookie":  # nothing here keeps cookies
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
    unpacking = _Unpacking(headers.get("content-encoding", "identity").strip().lower(), limit)
    async for part in response.aiter_stream():
        unpacking.add(part)
    return Received(response.status, headers, unpacking.whole())


class _Unpacking:
    """Puts a body together, unpacked, and never more of it than `limit` bytes."""

    def __init__(self, encoding: str, limit: int) -> None:
        if encoding not in ("identity", "", "gzip", "x-gzip"):
            raise _Unreadable("the answer is packed in a way that was not asked for")
        self._packed = zlib.decompressobj(wbits=31) if "gzip" in encoding else None
        self._limit = limit
        self._body = bytearray()
        self._came = False

    def add(self, part: bytes) -> None:
        self._came = self._came or bool(part)
        if self._packed is not None:
            part = self._unpacked(self._packed, part)
        self._body += part
        if len(self._body) > self._limit:
            raise _Unreadable(f"the answer holds more than {self._limit} bytes")

    def _unpacked(self, packed: zlib._Decompress, part: bytes) -> bytes:
        problem = ""
        try:
            return packed.decompress(part, self._limit - len(self._body) + 1)
        except zlib.error:
            problem = "the answer says it is packed with gzip, and is not"
        raise _Unreadable(problem)

    def whole(self) -> bytes:
        if self._packed is not None and self._came and not self._packed.eof:
            raise _Unreadable("the answer is cut off")
        return bytes(self._body)


# What OpenSSL says of a certificate (X509_V_ERR_*), in words that say what to do.
_CERTIFICATES: Mapping[int, str] = {
    9: "its certificate is not valid yet; look at the clocks of both machines",
    10: "its certificate has expired; it has to be renewed there",
    18: "its certificate is signed by itself alone; name its authority's file with ca",
    19: "its certificate comes from an authority that is not trusted here; name the authority's file with ca",
    20: "its certificate comes from an authority that is not trusted here; name the authority's file with ca",
    21: "its certificate comes without those above it; its server has to send the whole chain, or name it with ca",
    62: "its certificate is for another name; look at the url",
    64: "its certificate is for another address; look at the url",
}


def _failure(origin: Origin, error: BaseException, sent: bool) -> Failure:
    """Put an error of the library into words of ours: its own may quote what was sent."""
    host = origin.host
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            words = _CERTIFICATES.get(found.verify_code, f"its certificate is not accepted: {found.verify_message}")
            return Failure(f"{host}: {words}", sent, final=True)
        if isinstance(found, ssl.SSLError):
            return Failure(
                f"{host}: no TLS connection came about ({found.reason or 'it ended'})", sent, final=not sent
            )
        found = found.__cause__ or found.__context__
    if isinstance(error, httpcore2.ProxyError):
        return Failure(f"the proxy opened no tunnel to {host}: {visible(str(error))[:100]}", sent)
    if isinstance(error, httpcore2.LocalProtocolError):
        return Failure(f"{host}: the request cannot be sent as HTTP", sent, final=True)
    if isinstance(error, httpcore2.RemoteProtocolError):
        return Failure(f"{host}: it ended the connection, or sent no HTTP, before its answer was whole", sent)
    words = "the connection broke before its answer was whole" if sent else "no connection was made"
    return Failure(f"{host}: {words}", sent)
