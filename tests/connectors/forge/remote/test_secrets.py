"""The credential of a git remote is seen by the server alone, and who has no right one is told so."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from keyturn.connectors.forge import Closed
from keyturn.connectors.forge.remote import RemoteForge
from keyturn.model.errors import ConnectorError
from tests.bed.ssh import missing, ssh
from tests.bed.tls import Authority
from tests.connectors.forge.contract import CHANGE, apply, close, closing, land, opening, snapshot
from tests.connectors.forge.remote.served import (
    READER,
    TOKEN,
    Exchange,
    Manners,
    Remote,
    Server,
    agent,
    over_ssh,
    remote,
    served,
    tunnel,
)
from tests.connectors.forge.repository import action, create

ABSENT = missing()
PAIR = base64.b64encode(f"git:{TOKEN}".encode()).decode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "root").mkdir()
    with served(tmp_path / "root", Manners(users={TOKEN: True, READER: False})) as running:
        yield running


@pytest.fixture
def shop(server: Server) -> Remote:
    return remote(server, credential="env:TOKEN")


def said(forge: RemoteForge, level: str) -> str:
    return "\n".join(f"{item.text} | {item.advice}" for item in anyio.run(forge.check) if item.level == level)


def processes() -> Iterator[tuple[str, bytes]]:
    """Yield what every process that may be ours shows: its arguments, and its variables unless it is this one."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                yield f"{folder}/cmdline", (folder / "cmdline").read_bytes()
                if folder.name != str(os.getpid()):
                    yield f"{folder}/environ", (folder / "environ").read_bytes()


def test_while_the_server_holds_a_request_no_process_shows_the_credential(server: Server, shop: Remote) -> None:
    looked: list[str] = []
    shown: list[str] = []

    def look(exchange: Exchange) -> None:
        if "authorization" not in exchange.headers:
            return
        for place, data in processes():
            if b"git-remote-http" in data or b"git\0" in data:
                looked.append(place)
            if TOKEN.encode() in data or PAIR.encode() in data:
                shown.append(place)

    server.manners.before = look
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    assert any(exchange.pushing for exchange in server.manners.seen)
    assert any(place.endswith("cmdline") for place in looked)
    assert shown == []


def test_nothing_that_is_kept_or_shown_holds_the_credential(server: Server, shop: Remote, tmp_path: Path) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    land(forge, change, action(1))
    assert isinstance(close(forge, closing(forge, action(1)), action(2)), Closed)
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if TOKEN.encode() in path.read_bytes()] == []
    assert TOKEN not in repr(vars(forge)) + repr(forge.identity) + repr(anyio.run(forge.check))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503])
def test_a_server_that_repeats_the_credential_is_not_quoted_with_it(
    server: Server, shop: Remote, status: int
) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    for second_half in (False, True):

        def refuse(exchange: Exchange, late: bool = second_half) -> int | None:
            return status if exchange.pushing or not late else None

        server.manners.before = refuse
        with pytest.raises(ConnectorError) as refusal:
            apply(forge, change, action(1))
        words = f"{refusal.value} {refusal.value!r} {refusal.value.__context__!r} {said(forge, 'wrong')}"
        assert TOKEN not in words
        assert PAIR not in words
        assert len(str(refusal.value)) < 1500


def test_the_copy_is_for_our_account_alone(shop: Remote) -> None:
    snapshot(shop.forge(), "main", "README.md")
    assert [stat.S_IMODE(path.stat().st_mode) & 0o077 for path in shop.copy().iterdir() if path.is_dir()] == [0]


# who is not let in


def test_a_wrong_credential_is_named_by_every_call_and_by_a_look(shop: Remote) -> None:
    forge = shop.forge(credential="env:WRONG")
    with pytest.raises(ConnectorError, match="refuses the credential") as refusal:
        snapshot(forge, "main", "README.md")
    assert refusal.value.kind == "refused"
    assert "refuses the credential" in said(forge, "wrong")
    assert "renew it" in said(forge, "wrong")


