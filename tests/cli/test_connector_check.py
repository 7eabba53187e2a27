"""`keyturn connector check` where something is wrong with each remote system: what it is, what mends it, exit 1."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.bed.apiserver import READER, ApiServer, User
from tests.bed.emulator import Emulator
from tests.bed.faults import FaultProxy
from tests.bed.fixtures import github_emulator
from tests.bed.git_http import READER as GIT_READER
from tests.bed.git_http import WRITER, GitHttp
from tests.bed.git_remote import GitRemote
from tests.bed.kubernetes import READING, TOKEN
from tests.bed.manners import Manners
from tests.bed.programs import free_port
from tests.bed.tls import Authority
from tests.canaries.marks import MARK
from tests.cli.operator import Operator

__all__ = ["github_emulator"]

SYSTEMS = ("forge.hub", "tickets.issues", "forge.far", "deployments.cluster")
Finding = tuple[str, str]


@dataclass(slots=True)
class Site:
    """Servers of all four kinds, and what a home says to reach them; credentials are files of the home."""

    operator: Operator
    repository: str
    urls: dict[str, str]
    tokens: dict[str, str]
    ca: str = ""
    readers: str = ""

    def wire(self) -> None:
        """Declare the four systems beside the samples."""
        tables = [
            self._table("forge.hub", kind="github", repository=self.repository),
            self._table("tickets.issues", kind="github", repository=self.repository),
            self._table("forge.far", kind="git-remote"),
            self._table("deployments.cluster", kind="kubernetes")
            + '\nenvironments = { production = { namespace = "prod", deployment = "web" } }',
        ]
        path = self.operator.home / "keyturn.toml"
        path.write_text("\n\n".join([path.read_text(encoding="utf-8"), *tables]) + "\n", encoding="utf-8")

    def _table(self, place: str, **settings: str) -> str:
        name = f"{place}.token"
        file = self.operator.home / name
        file.touch(mode=0o600)
        file.write_text(self.tokens[place], encoding="ascii")
        settings |= {"url": self.urls[place], "credential": f"file:{name}"} | ({"ca": self.ca} if self.ca else {})
        lines = [f'{key} = "{text}"' for key, text in settings.items()]
        patience = [] if settings["kind"] == "git-remote" else ["timeout = 5", "deadline = 10"]
        return "\n".join([f"[{place}]", *lines, "private = true", *patience])

    def wrong(self) -> dict[str, list[Finding]]:
        """Check; returns what is wrong by system, with its advice. Whatever is, the samples are checked and well."""
        self.wire()
        said = self.operator.tell("connector", "check", "--json")
        assert MARK not in said.out + said.err
        rows: list[dict[str, Any]] = json.loads(said.out)
        found: dict[str, list[Finding]] = {}
        for row in rows:
            if row["level"] == "wrong":
                found.setdefault(f"{row['port']}.{row['name']}", []).append((row["text"], row["advice"]))
        assert said.code == (1 if found else 0)
        well = {f"{row['port']}.{row['name']}" for row in rows if row["level"] == "ok"}
        assert {"forge.shop", "deployments.web", "tickets.ops"} <= well
        return found


@pytest.fixture
def site(operator: Operator, tmp_path: Path, github_emulator: Emulator) -> Iterator[Callable[..., Site]]:
    """Return what starts the servers, over TLS with a certificate of a name's kind where one is named."""
    with ExitStack() as stack:

        def started(certificate: str = "") -> Site:
            authority = Authority(tmp_path, "bed") if certificate else None
            context = getattr(authority, certificate)().server() if authority else None
            emulator = github_emulator.again()
            tokens = emulator.tokens
            manners = Manners(
                known=set(tokens.values()), read_only={tokens["bob"]}, scopes={tokens["ada"]: "repo, user"}
            )
            hub = stack.enter_context(FaultProxy(emulator.url, inner=(manners,), server_tls=context))
            (tmp_path / "git").mkdir()
            GitRemote.made(tmp_path / "git" / "shop.git")
            far = stack.enter_context(
                FaultProxy(("127.0.0.1", 9), inner=(GitHttp(tmp_path / "git"),), server_tls=context)
            )
            api = ApiServer(tokens={TOKEN: User("deployer"), READING: User("reader", READER)})
            api.cluster.deploy()
            api.cluster.release("shop:42")
            cluster = stack.enter_context(FaultProxy(("127.0.0.1", 9), inner=(api,), server_tls=context))
            return Site(
                operator=operator,
                repository=emulator.repository().full_name,
                urls={
                    "forge.hub": hub.url,
                    "tickets.issues": hub.url,
                    "forge.far": f"{far.url.replace('://', f'://{WRITER[0]}@')}/shop.git",
                    "deployments.cluster": cluster.url,
                },
                tokens={
                    "forge.hub": tokens["ada"],
                    "tickets.issues": tokens["ada"],
                    "forge.far": WRITER[1],
                    "deployments.cluster": TOKEN,
                },
                readers=tokens["bob"],
                ca=str(authority.bundle) if authority else "",
            )

        yield started


