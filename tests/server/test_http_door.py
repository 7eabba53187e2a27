"""Who is let in over HTTP, and that whatever else arrives is answered briefly, leaves no trace and stops nobody."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.server.home import Place, until
from tests.server.web import ACCEPT, HELLO, Session, Site, call, message_of, read_until_closed, site

MARK = "pa55word-in-a-payload"
READ = call("get_ticket", ticket="OPS-1")
MODERN_HEAD = (
    "Content-Type: application/json\r\nMCP-Protocol-Version: 2026-07-28\r\n"
    "Mcp-Method: tools/call\r\nMcp-Name: get_ticket\r\n\r\n"
)


@pytest.fixture(scope="module")
def running(place: Place) -> Iterator[Site]:
    """One server for all that is thrown at it; in the end it has said nothing and the ledger has not grown."""
    with site(place) as running:
        size = len(place.look(lambda view: view.entries(0)))
        yield running
        running.alive()
        assert running.call(place.token, "get_permissions").status_code == 200
        assert running.stop() == 0
        assert running.said() == []
        grown = place.look(lambda view: view.entries(0))[size:]
        assert {entry.kind for entry in grown} <= {"token.issued", "token.revoked", "read.served", "action.denied"}


def tell(sock: socket.socket, *lines: str | bytes, body: bytes = b"") -> bytes:
    """Write a request line by line, end it, and read all that comes until the server closes."""
    head = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\r\n" for line in lines)
    sock.sendall(head + b"\r\n" + body)
    return read_until_closed(sock)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "[::1]x", "", "::1"],
)
@pytest.mark.parametrize("path", ["/mcp", "/healthz", "/readyz", "/other"])
def test_a_foreign_host_is_refused_on_every_path(running: Site, host: str, path: str) -> None:
    with running.connect() as sock:
        answer = tell(sock, f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close")
    assert answer.startswith(b"HTTP/1.1 421 ")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:65535", "[::1]:80"])
def test_the_names_of_the_loopback_are_known_with_any_port(running: Site, host: str) -> None:
    assert running.post(running.place.token, READ, Host=host).status_code == 200


def test_requests_without_a_host_or_with_two_are_refused(running: Site) -> None:
    with running.connect() as sock:
        assert tell(sock, "GET /healthz HTTP/1.0").startswith(b"HTTP/1.1 421 ")
    with running.connect() as sock:
        two = tell(sock, "GET /healthz HTTP/1.1", "Host: localhost", "Host: localhost")
        assert two.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://localhost.evil.example", "file://", "http://localhost@evil", "x"],
)
def test_a_foreign_origin_is_refused_even_with_a_good_token(running: Site, origin: str) -> None:
    assert running.post(running.place.token, READ, Origin=origin).status_code == 403


def test_a_page_of_this_machine_may_speak_to_a_server_that_only_this_machine_reaches(running: Site) -> None:
    for origin in ("http://localhost:6274", "http://127.0.0.1", "https://[::1]:8443"):
        assert running.post(running.place.token, READ, Origin=origin).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/mcp/", "/mcp/x", "/metrics", "/.well-known/oauth-protected-resource", "//mcp"]
)
def test_nothing_else_is_served(running: Site, path: str) -> None:
    with running.connect() as sock:
        answer = tell(sock, f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close")
    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("path", "method"),
    [("/mcp", "PUT"), ("/mcp", "OPTIONS"), ("/mcp", "HEAD"), ("/healthz", "POST"), ("/readyz", "DELETE")],
)
def test_other_methods_are_told_which_there_are(running: Site, path: str, method: str) -> None:
    with running.client(running.place.token) as client:
        answer = client.request(method, running.base(path))
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


def test_health_and_readiness_say_one_word_to_everybody(running: Site) -> None:
    with running.client(None) as client:
        for path in ("/healthz", "/readyz"):
            answer = client.get(running.base(path))
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
            assert "server" not in answer.headers
            assert client.head(running.base(path)).status_code == 200


def test_each_wrong_token_gets_the_same_answer_and_no_token_is_challenged(running: Site) -> None:
    place = running.place
    place.issue("kt_of_stdio_only", transports=("stdio",))
    place.issue("kt_expired_soon", transports=("http",), life=timedelta(seconds=1))
    place.issue("kt_revoked", transports=("http",))
    place.revoke("kt_revoked")
    until(lambda: running.call("kt_expired_soon", "get_permissions").status_code == 401)
    wrong = [
        "kt_of_stdio_only",
        "kt_expired_soon",
        "kt_revoked",
        "kt_unknown",
        "x",
        place.token + "x",
        place.token[:-1],
    ]
    answers = [running.call(token, "get_permissions") for token in wrong]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert {answer.headers["www-authenticate"] for answer in answers} == {
        'Bearer realm="keyturn", error="invalid_token"'
    }
    missing = running.call(None, "get_permissions")
    assert (missing.status_code, missing.headers["www-authenticate"]) == (401, 'Bearer realm="keyturn"')


@pytest.mark.parametrize(
    "value",
    ["Basic eDp5", "Bearer", "Bearer a b", "bearer\tx", "Token {token}", "{token}", "Bearer {token},"],
)
def test_what_is_no_bearer_token_is_refused(running: Site, value: str) -> None:
    answer = running.post(None, READ, Authorization=value.format(token=running.place.token))
    assert answer.status_code == 401
    meant = len(value.split()) > 1 and value.lower().startswith("bearer")
    said = "this token does not count" if meant else "Authorization must be of the form Bearer TOKEN"
    assert said in answer.json()["error"]["message"]


def test_two_credentials_are_none(running: Site) -> None:
    line = f"Authorization: Bearer {running.place.token}"
    with running.connect() as sock:
        answer = tell(
            sock, "POST /mcp HTTP/1.1", "Host: localhost", line, line, "Connection: close", "Content-Length: 0"
        )
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_a_token_in_the_address_is_refused_even_when_it_is_good(running: Site) -> None:
    token = running.place.token
    for query in (f"access_token={token}", f"token={token}", "x"):
        with running.client(token) as client:
            answer = client.post(f"{running.url}?{query}", json=READ, headers={"Accept": ACCEPT})
        assert answer.status_code == 400
        assert token not in answer.text


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (MARK.encode(), -32700),
        (json.dumps([READ, READ]).encode(), -32600),
        (json.dumps(READ).encode()[:-1], -32700),
        (json.dumps(READ).encode().replace(b"OPS", b"\xff\xfe"), -32700),
        (json.dumps(READ).encode().replace(b"OPS", b"\\ud83d"), -32700),
        (json.dumps(READ).encode().replace(b'"ticket"', b'"ticket": "OPS-2", "ticket"'), -32700),
        (json.dumps(READ).encode().replace(b'"OPS-1"', b"NaN"), -32700),
        (json.dumps(READ).encode().replace(b'"OPS-1"', b"1e999"), -32700),
        (json.dumps(READ).encode().replace(b'"OPS-1"', b"[" * 5000 + b"]" * 5000), -32700),
        (json.dumps(READ).encode().replace(b'"OPS-1"', b"9" * 5000), -32700),
        (json.dumps({**READ, "id": 1.5}).encode(), -32600),
        (json.dumps({**READ, "params": [MARK]}).encode(), -32600),
        (json.dumps({**READ, "method": MARK}).encode(), -32601),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else None,
)
def test_a_body_that_is_no_request_is_answered_with_an_error_in_both_eras(
    running: Site, body: bytes, code: int
) -> None:
    named = {"Mcp-Method": MARK} if MARK.encode() in body else {"Mcp-Method": "tools/call", "Mcp-Name": "get_ticket"}
    modern = running.post(running.place.token, body, **named)
    assert modern.status_code in {400, 404}
    assert message_of(modern)["error"]["code"] == code
    session = Session(running, running.place.token)
    with running.client(running.place.token) as client:
        legacy = client.post(running.url, content=body, headers=session.headers())
    assert message_of(legacy)["error"]["code"] in {code, -32602}
    for answer in (modern, legacy):
        assert MARK not in answer.text.replace(f'"{MARK}"', "") or code == -32601
    session.end()


def test_a_body_longer_than_a_message_may_be_is_refused(running: Site) -> None:
    token = f"Authorization: Bearer {running.place.token}"
    with running.connect() as sock:
        sock.sendall(
            f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{token}\r\nContent-Length: {10**12}\r\n\r\n".encode()
            + b"x" * 100
        )
        assert sock.recv(4096).startswith(b"HTTP/1.1 413 ")
    big = json.dumps(call("update_ticket", ticket="OPS-1", comment="x" * 17_000_000)).encode()

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(big), 65536):
            yield big[at : at + 65536]

    with running.client(running.place.token) as client:
        answer = client.post(running.url, content=pieces(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_whoever_has_no_token_sends_no_body(running: Site) -> None:
    lines = "POST /mcp HTTP/1.1", "Host: localhost", "Content-Length: 1000000", "Expect: 100-continue"
    with running.connect() as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 401 ")  # and no "100 Continue" before it


def test_headers_that_are_too_long_or_no_http_are_refused(running: Site) -> None:
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"\x00" * 5000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /mcp HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(10_000)),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        with running.connect() as sock:
            sock.sendall(garbage)
            answer = read_until_closed(sock)
        assert answer.startswith(b"HTTP/1.1 4") or answer == b""
        assert b"Traceback" not in answer
    running.alive()


def test_pipelined_requests_are_answered_in_order(running: Site) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with running.connect() as sock:
        sock.sendall(one * 20 + last)
        answer = read_until_closed(sock)
    assert answer.count(b"HTTP/1.1 200 ") == 20
    assert answer.count(b"HTTP/1.1 404 ") == 1
    assert answer.rindex(b"200 ") < answer.index(b"404 ")


def test_a_smuggled_second_request_is_not_taken(running: Site) -> None:
    hidden = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {running.place.token}\r\n\r\n".encode()
    with running.connect() as sock:
        answer = tell(
            sock,
            "POST /mcp HTTP/1.1",
            "Host: localhost",
            f"Content-Length: {len(hidden)}",
            "Transfer-Encoding: chunked",
            body=b"0\r\n\r\n" + hidden,
        )
    assert answer.count(b"HTTP/1.1 4") == 1
    assert answer.count(b"HTTP/1.1 2") == 0


def test_a_body_of_no_told_length_in_an_old_version_is_refused(running: Site) -> None:
    with running.connect() as sock:
        answer = tell(sock, "POST /mcp HTTP/1.0", "Host: localhost", "Transfer-Encoding: chunked", body=b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_body_in_crumbs_is_refused_and_one_in_chunks_is_read(running: Site) -> None:
    head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {running.place.token}\r\n"
    head += "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    body = json.dumps(READ).encode() + b" " * 2000
    for size, status in ((1, b"400"), (500, b"200")):
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        with running.connect() as sock:
            sock.sendall(head.replace("\r\n\r\n", f"\r\nAccept: {ACCEPT}\r\n" + MODERN_HEAD).encode() + chunks)
            assert read_until_closed(sock).startswith(b"HTTP/1.1 " + status)


def test_what_is_sent_on_after_the_answer_is_not_taken_for_ever(running: Site) -> None:
    head = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n"
    with running.connect() as sock:
        sock.sendall(head)
        assert sock.recv(65536).startswith(b"HTTP/1.1 401 ")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            sock.sendall(b" " * 64_000_000)
    running.alive()


def test_a_message_of_millions_of_values_is_refused_before_it_is_read(running: Site) -> None:
    many = json.dumps(call("get_ticket", ticket="@")).encode().replace(b'"@"', b"[" + b"{}," * 4_000_000 + b"0]")
    answer = running.post(running.place.token, many)
    assert answer.status_code == 400
    assert message_of(answer)["error"]["message"] == "Unreadable message: a message has at most 160000 values"


def test_websockets_are_not_spoken(running: Site) -> None:
    with running.connect() as sock:
        answer = tell(
            sock,
            "GET /mcp HTTP/1.1",
            "Host: localhost",
            "Connection: upgrade, close",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        )
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_clients_that_go_away_in_the_middle_leave_nothing_behind(running: Site) -> None:
    token = running.place.token
    head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 100000\r\n\r\n"
    for count in range(0, len(head), 7):
        with running.connect() as sock:
            sock.sendall(head[:count].encode())
    for _ in range(20):
        with running.connect() as sock:
            sock.sendall(head.encode() + b"{")
    running.alive()


def test_requests_of_no_session_open_none(running: Site) -> None:
    token = running.place.token
    for method in ("GET", "DELETE", "POST"):
        with running.client(token) as client:
            answer = client.request(
                method,
                running.url,
                headers={"Accept": ACCEPT, "Content-Type": "application/json"},
                content=json.dumps(READ),
            )
        assert answer.status_code in {400, 404}
        with running.client(token) as client:
            unknown = client.request(method, running.url, headers={"Accept": ACCEPT, "Mcp-Session-Id": "x" * 64})
        assert unknown.status_code in {400, 404}


def test_a_modern_call_needs_headers_that_agree_with_its_body(running: Site) -> None:
    answer = running.post(running.place.token, READ, **{"Mcp-Name": "update_ticket"})
    assert answer.status_code == 400
    unsupported: dict[str, Any] = {"MCP-Protocol-Version": "2099-01-01"}
    assert running.post(running.place.token, READ, **unsupported).status_code == 400


def test_the_token_and_what_was_sent_are_told_to_nobody(running: Site) -> None:
    running.post(running.place.token, call("update_ticket", ticket=MARK))
    running.post(running.place.token, {**HELLO, "params": {"x": MARK}})
    assert running.errors.read_text().count(MARK) == 0
    assert running.errors.read_text().count(running.place.token) == 0
