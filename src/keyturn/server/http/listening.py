"""Opens what is listened on: addresses of this machine, and a socket file that only its group may use."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyturn.model.errors import ConfigurationError

BACKLOG = 128
MODE = 0o660  # of the socket file: the account and its group
MAX_PATH = 100  # bytes; sockaddr_un takes 107, and the file is made under a longer name first

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%a-z]+\]|[^:\[\]\s/]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Listener:
    """One open listening socket: what to call it, whether it is reached from this machine alone, how to close it."""

    socket: socket.socket
    name: str
    local: bool
    close: Callable[[], None]


@contextmanager
def listening(http: str | None, path: str | None, hosts: Sequence[str]) -> Iterator[list[Listener]]:
    """Open what was asked for, and close and remove it in the end. Raises `ConfigurationError` with what to do."""
    opened: list[Listener] = []
    try:
        if http is not None:
            opened += open_address(http, hosts)
        if path is not None:
            opened.append(open_file(Path(path)))
        yield opened
    finally:
        for listener in opened:
            listener.close()


def open_address(address: str, hosts: Sequence[str]) -> list[Listener]:
    """Listen on HOST:PORT, on every address the name has; port 0 takes a free one.

    An address that others can reach is refused unless `hosts` says by which names: without them the Host check would
    be none. Raises `ConfigurationError`.
    """
    host, port = read_address(address)
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(
            f"--http {address}: {host} is no address of this machine: {error.strerror}"
        ) from error
    local = all(ipaddress.ip_address(str(place[4][0]).split("%")[0]).is_loopback for place in places)
    if not local and not hosts:
        raise ConfigurationError(
            f"--http {address} can be reached from other machines: name this server in keyturn.toml, "
            '[http] hosts = ["keyturn.example.com"], and put TLS in front; or listen on 127.0.0.1'
        )
    opened: list[Listener] = []
    for family, *_, where in dict.fromkeys(places):
        opened.append(_bind(family, where, port, local, address))
        port = opened[0].socket.getsockname()[1]  # the same free port for each of the name's addresses
    return opened


def read_address(address: str) -> tuple[str, int]:
    """Read HOST:PORT, an IPv6 address in brackets. Raises `ConfigurationError` with an example."""
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found[2]) > 65535:
        raise ConfigurationError(f"--http {address[:200]}: must be HOST:PORT, such as 127.0.0.1:8765 or [::1]:8765")
    return found[1].strip("[]"), int(found[2])


def _bind(family: int, where: tuple[object, ...], port: int, local: bool, address: str) -> Listener:
    # The protocol is named because asyncio sends without delay (TCP_NODELAY) only on sockets that say they are TCP.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((where[0], port, *where[2:]))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        mend = "; take another port, or end what listens there" if error.errno == errno.EADDRINUSE else ""
        raise ConfigurationError(f"--http {address}: cannot be listened on: {error.strerror}{mend}") from error
    name = f"[{where[0]}]" if family == socket.AF_INET6 else str(where[0])
    return Listener(sock, f"http://{name}:{sock.getsockname()[1]}/mcp", local, sock.close)


def open_file(path: Path) -> Listener:
    """Listen on a socket file with mode 0660.

    A file that a dead server left behind is replaced; one on which somebody listens, or that is no socket, is not.
    Raises `ConfigurationError`.
    """
    path = path.absolute()
    if len(os.fsencode(path)) > MAX_PATH:
        raise ConfigurationError(f"--socket {path}: the path of a socket has at most {MAX_PATH} bytes")
    _check_parent(path.parent)
    with _one_at_a_time(path.parent):
        _check_free(path)
        sock, made = _put_in_place(path)

    def close() -> None:
        sock.close()
        with _one_at_a_time(path.parent):
            _remove_own(path, made)

    return Listener(sock, f"unix:{path}", True, close)


def _check_parent(folder: Path) -> None:
    """Refuse a folder in which another account could put a socket of its own in the place of ours."""
    try:
        status = folder.stat()
    except OSError as error:
        raise ConfigurationError(f"--socket: {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigurationError(f"--socket: {folder} is no folder")
    if status.st_uid not in {0, os.geteuid()}:
        raise ConfigurationError(f"--socket: {folder} belongs to another account, which could replace the socket")
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise ConfigurationError(f"--socket: everybody can write to {folder}: run chmod o-w {folder}")
    if status.st_mode & stat.S_IWGRP and not status.st_mode & stat.S_ISVTX:
        # The group is the clients', often: one of them could take the others' tokens.
        raise ConfigurationError(f"--socket: its group can write to {folder}, and replace it: run chmod g-w {folder}")


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Two servers that start together must not both find the place free."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"--socket: {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check_free(path: Path) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"--socket {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(status.st_mode):
        raise ConfigurationError(f"--socket {path} exists and is no socket; name another place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        answer = probe.connect_ex(os.fspath(path))
    if answer != errno.ECONNREFUSED:
        raise ConfigurationError(f"--socket {path}: another program listens there")


def _put_in_place(path: Path) -> tuple[socket.socket, os.stat_result]:
    """Make the socket under a name of its own and move it into place when it has its mode and is listened on."""
    making = path.with_name(f".{os.getpid()}.new")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        making.unlink(missing_ok=True)
        sock.bind(os.fspath(making))
        making.chmod(MODE)
        sock.listen(BACKLOG)
        made = making.lstat()
        making.rename(path)
    except OSError as error:
        sock.close()
        making.unlink(missing_ok=True)
        raise ConfigurationError(f"--socket {path}: cannot be made: {error.strerror}") from error
    return sock, made


def _remove_own(path: Path, made: os.stat_result) -> None:
    try:
        if os.path.samestat(path.lstat(), made):
            path.unlink()
    except OSError:
        return  # gone already, or its folder is
