"""Real TLS with right and wrong certificates, a real proxy, and names whose addresses are looked at."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.connectors.http.dialing import ADDRESSES
from keyturn.model.errors import ConnectorError
from tests.connectors.http.certificates import Signer
from tests.connectors.http.conftest import Open, Serve
from tests.connectors.http.proxy import Proxy
from tests.connectors.http.server import Server, in_turn, said

pytestmark = pytest.mark.anyio

Secure = Callable[[ssl.SSLContext], Server]


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer("trusted", tmp_path_factory.mktemp("trusted"))


@pytest.fixture
def secure() -> Iterator[Secure]:
    servers: list[Server] = []

    def started(context: ssl.SSLContext) -> Server:
        servers.append(Server(in_turn(said(200, {"fine": True})), context))
        return servers[-1].__enter__()

    yield started
    for server in servers:
        server.__exit__(None, None, None)


async def test_a_right_certificate_of_a_named_authority_is_accepted(
    secure: Secure, signer: Signer, door_to: Open
) -> None:
    door = door_to(secure(signer.context()), ca=str(signer.path))
    assert (await door.read("/x")).json() == {"fine": True}


@pytest.mark.parametrize(
    ("host", "days", "known", "words"),
    [
        ("127.0.0.1", -1, True, "its certificate has expired; it has to be renewed there"),
        ("127.0.0.2", 30, True, "its certificate is for another address; look at the url"),
        ("other.example", 30, True, "its certificate is for another address; look at the url"),
        ("127.0.0.1", 30, False, "an authority that is not trusted here; name the authority's file with ca"),
    ],
)
async def test_a_wrong_certificate_is_refused_in_words(
    secure: Secure, signer: Signer, door_to: Open, *, host: str, days: int, known: bool, words: str
) -> None:
    server = secure(signer.context(host, days))
    door = door_to(server, **({"ca": str(signer.path)} if known else {}))
    for call in (door.read("/x"), door.change("POST", "/x", body={})):
        with pytest.raises(ConnectorError) as refused:
            await call
        assert words in str(refused.value)
        assert refused.value.kind == "refused"
    assert server.heard == []


async def test_a_wrong_name_is_told_as_such(secure: Secure, signer: Signer, door_to: Open) -> None:
    server = secure(signer.context("other.example"))
    door = door_to(server, url=f"https://localhost:{server.port}", ca=str(signer.path))
    with pytest.raises(ConnectorError, match="its certificate is for another name; look at the url"):
        await door.read("/x")


async def test_a_server_without_tls_is_told_as_such(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(200)))
    with pytest.raises(ConnectorError, match="no TLS connection came about") as refused:
        await door_to(server, url=f"https://127.0.0.1:{server.port}").read("/x")
    assert refused.value.kind == "refused"


async def test_authorities_that_vanish_are_told_when_they_are_needed(
    secure: Secure, signer: Signer, door_to: Open, tmp_path: Path
) -> None:
    copy = tmp_path / "ca.pem"
    copy.write_bytes(signer.path.read_bytes())
    door = door_to(secure(signer.context()), ca=str(copy))
    copy.unlink()
    with pytest.raises(ConnectorError, match="cannot be read: No such file"):
        await door.read("/x")


async def test_a_proxy_is_asked_for_a_tunnel_and_hears_no_credential(
    secure: Secure, signer: Signer, door_to: Open
) -> None:
    server = secure(signer.context("h.example"))
    with Proxy(server.port) as proxy:
        door = door_to(server, url="https://h.example/api", proxy=proxy.url, ca=str(signer.path), private=False)
        assert (await door.read("/x")).json() == {"fine": True}
    (asked,) = proxy.asked
    assert asked.startswith(b"CONNECT h.example:443 HTTP/1.1\r\n")
    assert b"uthorization" not in asked
    assert server.heard[0].target == "/api/x"


async def test_a_proxy_that_refuses_leaves_a_change_undone(door_to: Open, serve: Serve) -> None:
    with Proxy(1, b"403 Not you") as proxy:
        door = door_to(serve(in_turn(said(200))), url="https://h.example", proxy=proxy.url, deadline=0.2)
        with pytest.raises(ConnectorError, match=r"the proxy opened no tunnel to h\.example: 403 Not you") as refused:
            await door.change("POST", "/x", body={})
    assert refused.value.kind == "retry"


async def test_proxies_of_the_environment_are_not_used(
    serve: Serve, door_to: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server = serve(in_turn(said(200, {"fine": True})))
    assert (await door_to(server).read("/x")).status == 200


class Names:
    """Stands in for the operating system's resolver: the addresses it gives, one list per question."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: Any, port: Any, *rest: Any, **more: Any) -> list[Any]:
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, 1, 6, "", (a, port)) for a in found]


