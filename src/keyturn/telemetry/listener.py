"""Answers `GET /metrics` on an address of its own, and nothing else, in few threads and little time.

There is no authentication, so nothing is told here that a stranger may not know. A page in somebody's browser may
reach it under a name of its own (DNS rebinding), so a request must name this address in its Host header.
"""

from __future__ import annotations

import ipaddress
import logging
import queue
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from keyturn.model.errors import ConfigurationError

THREADS = 4  # requests answered at a time
ASKING = 64  # connections that have not asked yet; the next takes the place of the oldest
QUEUE = 64  # connections that the kernel keeps, and requests that wait for an answer
PATIENCE = 5.0  # seconds one connection may take in all
MAX_HEAD = 8192  # bytes of a request's line and headers
_CHUNK = 4096
_LOOK = 0.5  # seconds between looks at who has taken too long
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


@dataclass(slots=True, eq=False)
class _Asking:
    """A connection whose request is being read; `head` is None when what came is none."""

    connection: socket.socket
    deadline: float
    came: bytes = b""
    head: bytes | None = None

    def read(self) -> bool:
        """Read what is there; say whether that was all: the empty line, or too much, or an end before it."""
        try:
            chunk = self.connection.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        self.came += chunk
        if b"\r\n\r\n" in self.came:
            self.head = self.came.partition(b"\r\n\r\n")[0]
            return True
        return not chunk or len(self.came) > MAX_HEAD


class Listener:
    """Serves what `page` returns until it is closed. Raises `ConfigurationError` where it cannot listen."""

    def __init__(self, address: Address, page: Callable[[], bytes], content_type: str) -> None:
        self._page = page
        self._type = content_type
        self._socket = _listen(address)
        self.address = Address(address.host, self._socket.getsockname()[1])
        self._names = _names(self.address)
        self._asked: queue.Queue[_Asking | None] = queue.Queue(QUEUE)
        self._hearing = threading.Thread(target=self._hear, name="metrics", daemon=True)
        names = [f"metrics-{number}" for number in range(THREADS)]
        self._threads = [threading.Thread(target=self._serve, name=name, daemon=True) for name in names]
        for thread in (self._hearing, *self._threads):
            thread.start()

    def close(self) -> None:
        """Stop taking requests."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes who waits for it; closing alone does not
        self._hearing.join()
        self._socket.close()
        for _ in self._threads:
            with suppress(queue.Full):  # those who are busy are daemons
                self._asked.put(None, timeout=_LOOK)

    def _hear(self) -> None:
        """Read what all who connect ask, and hand it to who answers: nobody waits for those who ask slowly."""
        asking: list[_Asking] = []  # the oldest first
        with selectors.DefaultSelector() as watch:
            watch.register(self._socket, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in watch.select(_LOOK if asking else None)}
                for one in [one for one in asking if one.connection in ready and one.read()]:
                    watch.unregister(one.connection)
                    asking.remove(one)
                    self._hand_over(one)
                for one in _too_slow(asking):
                    watch.unregister(one.connection)
                    asking.remove(one)
                    one.connection.close()
                try:
                    come = self._accept() if self._socket in ready else None
                except OSError:  # closed
                    break
                if come is not None:
                    asking.append(come)
                    watch.register(come.connection, selectors.EVENT_READ)
        for one in asking:
            one.connection.close()

    def _accept(self) -> _Asking | None:
        """Take one connection. Raises `OSError` once there are none to come."""
        try:
            connection, _ = self._socket.accept()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            time.sleep(0.1)  # no descriptors left: others may give some back
            return None
        connection.setblocking(False)
        return _Asking(connection, time.monotonic() + PATIENCE)

    def _hand_over(self, one: _Asking) -> None:
        try:
            self._asked.put_nowait(one)
        except queue.Full:
            one.connection.close()

    def _serve(self) -> None:
        while (one := self._asked.get()) is not None:
            with one.connection:
                self._take(one)

    def _take(self, one: _Asking) -> None:
        try:
            self._answer(one)
        except OSError:
            return  # who asked is gone, or too slow
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread: there are few
            _log.error("metrics cannot be served: %s", error)

    def _answer(self, one: _Asking) -> None:
        status, body = self._respond(one.head, one.connection.getsockname()[0])
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
        answer = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + body
        one.connection.settimeout(PATIENCE)
        one.connection.sendall(answer)  # its time-out is for all of it together

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


def _too_slow(asking: list[_Asking]) -> list[_Asking]:
    """Return who has taken too long to ask, and, where more ask than may, who began first."""
    now, too_many = time.monotonic(), len(asking) - ASKING
    return [one for place, one in enumerate(asking) if place < too_many or one.deadline < now]


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
        listening.setblocking(False)
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
