"""The address of the metrics: one page, for those who name it rightly, within bounds."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from keyturn.model.errors import ConfigurationError
from keyturn.telemetry import listener
from keyturn.telemetry.listener import Address, Listener, read_address

PAGE = b"up 1\n"


@pytest.fixture
def listening() -> Iterator[Listener]:
    with closing(Listener(Address("127.0.0.1", 0), lambda: PAGE, "text/plain; version=0.0.4")) as served:
        yield served


def ask(listening: Listener, request: str | bytes, host: str | None = None) -> tuple[int, bytes, bytes]:
    """Send one request; return status, headers and body."""
    port = listening.address.port
    name = host or f"127.0.0.1:{port}"
    data = request if isinstance(request, bytes) else f"{request}\r\nHost: {name}\r\n\r\n".encode()
    with socket.create_connection((listening.address.host, port), timeout=10) as connection:
        connection.sendall(data)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


def test_the_page_is_served_to_whoever_asks_for_it(listening: Listener) -> None:
    status, head, body = ask(listening, "GET /metrics HTTP/1.1")
    assert (status, body) == (200, PAGE)
    assert b"Content-Type: text/plain; version=0.0.4\r\n" in head
    assert b"Content-Length: 5\r\n" in head


def test_there_is_nothing_else(listening: Listener) -> None:
    assert ask(listening, "GET / HTTP/1.1")[0] == 404
    assert ask(listening, "GET /metrics/../etc HTTP/1.1")[0] == 404
    assert ask(listening, "GET /metrics?x=1 HTTP/1.0")[0] == 200


@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE", "OPTIONS"])
def test_only_get_is_answered(listening: Listener, method: str) -> None:
    status, head, _ = ask(listening, f"{method} /metrics HTTP/1.1")
    assert status == 405
    assert head.endswith(b"Allow: GET")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1:{port}.evil.example", " "])
def test_a_host_that_is_not_this_address_is_refused(listening: Listener, host: str) -> None:
    assert ask(listening, "GET /metrics HTTP/1.1", host.format(port=listening.address.port))[0] == 421


def test_localhost_names_a_loopback_address(listening: Listener) -> None:
    assert ask(listening, "GET /metrics HTTP/1.1", f"LOCALHOST:{listening.address.port}")[0] == 200


def test_two_hosts_name_nothing(listening: Listener) -> None:
    here = str(listening.address)
    assert ask(listening, f"GET /metrics HTTP/1.1\r\nHost: {here}")[0] == 421
    assert ask(listening, b"GET /metrics HTTP/1.1\r\n\r\n")[0] == 421


@pytest.mark.parametrize(
    "junk",
    [
        b"\r\n\r\n",
        b"GET /metrics\r\n\r\n",
        b"GET /metrics HTTP/3\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n",
    ],
)
def test_what_is_no_request_is_said_to_be_none(listening: Listener, junk: bytes) -> None:
    assert ask(listening, junk)[0] == 400


def test_a_head_without_end_is_cut_off(listening: Listener) -> None:
    with socket.create_connection((listening.address.host, listening.address.port), timeout=10) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (listener.MAX_HEAD + 5000))
        answer = b""
        with suppress(ConnectionResetError):  # it is closed with the rest unread
            answer = connection.recv(65_536)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


def test_who_says_nothing_is_let_go_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "PATIENCE", 0.2)
    with closing(Listener(Address("127.0.0.1", 0), lambda: PAGE, "text/plain")) as served:
        place = (served.address.host, served.address.port)
        silent = [socket.create_connection(place, timeout=10) for _ in range(2 * listener.THREADS)]
        try:
            assert ask(served, "GET /metrics HTTP/1.1")[0] == 200
            assert all(connection.recv(100) == b"" for connection in silent)
        finally:
            for connection in silent:
                connection.close()


def test_who_asks_slowly_keeps_nobody_waiting(listening: Listener) -> None:
    place = (listening.address.host, listening.address.port)
    crowd = [socket.create_connection(place, timeout=10) for _ in range(listener.ASKING + 40)]
    try:
        for connection in crowd:
            with suppress(OSError):  # the oldest had to make room
                connection.sendall(b"GET /me")
        began = time.monotonic()
        assert ask(listening, "GET /metrics HTTP/1.1")[0] == 200
        assert time.monotonic() - began < listener.PATIENCE / 2
    finally:
        for connection in crowd:
            connection.close()


def test_more_questions_than_may_wait_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "QUEUE", 2)
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def page() -> bytes:
        begun.release()
        go_on.wait(60)
        return PAGE

    with closing(Listener(Address("127.0.0.1", 0), page, "text/plain")) as served:
        request = f"GET /metrics HTTP/1.1\r\nHost: {served.address}\r\n\r\n".encode()
        waiting = []
        for number in range(listener.THREADS + 2 + 3):
            connection = socket.create_connection((served.address.host, served.address.port), timeout=20)
            connection.sendall(request)
            # One after the other: each thread has taken its own, the queue holds those that may wait, the rest go.
            if number < listener.THREADS:
                assert begun.acquire(timeout=20)
            elif number < listener.THREADS + 2:
                while served._asked.qsize() <= number - listener.THREADS:
                    time.sleep(0.005)
            else:
                with connection:
                    assert connection.recv(100) == b""
                continue
            waiting.append(connection)
        go_on.set()
        for connection in waiting:
            with connection:
                assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_who_breaks_off_while_asking_is_forgotten(listening: Listener) -> None:
    with socket.create_connection((listening.address.host, listening.address.port), timeout=10) as connection:
        connection.sendall(b"GET /me")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets it
    assert ask(listening, "GET /metrics HTTP/1.1")[0] == 200


def test_no_crowd_makes_more_threads(listening: Listener) -> None:
    before = threading.active_count()
    place = (listening.address.host, listening.address.port)
    crowd = [socket.create_connection(place, timeout=10) for _ in range(12)]
    assert threading.active_count() == before
    for connection in crowd:
        connection.close()
    assert ask(listening, "GET /metrics HTTP/1.1")[0] == 200


def test_a_fault_while_the_page_is_made_ends_no_thread() -> None:
    faults = [ZeroDivisionError("c4n4ry")] * (listener.THREADS + 1)

    def page() -> bytes:
        if faults:
            raise faults.pop()
        return PAGE

    with closing(Listener(Address("127.0.0.1", 0), page, "text/plain")) as served:
        request = f"GET /metrics HTTP/1.1\r\nHost: {served.address}\r\n\r\n".encode()
        for _ in range(listener.THREADS + 1):
            with socket.create_connection((served.address.host, served.address.port), timeout=10) as connection:
                connection.sendall(request)
                assert connection.recv(100) == b""
        assert ask(served, "GET /metrics HTTP/1.1")[0] == 200


def test_after_closing_nobody_listens(listening: Listener) -> None:
    place = (listening.address.host, listening.address.port)
    listening.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, timeout=10)


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("9464", Address("127.0.0.1", 9464), "127.0.0.1:9464"),
        ("10.1.2.3:9464", Address("10.1.2.3", 9464), "10.1.2.3:9464"),
        ("[::1]:0", Address("::1", 0), "[::1]:0"),
        ("metrics.example:80", Address("metrics.example", 80), "metrics.example:80"),
    ],
)
def test_an_address_is_a_host_and_a_port_and_loopback_unless_named(text: str, address: Address, shown: str) -> None:
    assert read_address(text) == address
    assert str(address) == shown


@pytest.mark.parametrize("text", ["", "host", ":9464", "host:", "1:65536", "::1:80", "http://x:1", "a b:1", "٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        read_address(text)


def test_an_address_that_is_taken_or_unknown_is_told_with_its_option(listening: Listener) -> None:
    with pytest.raises(ConfigurationError, match=r"--metrics 127\.0\.0\.1:.* in use"):
        Listener(listening.address, lambda: PAGE, "text/plain")
    with pytest.raises(ConfigurationError, match=r"--metrics nowhere\.invalid:1"):
        Listener(Address("nowhere.invalid", 1), lambda: PAGE, "text/plain")
