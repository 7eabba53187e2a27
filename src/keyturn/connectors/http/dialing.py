"""Opens connections: resolves a name itself, looks at every address, and connects to the very one it looked at."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from typing import TypeAlias

import anyio
import httpcore2
from anyio.lowlevel import checkpoint

from keyturn.connectors.http.addresses import literal, sort_of

_Option: TypeAlias = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)  # of a socket, as the library passes them

ADDRESSES = 6
"""Addresses of one name that are tried."""


class AddressRefused(Exception):
    """An address that may not be connected to: nothing was sent. The text says which and why."""


class Unreachable(Exception):
    """No connection was made. The text says why."""


class Dialer(httpcore2.AnyIOBackend):
    """Connects to addresses that may be connected to, and to nothing else.

    `plain`: without TLS, so loopback addresses alone; `private`: private and loopback addresses, too.
    """

    def __init__(self, *, private: bool, plain: bool) -> None:
        super().__init__()
        self._private = private
        self._plain = plain

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[_Option] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to one of the addresses of a host. Raises `AddressRefused` when any of them is not allowed."""
        found = await _addresses(host, port)
        for address in found:
            if problem := self._problem(host, address):
                raise AddressRefused(problem)
        addresses, failures = found[:ADDRESSES], []
        for place, address in enumerate(addresses, 1):
            try:
                # The time that is left belongs to all of them that are left.
                with anyio.fail_after(_share(len(addresses) - place + 1)):
                    return await super().connect_tcp(address, port, None, local_address, socket_options)
            except (httpcore2.ConnectError, TimeoutError) as error:
                failures.append(_why(error))
        raise Unreachable(f"{host} cannot be reached: {', '.join(dict.fromkeys(failures))}")

    def _problem(self, host: str, address: str) -> str | None:
        sort = sort_of(ip_address(address))
        named = address if address == host else f"{host} ({address})"
        if sort == "never":
            return f"{named} is never connected to: link-local addresses, metadata services and such"
        if self._plain and sort != "loopback":
            return f"{named} is no loopback address, and only to those is anything sent without TLS"
        if sort != "public" and not self._private:
            return f"{named} is a {sort} address, which needs private = true"
        return None


def _share(left: int) -> float | None:
    until = anyio.current_effective_deadline()
    return None if until == float("inf") else max(0.0, until - anyio.current_time()) / left


async def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a name, in the order of the operating system (RFC 6724)."""
    address = literal(host)
    if address is not None:
        await checkpoint()
        return [str(address)]
    failure = ""
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        failure = f"{host} has no address: {error.strerror or 'it cannot be looked up'}"
    if failure:
        raise Unreachable(failure)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


def _why(error: BaseException) -> str:
    """Say why a connection was not made, from the system's own error where there is one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return "nothing listens there" if cause.errno == errno.ECONNREFUSED else cause.strerror or "no connection"
        cause = cause.__cause__ or cause.__context__
    return "it does not answer" if isinstance(error, TimeoutError) else "no connection"