async def test_a_name_is_resolved_once_and_connected_to_where_it_was_looked_at(
    secure: Secure, signer: Signer, door_to: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = secure(signer.context("h.example"))
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    monkeypatch.setattr(socket, "getaddrinfo", names)
    door = door_to(server, url=f"https://h.example:{server.port}", ca=str(signer.path))
    assert (await door.read("/x")).status == 200
    assert names.asked == 1


@pytest.mark.parametrize(
    ("addresses", "private", "words"),
    [
        (["127.0.0.1"], False, r"h\.example \(127\.0\.0\.1\) is a loopback address, which needs private = true"),
        (["10.0.0.1"], False, "is a private address, which needs private = true"),
        (["140.82.121.6", "10.0.0.1"], False, "is a private address"),
        (["127.0.0.1", "169.254.169.254"], True, "is never connected to"),
        ([*(f"140.82.121.{number}" for number in range(ADDRESSES)), "10.0.0.1"], False, "is a private address"),
        (["fe80::1%1"], True, "is never connected to"),
        (["fd00:ec2::254"], True, "is never connected to"),
        (["::ffff:127.0.0.1"], True, "is never connected to"),
    ],
)
async def test_a_name_with_any_address_that_is_not_allowed_is_refused(
    serve: Serve,
    door_to: Open,
    monkeypatch: pytest.MonkeyPatch,
    *,
    addresses: list[str],
    private: bool,
    words: str,
) -> None:
    server = serve(in_turn(said(200)))
    monkeypatch.setattr(socket, "getaddrinfo", Names(addresses))
    door = door_to(server, url=f"https://h.example:{server.port}", private=private)
    for call in (door.read("/x"), door.change("POST", "/x", body={})):
        with pytest.raises(ConnectorError, match=words) as refused:
            await call
        assert refused.value.kind == "refused"
    assert server.connections == 0


async def test_nothing_leaves_this_machine_without_tls(
    serve: Serve, door_to: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(in_turn(said(200)))
    monkeypatch.setattr(socket, "getaddrinfo", Names(["10.0.0.1"]))
    with pytest.raises(ConnectorError, match="is no loopback address, and only to those"):
        await door_to(server, url=f"http://localhost:{server.port}").read("/x")


async def test_the_next_address_is_tried_where_one_does_not_answer(
    serve: Serve, door_to: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(in_turn(said(200, {"fine": True})))
    dead = [f"127.0.0.{number}" for number in range(2, 1 + ADDRESSES)]
    monkeypatch.setattr(socket, "getaddrinfo", Names([*dead, "127.0.0.1"]))
    assert (await door_to(server, url=f"http://localhost:{server.port}").read("/x")).status == 200


async def test_a_name_without_address_is_told_and_leaves_a_change_undone(serve: Serve, door_to: Open) -> None:
    door = door_to(serve(in_turn(said(200))), url="https://nobody.invalid", deadline=0.2)
    with pytest.raises(ConnectorError) as unresolved:
        await door.change("POST", "/x", body={})
    assert unresolved.value.kind == "retry"
