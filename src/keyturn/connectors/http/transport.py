"""One exchange over the network: a request out, a whole answer back, or the reason why not.

Failures are values here, not exceptions: no traceback keeps the frames that held a credential, and nobody has to
find out from an exception whether the request had left.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import httpcore2
from anyio.lowlevel import RunVar

from keyturn.connectors.credentials import Secret
from keyturn.connectors.http.connection import Origin
from keyturn.connectors.http.dialing import AddressRefused, Dialer, Unreachable
from keyturn.connectors.http.failure import Failure, failure_of
from keyturn.connectors.http.reading import Received, Unreadable, read_answer
from keyturn.model.errors import ConfigurationError, ConnectorError

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
    """A request: method, target (path and query), plain fields, fields that hold credentials, body.

    `fresh`: on a connection of its own. One that was kept may be closed by the other side in this very moment, and
    then nobody knows what became of the request.
    """

    method: str
    target: str = field(repr=False)
    headers: Mapping[str, str]
    secrets: Mapping[str, Secret]
    body: bytes = field(repr=False)
    fresh: bool = False


@dataclass(slots=True)
class Departure:
    """Whether anything of a request may have left this machine for its host."""

    sent: bool = False

    async def noted(self, name: str, info: Mapping[str, Any]) -> None:
        """Take note of a step of the library: from sending on, each names the request, whatever the step is called.

        What is said to a proxy to get a tunnel is another request.
        """
        request = info.get("request")
        if request is not None and request.method != b"CONNECT":
            self.sent = True


def _only_the_step(record: logging.LogRecord) -> bool:
    """Keep what is sent and received out of logs: at DEBUG the library writes fields, and errors that quote them."""
    record.msg = str(record.msg).partition(" ")[0]
    return True


for _name in ("httpcore2.http11", "httpcore2.proxy"):
    logging.getLogger(_name).addFilter(_only_the_step)


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
        self._here: RunVar[_Open] = RunVar("keyturn_http_pool")

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
            with self._connections() as pools:
                response = await (pools.fresh if sending.fresh else pools.kept).handle_async_request(
                    self._request(sending, departure)
                )
                try:
                    return await read_answer(response, limit)
                finally:
                    with anyio.CancelScope(shield=True):
                        await response.aclose()
        except AddressRefused as error:
            return Failure(str(error), departure.sent, final=True)
        except Unreadable as error:
            return Failure(f"{self._origin.host}: {error}", departure.sent, final=error.final)
        except Unreachable as error:
            return Failure(str(error), departure.sent)
        except (ConnectorError, ConfigurationError) as error:  # of what makes the TLS context
            return Failure(str(error), departure.sent, final=True)
        except _LIBRARY as error:
            return failure_of(self._origin, error, sent=departure.sent)

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
    def _connections(self) -> Iterator[_Pools]:
        try:
            open_here = self._here.get()
        except LookupError:
            open_here = _Open(self._made)
            self._here.set(open_here)
        with open_here.used() as pools:
            yield pools

    def _made(self) -> _Pools:
        trust = self._trust() if self._origin.scheme == "https" else None
        make = partial(
            httpcore2.AsyncConnectionPool,
            ssl_context=trust,
            proxy=None if self._proxy is None else _tunnel(self._proxy, trust),
            max_connections=CONNECTIONS,
            keepalive_expiry=_KEPT,
            network_backend=Dialer(private=self._private, plain=self._origin.scheme == "http"),
        )
        return _Pools(kept=make(), fresh=make(max_keepalive_connections=0))


@dataclass(frozen=True, slots=True)
class _Pools:
    """Connections that are used again, and those that are used once."""

    kept: httpcore2.AsyncConnectionPool
    fresh: httpcore2.AsyncConnectionPool

    async def aclose(self) -> None:
        await self.kept.aclose()
        await self.fresh.aclose()


class _Open:
    """The connections of one event loop, and the task that closes them once they are idle, or when the loop ends."""

    def __init__(self, make: Callable[[], _Pools]) -> None:
        self._make = make
        self._made: _Pools | None = None
        self._busy = 0
        self._keeper: asyncio.Task[None] | None = None

    @contextmanager
    def used(self) -> Iterator[_Pools]:
        if self._made is None:
            self._made = self._make()
            self._keeper = asyncio.get_running_loop().create_task(self._keep(self._made))
        self._busy += 1
        try:
            yield self._made
        finally:
            self._busy -= 1

    async def _keep(self, pools: _Pools) -> None:
        """Wait until nobody has used the connections for a while. An event loop that ends cancels this first."""
        try:
            idle = False
            while not idle:
                idle = self._busy == 0  # and still nobody when it wakes up
                await asyncio.sleep(_KEPT)
                idle = idle and self._busy == 0
        finally:
            self._made = None  # the next to come gets new ones, with certificates as they are then
            await pools.aclose()


def _tunnel(proxy: Origin, trust: ssl.SSLContext | None) -> httpcore2.Proxy:
    url = httpcore2.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target="/")
    return httpcore2.Proxy(url, ssl_context=trust if proxy.scheme == "https" else None)
