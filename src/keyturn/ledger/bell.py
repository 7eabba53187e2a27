"""Bells between the processes of one home: whoever has committed rings, and whoever listens looks at once.

Each listener is a datagram socket `<name>.bell` in the home's run folder. A ring says nothing and proves nothing; it
only saves others the wait until they look anyway. So it may get lost, and nobody ever waits for one to arrive.

Addresses of unix sockets hold 107 bytes (unix(7)); a home may lie deeper than that. So every path goes through a
descriptor of the folder: `/proc/self/fd/N/<name>.bell`.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SUFFIX = ".bell"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Bell:
    """Rings all listeners of one run folder. Not thread-safe: its owner holds a lock."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self.spared: str | None = None  # the listener of this process, while nobody here waits for its own commits
        self._folder = -1
        self._socket: socket.socket | None = None

    def ring(self) -> None:
        """Tell every listener that there is news. Never waits and never fails: who is not rung looks by itself."""
        with suppress(OSError):
            self._ring()

    def __del__(self, leaving: Callable[[], bool] = sys.is_finalizing) -> None:
        if not leaving():  # then the system closes everything, and modules are half gone
            self.close()

    def close(self) -> None:
        """Close the socket and the folder."""
        if self._socket is not None:
            self._socket.close()
            os.close(self._folder)
            self._socket, self._folder = None, -1

    def _ring(self) -> None:
        if self._socket is None:
            self._folder = os.open(self._run, _FOLDER)
            self._socket = _datagrams()
        for name in os.listdir(self._folder):  # noqa: PTH208 - by its descriptor, which no path can be
            if name.endswith(SUFFIX) and name != self.spared:
                self._ring_one(self._socket, name)

    def _ring_one(self, bell: socket.socket, name: str) -> None:
        try:
            bell.sendto(b"", _address(self._folder, name))
        except ConnectionRefusedError:
            # Nobody has it open: its process is dead, and its name is never taken again.
            os.unlink(name, dir_fd=self._folder)
        except (BlockingIOError, FileNotFoundError):
            return  # it has rings enough that it has not heard yet, or is just leaving


class Listener:
    """This process's ear in a run folder, under a name that no other process ever has."""

    def __init__(self, run: Path, name: str) -> None:
        """Begin to listen. Raises `OSError` where there can be no such socket: then one has to look by oneself."""
        self.name = f"{name}{SUFFIX}"
        self._path = run / self.name
        folder = os.open(run, _FOLDER)
        self.socket = _datagrams()
        try:
            # It gets its name once it can be rung: until then a ring would take it for a dead one.
            self.socket.bind(_address(folder, name))
            os.chmod(name, 0o600, dir_fd=folder)
            os.rename(name, self._path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            self.socket.close()
            raise
        finally:
            os.close(folder)

    def __del__(self) -> None:
        if hasattr(self, "socket"):
            self.close()

    def clear(self) -> None:
        """Hear all rings so far."""
        with suppress(BlockingIOError):
            while True:
                self.socket.recv(1)

    def close(self) -> None:
        """Stop listening."""
        self.socket.close()
        with suppress(FileNotFoundError):
            self._path.unlink()


def _datagrams() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def _address(folder: int, name: str) -> str:
    return f"/proc/self/fd/{folder}/{name}"
