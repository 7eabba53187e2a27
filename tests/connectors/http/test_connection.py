"""What settings are refused before anything is sent, and that no message repeats a password in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from keyturn.connectors.http import Connection
from keyturn.connectors.http.connection import Origin, base_of, proxy_of, trust_of
from keyturn.model.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://api.github.com", "https://api.github.com", ""),
        ("https://API.GitHub.com:443/", "https://api.github.com", ""),
        ("https://ghe.example.:8443/api/v3/", "https://ghe.example:8443", "/api/v3"),
        ("https://[2606:50c0:8000::154]/x", "https://[2606:50c0:8000::154]", "/x"),
    ],
)
def test_a_url_is_taken_apart(url: str, origin: str, path: str) -> None:
    base = base_of("forge.shop", Connection(url=url))
    assert (str(base.origin), base.path) == (origin, path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "ftp://h.example"}, "forge.shop.url: must be https://HOST"),
        ({"url": "h.example"}, "forge.shop.url: must be https://HOST"),
        ({"url": "https://"}, "forge.shop.url: must be https://HOST"),
        ({"url": "https://h ost"}, "forge.shop.url: must be https://HOST"),
        ({"url": "https://höst.example"}, "forge.shop.url: must be https://HOST"),
        ({"url": "https://h.example:port"}, "forge.shop.url: is no URL"),
        ({"url": "https://[oops"}, "forge.shop.url: is no URL"),
        ({"url": "https://me:hush@h.example"}, "forge.shop.url: must not hold a name or password"),
        ({"url": "https://h.example/?token=hush"}, "forge.shop.url: its path may hold"),
        ({"url": "https://h.example/#hush"}, "forge.shop.url: its path may hold"),
        ({"url": "https://h.example/a/../b"}, "forge.shop.url: its path may hold"),
        (
            {"url": "http://h.example"},
            "must be https; http is for a loopback address alone, and needs private",
        ),
        ({"url": "http://127.0.0.1"}, "needs private = true"),
        ({"url": "http://10.0.0.1", "private": True}, "http is for a loopback address alone, such as 127.0.0.1"),
        ({"url": "http://h.example", "private": True}, "http is for a loopback address alone"),
        ({"url": "http://127.0.0.1", "private": True, "proxy": "http://p:1"}, "forge.shop.proxy: cannot be used"),
        ({"url": "https://10.0.0.1"}, "10.0.0.1 is a private address, which needs private = true"),
        ({"url": "https://127.1"}, "127.1 is a private address"),
        ({"url": "https://localhost"}, "localhost is a private address"),
        ({"url": "https://x.localhost"}, "x.localhost is a private address"),
        ({"url": "https://169.254.169.254", "private": True}, "169.254.169.254 is never connected to"),
        ({"url": "https://metadata.google.internal", "private": True}, "metadata services are at such addresses"),
        ({"url": "https://[fe80::1]", "private": True}, "is never connected to"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(settings: dict[str, object], words: str) -> None:
    connection = Connection.model_validate(settings)
    with pytest.raises(ConfigurationError) as refused:
        base_of("forge.shop", connection)
    assert words in str(refused.value)
    assert "hush" not in str(refused.value)


def test_private_addresses_are_allowed_where_that_is_said() -> None:
    for url in ("https://10.0.0.1", "http://127.0.0.1:8000", "http://localhost:8000", "https://localhost"):
        base_of("forge.shop", Connection(url=url, private=True))


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("socks5://p:1", "must be https://HOST"),
        ("http://me:hush@p:1", "must not hold a name or password; proxies that want one cannot be used"),
        ("http://p:1/path", "without a path"),
        ("http://169.254.169.254", "is no address of a proxy"),
    ],
)
def test_a_proxy_that_cannot_be_meant_is_refused(proxy: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        proxy_of("forge.shop", Connection(url="https://h.example", proxy=proxy))
    assert str(refused.value).startswith("forge.shop.proxy: ")
    assert words in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_proxy_may_be_on_a_private_address() -> None:
    connection = Connection(url="https://h.example", proxy="http://10.0.0.1:3128")
    assert proxy_of("forge.shop", connection) == Origin("http", "10.0.0.1", 3128)
    assert proxy_of("forge.shop", Connection(url="https://h.example")) is None


def test_certificates_come_from_a_file_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"forge\.shop\.ca: .*/missing\.pem cannot be read: No such file"):
        trust_of("forge.shop", tmp_path, "missing.pem")
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ConfigurationError, match=r"forge\.shop\.ca: .*empty\.pem holds no certificates in PEM form"):
        trust_of("forge.shop", tmp_path, "empty.pem")


@pytest.mark.parametrize(
    "settings",
    [{"timeout": 0}, {"deadline": 4000}, {"pause": -1}, {"verify": False}, {"private": "yes"}, {"url": "hush" * 999}],
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        Connection.model_validate({"url": "https://h.example", **settings})
    assert "hush" not in str(refused.value)