def test_a_missing_credential_is_named(shop: Remote) -> None:
    assert "NOT_SET" in said(shop.forge(credential="env:NOT_SET"), "wrong")
    assert "refuses the credential" in said(shop.forge(credential=None), "wrong")


def test_a_credential_that_may_only_read_is_found_out_when_it_is_planned(server: Server, shop: Remote) -> None:
    forge = shop.forge(credential="env:READER")
    with pytest.raises(ConnectorError, match="does not allow this"):
        snapshot(forge, "main", "README.md")
    assert "can be read" in said(forge, "ok")
    assert "right to read and write" in said(forge, "wrong")
    assert not any(exchange.pushing for exchange in server.manners.seen)


def test_a_credential_that_was_renewed_meanwhile_is_read_again(server: Server, shop: Remote, tmp_path: Path) -> None:
    token = tmp_path / "home" / "token"
    token.parent.mkdir()
    token.write_text("old-and-refused\n")
    token.chmod(0o600)
    forge = shop.forge(credential="file:token")

    class Renewing(dict[str, bool]):
        """Puts the new token in place as soon as the old one is refused."""

        def __contains__(self, password: object) -> bool:
            if password == "old-and-refused":
                token.write_text(f"{TOKEN}\n")
            return super().__contains__(password)

    server.manners.users = Renewing({TOKEN: True})
    assert snapshot(forge, "main", "README.md").commit == shop.head("main")


@pytest.mark.parametrize("text", ["one\ntwo", "x" * 9000])
def test_a_credential_that_cannot_be_sent_is_refused(shop: Remote, tmp_path: Path, text: str) -> None:
    (tmp_path / "home").mkdir()
    token = tmp_path / "home" / "token"
    token.write_text(text)
    token.chmod(0o600)
    with pytest.raises(ConnectorError, match="credential") as refusal:
        snapshot(shop.forge(credential="file:token"), "main", "README.md")
    assert text not in str(refusal.value)


# whom we talk to


@pytest.mark.parametrize(
    ("issued", "trusted", "works"),
    [("good", True, True), ("good", False, False), ("expired", True, False), ("elsewhere", True, False)],
)
def test_a_certificate_must_be_valid_for_the_name_and_of_the_authority_named(
    tmp_path: Path, issued: str, trusted: bool, works: bool
) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "root").mkdir()
    context = getattr(authority, issued)().server()
    with served(tmp_path / "root", Manners(users={TOKEN: True}), context) as server:
        shop = remote(server, credential="env:TOKEN", **({"ca": str(authority.bundle)} if trusted else {}))
        forge = shop.forge()
        if works:
            assert land(forge, opening(forge, CHANGE), action(1)).commit == shop.head(action(1).marker)
            return
        with pytest.raises(ConnectorError, match="certificate cannot be trusted") as refusal:
            snapshot(forge, "main", "README.md")
        assert refusal.value.kind == "refused"
        assert "certificate" in said(forge, "wrong")
        assert not any("authorization" in exchange.headers for exchange in server.manners.seen)


def test_a_name_is_looked_up_once_and_git_connects_to_what_was_looked_at(server: Server, shop: Remote) -> None:
    forge = shop.forge(url=server.url(host="localhost"))
    assert snapshot(forge, "main", "README.md").commit == shop.head("main")
    assert server.manners.seen[-1].headers["host"].startswith("localhost:")


