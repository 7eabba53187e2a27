"""Timestamps of a real authority: asked for, verified, and refused where they are not what was asked for."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.anchors import Given, Stamper, given_by, rfc3161
from keyturn.log.timestamp import EXTRA, TimestampError, ask, proved, read_authorities
from keyturn.model.errors import ConfigurationError, ConnectorError
from tests.anchors.authority import NEEDED, Authority, stamping
from tests.anchors.world import now, offer, settings, world

pytestmark = NEEDED
pytest.importorskip("rfc3161_client", reason="keyturn[rfc3161] is not installed")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with stamping(tmp_path_factory.mktemp("tsa") / "first") as one:
        yield one


@pytest.fixture(autouse=True)
def honest(authority: Authority) -> None:
    authority.damage.clear()


def anchor(authority: Authority, certificates: Path, folder: Path, **more: Any) -> rfc3161.TimestampAnchor:
    given = settings(rfc3161, url=authority.url, certificates=str(certificates), private=True, **more)
    return rfc3161.build("clock", given, world(folder))


@pytest.mark.parametrize("pinned", [False, True])
def test_a_checkpoint_is_stamped_and_the_token_proves_it(authority: Authority, tmp_path: Path, pinned: bool) -> None:
    certificates = authority.both if pinned else authority.root
    one = anchor(authority, certificates, tmp_path)
    assert isinstance(one, Stamper)
    offered = offer(7, began=now())
    given = given_by(one, offered)
    assert (one.put(offered), given.note) == (offered.note, offered.note)
    stamped = proved(given.token or b"", offered.checkpoint.text, read_authorities(certificates.read_bytes()))
    assert stamped.authority == "CN=first"
    assert abs(datetime.now(UTC) - stamped.at) < timedelta(minutes=1)


def test_a_token_proves_nothing_of_another_text_nor_to_who_names_another_authority(
    authority: Authority, tmp_path: Path
) -> None:
    trusted = read_authorities(authority.root.read_bytes())
    token = authority.stamp(ask("one\n", trusted).data)
    assert proved(token, "one\n", trusted).authority == "CN=first"
    other = Authority(tmp_path / "other").made()
    for text, authorities in (
        ("two\n", trusted),
        ("one\n", read_authorities(other.root.read_bytes())),
        ("one\n", read_authorities(other.both.read_bytes())),
        ("one\n", read_authorities(authority.root.read_bytes() + (other.folder / "tsa.pem").read_bytes())),
    ):
        with pytest.raises(TimestampError):
            proved(token, text, authorities)
    with pytest.raises(TimestampError):
        proved(token, "one\n", trusted, nonce=1)
    for place in range(9, len(token), 53):
        damaged = token[:place] + bytes([token[place] ^ 1]) + token[place + 1 :]
        try:
            again = proved(damaged, "one\n", trusted)
        except TimestampError:
            continue
        assert again == proved(token, "one\n", trusted), place


@pytest.mark.parametrize("answer", [b"", b"nothing", b"0\x03\x02\x01\x02", b"\x30\x80" * 40])
def test_an_answer_that_is_no_timestamp_is_told(authority: Authority, tmp_path: Path, answer: bytes) -> None:
    authority.damage.append(answer)
    with pytest.raises(ConnectorError, match="gave no timestamp that holds"):
        anchor(authority, authority.root, tmp_path).give(offer(7, began=now()))


def test_a_token_that_was_given_for_an_earlier_request_is_told(authority: Authority, tmp_path: Path) -> None:
    offered = offer(7, began=now())
    one = anchor(authority, authority.root, tmp_path)
    given = one.give(offered)
    assert isinstance(given, Given)
    authority.damage.append(given.token or b"")
    with pytest.raises(ConnectorError, match="gave no timestamp that holds"):
        one.give(offered)


def test_a_token_of_a_time_before_the_checkpoint_is_told(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="is before the checkpoint; look at both clocks"):
        anchor(authority, authority.root, tmp_path).give(offer(7, began=now() + 3600))


def test_an_authority_that_is_not_there_is_told(authority: Authority, tmp_path: Path) -> None:
    given = settings(
        rfc3161, url="http://127.0.0.1:9/", certificates=str(authority.root), private=True, timeout=1, deadline=2
    )
    with pytest.raises(ConnectorError):
        rfc3161.build("clock", given, world(tmp_path)).give(offer(7, began=now()))


def test_settings_that_cannot_be_used_are_refused_by_name(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for certificates, words in (
        (tmp_path / "nowhere.pem", "No such file"),
        (tmp_path / "empty.pem", "no certificates in PEM"),
        (authority.folder / "tsa.pem", "0 certificates of authorities and 1 for timestamps"),
    ):
        with pytest.raises(ConfigurationError, match=rf"anchors\.clock\.certificates: .*{words}"):
            anchor(authority, certificates, tmp_path)


def test_a_url_with_more_than_a_path_is_refused(authority: Authority, tmp_path: Path) -> None:
    given = settings(rfc3161, url=f"{authority.url}?x=1", certificates=str(authority.root), private=True)
    with pytest.raises(ConfigurationError, match=r"anchors\.clock\.url"):
        rfc3161.build("clock", given, world(tmp_path))


def test_without_the_extra_it_says_what_to_install(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "rfc3161_client":
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError) as refused:
        read_authorities(authority.root.read_bytes())
    assert EXTRA in str(refused.value)
