"""A proxy for clients that cannot send a token: it adds the header and leaves Host and Origin as they are."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PATIENCE = 60.0  # seconds that a client may take to read an answer


@contextmanager
def bearer_proxy(target: tuple[str, int], token: str) -> Iterator[int]:
    """Listen on loopback and pass each request on with a token; yields the port. One request to a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, target, token), daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, target: tuple[str, int], token: str) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_pass_on, args=(client, target, token), daemon=True).start()


def _pass_on(client: socket.socket, target: tuple[str, int], token: str) -> None:
    with client, suppress(OSError):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = client.recv(65536)
            if not piece:
                return
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        lines += [f"Authorization: Bearer {token}".encode(), b"Connection: close"]
        with socket.create_connection(target) as server:
            server.sendall(b"\r\n".join([*lines, b"", b""]) + body)
            asking = threading.Thread(target=_pump, args=(client, server), daemon=True)
            asking.start()
            with suppress(OSError):
                while piece := server.recv(65536):
                    client.sendall(piece)
            # The client ends the connection once it has read all: Node's own stumbles over an end that comes while it
            # holds a large answer back.
            asking.join(PATIENCE)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    for end in (source, sink):  # whoever waits on either side learns that it is over
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