def check(found: dict[str, list[Finding]], **expected: str) -> None:
    """Hold what is wrong with each system against words that it has to say, and see that each says what mends it."""
    wanted = {place.replace("_", "."): words for place, words in expected.items()}
    assert set(found) == set(wanted), found
    for place, words in wanted.items():
        texts = [text for text, _ in found[place]]
        assert any(words.lower() in text.lower() for text in texts), (place, texts)
        assert all(advice for _, advice in found[place]), (place, found[place])


def test_where_all_is_well_nothing_is_wrong(site: Callable[..., Site]) -> None:
    assert site().wrong() == {}


def test_over_tls_with_a_good_certificate_nothing_is_wrong(site: Callable[..., Site]) -> None:
    assert site("good").wrong() == {}


def test_a_wrong_token(site: Callable[..., Site]) -> None:
    made = site()
    made.tokens = dict.fromkeys(SYSTEMS, f"ghp_{MARK}nobodys")
    check(
        made.wrong(),
        forge_hub="does not accept the credential",
        tickets_issues="Bad credentials",
        forge_far="credential",
        deployments_cluster="401",
    )


def test_a_token_that_may_only_read(site: Callable[..., Site]) -> None:
    made = site()
    reader = made.readers
    made.tokens = {
        "forge.hub": reader,
        "tickets.issues": reader,
        "forge.far": GIT_READER[1],
        "deployments.cluster": READING,
    }
    made.urls["forge.far"] = made.urls["forge.far"].replace(WRITER[0], GIT_READER[0])
    check(
        made.wrong(),
        forge_hub="may only read",
        tickets_issues="read",
        forge_far="the credential does not allow this",
        deployments_cluster="patch",
    )


def test_an_address_where_nobody_answers(site: Callable[..., Site]) -> None:
    made = site()
    nobody = f"http://127.0.0.1:{free_port()}"
    made.urls = {place: nobody if place != "forge.far" else f"{nobody}/shop.git" for place in SYSTEMS}
    check(made.wrong(), **{place.replace(".", "_"): "127.0.0.1" for place in SYSTEMS})


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<html><title>Another host</title></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - as the base class names it

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_an_address_where_another_page_is(site: Callable[..., Site]) -> None:
    made = site()
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        made.urls = {place: url if place != "forge.far" else f"{url}/shop.git" for place in SYSTEMS}
        found = made.wrong()
        server.shutdown()
    check(
        found,
        forge_hub="json",
        tickets_issues="json",
        forge_far="its HEAD names no branch",
        deployments_cluster="json",
    )


@pytest.mark.parametrize(("certificate", "words"), [("expired", "expired"), ("elsewhere", "certificate")])
def test_a_certificate_that_is_not_in_force_or_anothers(
    site: Callable[..., Site], certificate: str, words: str
) -> None:
    check(site(certificate).wrong(), **{place.replace(".", "_"): words for place in SYSTEMS})
