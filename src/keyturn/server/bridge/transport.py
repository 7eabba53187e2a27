"""Opens the connections of a bridge; one on a socket file carries nothing before it is known who listens there.

The library's own transport takes no say in how connections are made, so its pool is used directly.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TypeAlias

import httpcore2
import httpx2

from keyturn.server.bridge.listener import account_behind, why_distrusted
from keyturn.server.bridge.target import Target

CONNECTIONS = 80
_KEPT = 2.0  # seconds; below the 5 after which servers close idle connections: a close must not meet a request
_Option: TypeAlias = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)  # of a socket, as the library passes them


class DistrustedError(Exception):
    """Who listens on the socket could be anybody: nothing was sent. The text says why."""


class Transport(httpx2.AsyncBaseTransport):
    """Connections to a target alone: without proxies, HTTP/2 or attempts that nobody asked for."""

    def __init__(self, target: Target) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=_verifying(),
            max_connections=CONNECTIONS,
            keepalive_expiry=_KEPT,
            uds=None if target.socket is None else str(target.socket),
            network_backend=None if target.socket is None else _Vetting(),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Raises `DistrustedError` and the errors of httpcore2."""
        url = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        response = await self._pool.handle_async_request(
            httpcore2.Request(
                request.method,
                url,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(response.status, headers=response.headers, stream=_Content(response))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _Content(httpx2.AsyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._response.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._response.aclose()


class _Vetting(httpcore2.AnyIOBackend):
    """Connects to socket files, and hangs up on listeners that are not to be trusted before anything is said."""

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        socket_options: Iterable[_Option] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        stream = await super().connect_unix_socket(path, timeout, socket_options)
        why = why_distrusted(Path(path), account_behind(stream.get_extra_info("socket")), os.geteuid())
        if why is not None:
            await stream.aclose()
            raise DistrustedError(why)
        return stream


def _verifying() -> ssl.SSLContext:
    """Trust the operating system's authorities, and OpenSSL's own SSL_CERT_FILE for one of your own.

    `ssl.create_default_context` would besides write the keys of each connection to a file that SSLKEYLOGFILE names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and name, from TLS 1.2 on
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context
