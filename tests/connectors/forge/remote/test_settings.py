"""What stands in the wiring of a git remote is checked before anything is sent, and what git says is sorted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.connectors.credentials import Secret
from keyturn.connectors.forge.remote import Settings, build
from keyturn.connectors.forge.remote.sorting import sort
from keyturn.connectors.forge.remote.target import target_of
from keyturn.model.errors import ConfigurationError
from tests.connectors.forge.repository import ENVIRONMENT
from tests.connectors.surroundings import world_at

CANARY = "canary-0123456789"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("key", "known_hosts"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("url", "location", "account", "sent"),
    [
        ("https://git.example.org/a/b.git", "https://git.example.org/a/b.git", "", "https://git.example.org/a/b.git"),
        ("https://ada@git.example.org:8443/b", "https://git.example.org:8443/b", "ada", "https://git.example.org:8443/b"),
        ("ssh://git@git.example.org/a/b.git", "ssh://git.example.org/a/b.git", "git", "ssh://git@git.example.org/a/b.git"),
        ("ssh://git@h.example:2222/b", "ssh://h.example:2222/b", "git", "ssh://git@h.example:2222/b"),
        ("ssh://git@h.example:443/b", "ssh://h.example:443/b", "git", "ssh://git@h.example:443/b"),
        ("ssh://git@[2606:4700::1]:22/b", "ssh://[2606:4700::1]/b", "git", "ssh://git@[2606:4700::1]/b"),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart_and_told_without_the_user(url: str, location: str, account: str, sent: str) -> None:
    target = target_of("forge.shop.url", url, private=False)
    assert (target.location, target.user, target.url) == (location, account, sent)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "ext::sh -c true"}, "must be https"),
        ({"url": "file:///srv/git/shop.git"}, "must be https"),
        ({"url": "git://git.example.org/shop.git"}, "must be https"),
        ({"url": "git@git.example.org:shop.git"}, "must be https"),
        ({"url": "https://-oProxyCommand=x/shop.git"}, "must be https"),
        ({"url": f"https://ada:{CANARY}@git.example.org/shop.git"}, "password"),
        ({"url": "https://a da@git.example.org/shop.git"}, "user name"),
        ({"url": "ssh://-x@git.example.org/shop.git"}, "user name"),
        ({"url": "ssh://git.example.org/shop.git"}, "names no user"),
        ({"url": "https://git.example.org"}, "names no repository"),
        ({"url": "https://git.example.org/shop.git?x=y"}, "path"),
        ({"url": "https://git.example.org/../shop.git"}, "path"),
        ({"url": "http://git.example.org/shop.git"}, "https"),
        ({"url": "https://127.0.0.1/shop.git"}, "private = true"),
        ({"url": "https://169.254.169.254/shop.git", "private": True}, "never"),
        ({"url": "ssh://git@10.0.0.1/shop.git", "key": "key", "known_hosts": "known_hosts"}, "private = true"),
        ({"url": "https://git.example.org/b", "key": "key"}, r"key: has no meaning"),
        ({"url": "ssh://git@h.example/b", "key": "key", "credential": "env:X"}, r"credential: has no meaning"),
        ({"url": "ssh://git@h.example/b", "known_hosts": "known_hosts"}, "private key, or an agent"),
        ({"url": "ssh://git@h.example/b", "key": "key"}, "host key"),
        ({"url": "ssh://git@h.example/b", "key": "none", "known_hosts": "known_hosts"}, "there is no"),
        ({"url": "ssh://git@h.example/b", "key": "%d/key", "known_hosts": "known_hosts"}, "must not hold"),
        ({"url": "https://git.example.org/b", "ca": "none.pem"}, "cannot be read"),
        ({"url": "https://git.example.org/b", "ca": "key"}, "no certificates"),
        ({"url": "https://git.example.org/b", "proxy": "socks5://h:1"}, "proxy"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_named_and_not_repeated(home: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refusal:
        build("shop", Settings(**settings), world_at(home, ENVIRONMENT))
    assert all(problem.startswith("forge.shop") for problem in refusal.value.problems)
    assert CANARY not in str(refusal.value)


@pytest.mark.parametrize("settings", [{"hooks": True}, {"timeout": 0}, {"credential": "token itself"}])
def test_settings_are_closed(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(url="https://git.example.org/b", **settings)


def test_without_git_or_ssh_on_path_it_is_said_what_is_missing(home: Path) -> None:
    settings = Settings(url="ssh://git@h.example/b", key="key", known_hosts="known_hosts")
    with pytest.raises(ConfigurationError, match="no git on PATH"):
        build("shop", settings, world_at(home, {"PATH": str(home)}))
    (home / "git").touch(mode=0o755)
    with pytest.raises(ConfigurationError, match="no ssh on PATH"):
        build("shop", settings, world_at(home, {"PATH": str(home)}))


def test_the_identity_has_the_url_without_the_user(home: Path) -> None:
    identity = build("shop", Settings(url="https://ada@git.example.org/b"), world_at(home, ENVIRONMENT)).identity
    assert (identity.kind, identity.location, identity.account) == ("git-remote", "https://git.example.org/b", "ada")


@pytest.mark.parametrize(
    ("line", "kind", "sure"),
    [
        ("fatal: Authentication failed for 'https://h/b'", "refused", True),
        ("fatal: unable to access 'https://h/b': The requested URL returned error: 403", "refused", True),
        ("fatal: unable to access 'https://h/b': The requested URL returned error: 502", "retry", True),
        ("fatal: unable to access 'https://h/b': The requested URL returned error: 418", "refused", True),
        ("fatal: unable to access 'https://h/b': Could not resolve host: h", "retry", True),
        ("fatal: unable to access 'https://h/b': SSL certificate problem: certificate has expired", "refused", True),
        ("fatal: unable to access 'https://h/b': CONNECT tunnel failed, response 407", "retry", True),
        ("fatal: repository 'https://h/b/' not found", "refused", True),
        ("fatal: https://h/b/info/refs not valid: is this a git repository?", "refused", True),
        ("fatal: remote error: access denied or repository not exported: /b", "refused", True),
        ("error: RPC failed; HTTP 413 curl 22 The requested URL returned error: 413", "refused", True),
        ("error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502", "retry", False),
        ("error: RPC failed; curl 56 Recv failure: Connection reset by peer", "retry", False),
        ("fatal: the remote end hung up unexpectedly", "retry", False),
        ("send-pack: unexpected disconnect while reading sideband packet", "retry", False),
        ("Host key verification failed.", "refused", True),
        ("git@h: Permission denied (publickey).", "refused", True),
        ("ssh: connect to host h port 22: Connection refused", "retry", True),
        ("error: something that no rule knows", "refused", False),
    ],
)
def test_what_git_says_is_sorted(line: str, kind: str, sure: bool) -> None:
    found = sort([line], "", ())
    assert (found.kind, found.sure) == (kind, sure)
    assert line.rsplit(maxsplit=1)[-1].rstrip(".'") in str(found)


def test_a_servers_own_words_are_quoted_and_never_sorted() -> None:
    found = sort(["remote: Authentication failed \x1b[31m", "fatal: the remote end hung up unexpectedly"], "", ())
    assert (found.kind, found.sure, found.unauthorised) == ("retry", False, False)
    assert 'the server says: "Authentication failed' in str(found)
    assert "\x1b" not in str(found)


def test_credentials_are_taken_out_of_what_is_quoted_and_the_rest_is_short() -> None:
    lines = [f"remote: {CANARY} " * 300, f"fatal: {CANARY} " + "x" * 5000]
    text = str(sort(lines, "", (Secret(CANARY), Secret("x"))))
    assert CANARY not in text
    assert len(text) < 800


def test_a_call_that_was_ended_is_never_sure() -> None:
    found = sort(["fatal: unable to access 'https://h/b'"], "took longer than 5 s and was ended", ())
    assert (found.kind, found.sure) == ("retry", False)
