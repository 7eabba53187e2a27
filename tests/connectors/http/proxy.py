"""A small proxy that opens tunnels (CONNECT, RFC 9110 section 9.3.6) on real sockets."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType


class Proxy:
    """Leads every tunnel to one place, whatever was asked for, and remembers what that was."""

    def __init__(self, to: int, status: bytes = b"200 Go") -> None:
        self.asked: list[bytes] = []
        self._to = to
        self._status = status
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lines: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Proxy:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in (self._listener, *self._lines):
            with suppress(OSError):  # closed already
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for line in (self._listener, *self._lines):
            line.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self._lines.append(line)
            self._start(self._tunnel, line)

    def _start(self, job: object, *arguments: object) -> None:
        thread = threading.Thread(target=job, args=arguments)  # type: ignore[arg-type]  # one of the two below
        self._threads.append(thread)
        thread.start()

    def _tunnel(self, line: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = line.recv(4096)
            if not part:
                return
            head += part
        self.asked.append(head)
        line.sendall(b"HTTP/1.1 " + self._status + b"\r\nContent-Length: 0\r\n\r\n"[: None if self._refuses else 2])
        if self._refuses:
            return
        line.sendall(b"\r\n")
        far = socket.create_connection(("127.0.0.1", self._to))
        self._lines.append(far)
        self._start(self._carry, far, line)
        self._carry(line, far)

    @property
    def _refuses(self) -> bool:
        return not self._status.startswith(b"2")

    def _carry(self, from_: socket.socket, to: socket.socket) -> None:
        try:
            while part := from_.recv(65536):
                to.sendall(part)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one of the two hung up
