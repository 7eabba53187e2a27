"""Certificates are trusted or refused for what they are."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx2
import pytest

from tests.bed.recorder import Answer, Next, Proxy, Request, answer
from tests.bed.tls import Authority, Certificate


async def greeting(request: Request, onward: Next) -> Answer:
    return answer(200, {"peer": request.peer})


def asked(server: Certificate, authority: Path, *, client: Certificate | None = None, name: str = "127.0.0.1") -> str:
    trusting = ssl.create_default_context(cafile=str(authority))
    if client is not None:
        trusting.load_cert_chain(client.certificate, client.key)
    with (
        Proxy(("127.0.0.1", 9), layers=[greeting], server_tls=server.server(authority), name=name) as proxy,
        httpx2.Client(verify=trusting, trust_env=False) as asking,
    ):
        assert proxy.url.startswith("https://")
        return str(asking.get(proxy.url).json()["peer"])


def test_a_good_certificate_is_trusted_by_address_and_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    assert asked(authority.good(), authority.bundle) == ""
    assert asked(authority.good(), authority.bundle, name="localhost") == ""


def test_bad_ones_are_refused_for_what_they_are(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with pytest.raises(httpx2.ConnectError, match="expired"):
        asked(authority.expired(), authority.bundle)
    with pytest.raises(httpx2.ConnectError, match=r"not valid for '127|mismatch"):
        asked(authority.elsewhere(), authority.bundle)
    (tmp_path / "other").mkdir()
    with pytest.raises(httpx2.ConnectError, match=r"(?i)self.signed|unable to get|signature"):
        asked(authority.good(), Authority(tmp_path / "other", "stranger").bundle)


def test_a_client_is_known_by_its_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.client("keyturn", "deployers")
    assert asked(authority.good(), authority.bundle, client=client) == "keyturn"
    assert client.key.stat().st_mode & 0o077 == 0
    with pytest.raises(httpx2.TransportError):
        asked(authority.good(), authority.bundle, client=authority.client("late", expired=True))
