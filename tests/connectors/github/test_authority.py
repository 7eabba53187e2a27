"""Who we are on GitHub: tokens from sources, an App's tokens of an hour, and nothing of either in words."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pydantic import ValidationError

from keyturn.connectors.github import GitHub, GitHubConnection, github
from keyturn.model.errors import ConnectorError
from tests.canaries.evidence import shown
from tests.connectors.surroundings import world_at

CANARY = "ghs_canarycanarycanarycanarycanary"
PERMISSIONS = {"contents": "write", "metadata": "read"}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass(slots=True)
class Server:
    """A GitHub that gives installation tokens and knows who shows them; `now` is its clock and ours."""

    url: str = ""
    now: float = 1_795_000_000.0
    lasts: float = 3600.0
    revoked: set[str] = field(default_factory=set)
    claims: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    answers: dict[str, tuple[int, object]] = field(default_factory=dict)

    def answer(self, method: str, path: str, credential: str, body: bytes) -> tuple[int, object]:
        if path in self.answers:
            return self.answers[path]
        if path.startswith("/app") or path.endswith("/installation"):
            checks: Any = {"verify_exp": False, "verify_iat": False}
            self.claims.append(jwt.decode(credential, PUBLIC, algorithms=["RS256"], options=checks))
        match method, path:
            case "GET", "/app":
                return 200, {"slug": "bot"}
            case "GET", "/repos/shop-co/shop/installation":
                return 200, {"id": 77, "permissions": {"contents": "write"}}
            case "POST", "/app/installations/77/access_tokens":
                self.asked.append(json.loads(body))
                until = datetime.fromtimestamp(self.now + self.lasts, UTC)
                return 201, {
                    "token": f"{CANARY}{len(self.asked)}",
                    "expires_at": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
            case "GET", "/user":
                return 200, {"login": "ada"}
        self.seen.append(credential)
        return (401, {"message": f"Bad credentials {credential}"}) if credential in self.revoked else (200, {"id": 1})


@contextmanager
def serving() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            credential = self.headers.get("authorization", "").removeprefix("Bearer ")
            status, document = state.answer(self.command, self.path, credential, body)
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _do  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


def connection(server: Server, **other: Any) -> GitHubConnection:
    told: dict[str, Any] = {"url": server.url, "repository": "shop-co/shop", "private": True, "pause": 0}
    return GitHubConnection(**(told | other))


def app(server: Server, home: Path, *, pem: bytes = PEM, **other: Any) -> GitHub:
    key = home / "app.pem"
    key.touch(mode=0o600)
    key.write_bytes(pem)
    settings = connection(server, app={"id": 12, "key": "file:app.pem", **other})
    return github("forge.shop", settings, replace(world_at(home), now=lambda: server.now), PERMISSIONS)


def token(server: Server, home: Path, environment: Mapping[str, str]) -> GitHub:
    return github("forge.shop", connection(server, credential="env:T"), world_at(home, environment), PERMISSIONS)


def read(hub: GitHub) -> object:
    return anyio.run(hub.get, "/thing")


def test_an_app_asks_for_a_token_for_one_repository_and_the_permissions_needed(
    server: Server, tmp_path: Path
) -> None:
    hub = app(server, tmp_path)
    read(hub)
    read(hub)
    assert server.asked == [{"repositories": ["shop"], "permissions": PERMISSIONS}]
    assert server.seen == [f"{CANARY}1", f"{CANARY}1"]


def test_an_apps_own_token_is_short_and_dated_back(server: Server, tmp_path: Path) -> None:
    read(app(server, tmp_path))
    at = int(server.now)
    assert server.claims == [{"iat": at - 60, "exp": at + 540, "iss": "12"}] * 2


def test_an_installation_that_is_named_is_not_looked_for(server: Server, tmp_path: Path) -> None:
    read(app(server, tmp_path, installation=77))
    assert len(server.claims) == 1


def test_a_token_is_asked_for_anew_five_minutes_before_its_end(server: Server, tmp_path: Path) -> None:
    hub = app(server, tmp_path)
    read(hub)
    server.now += 3299
    read(hub)
    assert len(server.asked) == 1
    server.now += 1
    read(hub)
    assert len(server.asked) == 2
    assert server.seen[-1] == f"{CANARY}2"


def test_a_token_that_was_revoked_is_asked_for_anew_once(server: Server, tmp_path: Path) -> None:
    hub = app(server, tmp_path)
    read(hub)
    server.revoked = {f"{CANARY}1"}
    read(hub)
    assert len(server.asked) == 2
    server.revoked = {f"{CANARY}{number}" for number in range(9)}
    with pytest.raises(ConnectorError, match="Bad credentials <secret>"):
        read(hub)
    assert len(server.asked) == 3


def test_tokens_are_never_written_to_the_disk(server: Server, tmp_path: Path) -> None:
    read(app(server, tmp_path))
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(CANARY.encode() in data for data in kept)


def test_nothing_that_is_shown_of_a_client_holds_a_secret(server: Server, tmp_path: Path) -> None:
    hub = app(server, tmp_path)
    read(hub)
    ada = token(server, tmp_path, {"T": CANARY})
    read(ada)
    line = PEM.decode().splitlines()[1]
    for said in (repr(hub), str(hub), repr(hub.proof), repr(hub.door), repr(ada), repr(ada.proof)):
        assert CANARY not in said
        assert line not in said
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(hub)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"token": CANARY, "expires_at": "soon"}, "unreadable end"),
        ({"token": CANARY, "expires_at": "2026-11-21T17:00:00"}, "unreadable end"),
        ({"token": CANARY}, "cannot be read"),
        ({"token": "", "expires_at": "2026-11-21T17:00:00Z"}, "cannot be read"),
        ({"token": [CANARY], "expires_at": "2026-11-21T17:00:00Z"}, "cannot be read"),
        ([CANARY], "cannot be read"),
    ],
)
def test_an_answer_that_cannot_be_read_is_not_repeated(
    server: Server, tmp_path: Path, answer: object, words: str
) -> None:
    server.answers["/app/installations/77/access_tokens"] = 201, answer
    with pytest.raises(ConnectorError, match=words) as caught:
        read(app(server, tmp_path))
    assert CANARY not in shown(caught.value)


@pytest.mark.parametrize("pem", [b"canary", b"-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_named_and_not_shown(server: Server, tmp_path: Path, pem: bytes) -> None:
    with pytest.raises(ConnectorError, match=r"forge\.shop\.app\.key: not the RSA private key") as caught:
        read(app(server, tmp_path, pem=pem))
    assert "canary" not in shown(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_key_that_was_replaced_is_read_again(server: Server, tmp_path: Path) -> None:
    hub = app(server, tmp_path, pem=b"old")
    with pytest.raises(ConnectorError):
        read(hub)
    (tmp_path / "app.pem").write_bytes(PEM)
    read(hub)
    assert len(server.asked) == 1


@pytest.mark.parametrize("found", [[], {"id": "77"}, {}])
def test_an_installation_that_cannot_be_read_is_an_error(server: Server, tmp_path: Path, found: object) -> None:
    server.answers["/repos/shop-co/shop/installation"] = 200, found
    with pytest.raises(ConnectorError, match="describes the App's installation"):
        read(app(server, tmp_path))


def test_who_we_are_and_what_we_may(server: Server, tmp_path: Path) -> None:
    bot, ada = app(server, tmp_path), token(server, tmp_path, {"T": "ghp_x"})
    assert anyio.run(bot.login) == "bot[bot]"
    assert anyio.run(ada.login) == "ada"
    assert anyio.run(bot.permissions) == {"contents": "write"}
    assert anyio.run(ada.permissions) is None
    assert (bot.account, ada.account) == ("app 12", "")
    assert bot.location == f"{server.url}/repos/shop-co/shop"


@pytest.mark.parametrize(
    ("path", "answer", "ask"),
    [
        ("/user", {"name": "Ada"}, lambda bot, ada: ada.login),
        ("/app", {"slug": None}, lambda bot, ada: bot.login),
        ("/repos/shop-co/shop/installation", {"id": 1, "permissions": []}, lambda bot, ada: bot.permissions),
    ],
)
def test_an_account_that_cannot_be_read_is_an_error(
    server: Server, tmp_path: Path, path: str, answer: object, ask: Callable[..., Callable[[], Any]]
) -> None:
    server.answers[path] = 200, answer
    with pytest.raises(ConnectorError, match="does not say"):
        anyio.run(ask(app(server, tmp_path), token(server, tmp_path, {"T": "ghp_x"})))


def test_a_token_that_the_environment_lacks_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match=r"forge\.shop\.credential"):
        read(token(server, tmp_path, {}))


# settings


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"credential": "env:T", "app": {"id": 1, "key": "file:k"}},
        {"app": {"id": 1}},
        {"app": {"id": 1, "key": "file:k", "secret": "x"}},
        {"app": {"id": 1, "key": "the key itself"}},
        {"app": {"id": 1, "key": "file:k", "installation": 0}},
        {"credential": "ghp_written_here"},
    ],
)
def test_exactly_one_sort_of_credential_is_named_and_none_is_written_there(told: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GitHubConnection(repository="shop-co/shop", **told)


@pytest.mark.parametrize(
    "repository",
    [
        "shop",
        "shop-co/",
        "/shop",
        "a/b/c",
        "shop-co/..",
        "shop-co/.",
        "https://github.com/a/b",
        "a b/c",
        "a/b?c",
        "a/b\n",
    ],
)
def test_a_repository_is_owner_and_name(repository: str) -> None:
    with pytest.raises(ValidationError):
        GitHubConnection(repository=repository, credential="env:T")


@pytest.mark.parametrize("repository", ["shop-co/shop", "a/.github", "ada_corp/x.y-z_1", "A1/B"])
def test_repositories_of_all_forms_are_taken(repository: str) -> None:
    made = GitHubConnection(repository=repository, credential="env:T")
    assert (made.repository, made.url, made.pause) == (repository, "https://api.github.com", 1)
