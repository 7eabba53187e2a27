"""Answers `GET /metrics` on an address of its own, and nothing else, in few threads and little time.

There is no authentication, so nothing is told here that a stranger may not know. A page in somebody's browser may
reach it under a name of its own (DNS rebinding), so a request must name this address in its Host header.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from keyturn.model.errors import ConfigurationError

THREADS = 4  # connections answered at a time; the rest wait in the kernel's queue
QUEUE = 16
PATIENCE = 5.0  # seconds one connection may take in all
MAX_HEAD = 8192  # bytes of a request's line and headers
_CHUNK = 4096
_log = logging.getLogger(__name__)
_LOOPBACK: Final = "127.0.0.1"
_ADDRESS = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):)?(?P<port>[0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """Where metrics are served: a name or a literal address without brackets, and a port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(text: str) -> Address:
    """Read `HOST:PORT`, or `PORT` for loopback. Raises `ConfigurationError`."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"]) > 65_535:
        raise ConfigurationError(f"{text[:100]!r} is no address to serve metrics on: give HOST:PORT, or PORT")
    return Address((found["host"] or _LOOPBACK).strip("[]"), int(found["port"]))


class Listener:
    """Serves what `page` returns until it is closed. Raises `ConfigurationError` where it cannot listen."""

    def __init__(self, address: Address, page: Callable[[], bytes], content_type: str) -> None:
        self._page = page
        self._type = content_type
        self._socket = _listen(address)
        self.address = Address(address.host, self._socket.getsockname()[1])
        self._names = _names(self.address)
        threads = [threading.Thread(target=self._serve, name=f"metrics-{n}", daemon=True) for n in range(THREADS)]
        for thread in threads:
            thread.start()

    def close(self) -> None:
        """Stop taking requests."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept(); closing alone does not
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError as error:
                if self._socket.fileno() < 0 or error.errno not in _PASSING:
                    return
                time.sleep(0.1)  # no descriptors left: others may give some back
                continue
            with connection:
                self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        try:
            self._answer(connection, time.monotonic() + PATIENCE)
        except OSError:
            return  # who asked is gone, or too slow
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread: there are few
            _log.error("metrics cannot be served: %s", error)

    def _answer(self, connection: socket.socket, deadline: float) -> None:
        head = _read_head(connection, deadline)
        status, body = self._respond(head, connection.getsockname()[0])
        kind = self._type if status == _OK else "text/plain; charset=utf-8"
        lines = [
            f"HTTP/1.1 {status}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        ]
        if status == _NOT_ALLOWED:
            lines.append("Allow: GET")
        _send(connection, ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + body, deadline)

    def _respond(self, head: bytes | None, here: str) -> tuple[str, bytes]:
        """Return the status and the body that answer a request; `here` is the address it was sent to."""
        asked = None if head is None else _parse(head)
        if asked is None:
            return "400 Bad Request", b"this is no HTTP request\n"
        method, path, hosts = asked
        allowed = {*self._names, str(Address(here, self.address.port))}
        if len(hosts) != 1 or hosts[0].lower() not in allowed:
            return "421 Misdirected Request", b"the Host header does not name this address\n"
        if path.partition("?")[0] != "/metrics":
            return "404 Not Found", b"there is only /metrics\n"
        if method != "GET":
            return _NOT_ALLOWED, b"only GET is answered\n"
        return _OK, self._page()


_OK: Final = "200 OK"
_NOT_ALLOWED: Final = "405 Method Not Allowed"
_PASSING: Final = frozenset({11, 12, 23, 24, 103, 105})  # EAGAIN ENOMEM ENFILE EMFILE ECONNABORTED ENOBUFS


def _listen(address: Address) -> socket.socket:
    try:
        family, kind, number, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, number)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"--metrics {address}: {error}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(QUEUE)
    except OSError as error:
        listening.close()
        raise ConfigurationError(f"--metrics {address}: {error.strerror}; name another address") from error
    return listening


def _names(address: Address) -> frozenset[str]:
    """Return the Host headers that name this address beside the literal a connection came to."""
    names = [address.host.lower()]
    with suppress(ValueError):
        if ipaddress.ip_address(address.host).is_loopback:
            names.append("localhost")
    return frozenset(str(Address(name, address.port)) for name in names)


def _read_head(connection: socket.socket, deadline: float) -> bytes | None:
    """Read up to the empty line; None when it does not come in time or in `MAX_HEAD` bytes."""
    read = b""
    while b"\r\n\r\n" not in read:
        left = deadline - time.monotonic()
        if left <= 0 or len(read) > MAX_HEAD:
            return None
        connection.settimeout(left)
        chunk = connection.recv(_CHUNK)
        if not chunk:
            return None
        read += chunk
    return read.partition(b"\r\n\r\n")[0]


def _parse(head: bytes) -> tuple[str, str, list[str]] | None:
    """Return method, path and every Host header of a request, or None when it is none (RFC 9112)."""
    try:
        first, *rest = head.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    words = first.split(" ")
    if len(words) != 3 or words[2] not in {"HTTP/1.1", "HTTP/1.0"}:
        return None
    fields = [line.partition(":") for line in rest]
    if any(not colon or name != name.strip() for name, colon, _ in fields):
        return None
    return words[0], words[1], _hosts(fields)


def _hosts(fields: Iterable[tuple[str, str, str]]) -> list[str]:
    return [value.strip() for name, _, value in fields if name.lower() == "host"]


def _send(connection: socket.socket, data: bytes, deadline: float) -> None:
    connection.settimeout(max(0.001, deadline - time.monotonic()))
    connection.sendall(data)  # its timeout is for all of it together