@pytest.mark.parametrize("address", ["169.254.169.254", "10.1.2.3", "0.1.2.3", "fe80::1"])
def test_a_name_that_leads_to_an_address_that_is_not_allowed_is_refused(
    shop: Remote, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the resolver of the machine is not ours to set up, so its answer is put in its place
    found = [(0, 0, 0, "", (each, 443)) for each in (*(f"140.82.121.{number}" for number in range(6)), address)]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    forge = shop.forge(url="https://git.example.org/shop.git", private=False)
    with pytest.raises(ConnectorError, match=r"never connected|private = true"):
        snapshot(forge, "main", "README.md")


def test_a_redirect_is_not_followed(server: Server, shop: Remote) -> None:
    server.manners.before = lambda _: 302
    with pytest.raises(ConnectorError, match="elsewhere"):
        snapshot(shop.forge(), "main", "README.md")


def test_a_server_without_the_repository_is_named(server: Server, shop: Remote) -> None:
    forge = shop.forge(url=server.url("other.git"))
    with pytest.raises(ConnectorError, match="no such repository"):
        snapshot(forge, "main", "README.md")
    assert "mend url" in said(forge, "wrong")


def test_a_port_where_nothing_listens_is_a_reason_to_try_later(server: Server, shop: Remote) -> None:
    forge = shop.forge(url="http://127.0.0.1:9/shop.git")
    with pytest.raises(ConnectorError, match="cannot be reached") as refusal:
        snapshot(forge, "main", "README.md")
    assert refusal.value.kind == "retry"


def test_a_proxy_that_is_not_there_is_named_and_nothing_goes_around_it(server: Server, shop: Remote) -> None:
    forge = shop.forge(url="https://git.example.org/shop.git", private=False, proxy="http://127.0.0.1:9")
    with pytest.raises(ConnectorError) as refusal:
        snapshot(forge, "main", "README.md")
    assert refusal.value.kind == "retry"
    assert server.manners.seen == []


def test_through_a_proxy_the_proxy_looks_the_name_up_and_the_certificate_is_still_verified(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "root").mkdir()
    asked: list[str] = []
    context = authority.good("git.example.org").server()
    with (
        served(tmp_path / "root", Manners(users={TOKEN: True}), context) as server,
        tunnel(server.port, asked) as port,
    ):
        way: dict[str, Any] = {"proxy": f"http://localhost:{port}", "private": False, "ca": str(authority.bundle)}
        shop = remote(server, credential="env:TOKEN")
        forge = shop.forge(url="https://git.example.org/shop.git", **way)
        assert land(forge, opening(forge, CHANGE), action(1)).commit == shop.head(action(1).marker)
        other = shop.forge(url="https://other.example.org/shop.git", **way)
        with pytest.raises(ConnectorError, match="certificate cannot be trusted"):
            snapshot(other, "main", "README.md")
    assert asked[0] == "CONNECT git.example.org:443 HTTP/1.1"
    assert TOKEN not in "".join(asked)


@pytest.mark.skipif(ABSENT is not None, reason=ABSENT or "")
def test_by_ssh_the_wrong_host_key_and_the_wrong_key_are_refused(tmp_path: Path) -> None:
    made = create(tmp_path / "root" / "shop.git")
    with ssh(tmp_path) as daemon:
        shop = Remote(made.path, over_ssh(daemon, made.path))
        for settings, words in (
            ({"known_hosts": str(daemon.strange_hosts)}, "host key is not the one"),
            ({"key": str(daemon.stranger)}, "refuses the key"),
            ({"url": f"{shop.settings.url}-none"}, "no such repository"),
        ):
            forge = shop.forge(**settings)
            with pytest.raises(ConnectorError, match=words):
                snapshot(forge, "main", "README.md")
            assert words in said(forge, "wrong")


@pytest.mark.skipif(ABSENT is not None, reason=ABSENT or "")
def test_by_ssh_an_agent_named_in_the_settings_is_asked(tmp_path: Path) -> None:
    made = create(tmp_path / "root" / "shop.git")
    with ssh(tmp_path) as daemon, agent(tmp_path / "agent", daemon.writer):
        shop = Remote(made.path, over_ssh(daemon, made.path))
        forge = shop.forge(key=None, agent=str(tmp_path / "agent"))
        assert snapshot(forge, "main", "README.md").commit == shop.head("main")
