"""Which addresses are connected to, whatever dress they come in."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.connectors.http.addresses import literal, sort_of


@pytest.mark.parametrize(
    ("address", "sort"),
    [
        ("140.82.121.6", "public"),
        ("2606:50c0:8000::154", "public"),
        ("64:ff9b::8c52:7906", "public"),  # NAT64 of a public address: how machines without IPv4 reach it
        ("::ffff:140.82.121.6", "public"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("198.18.0.1", "private"),
        ("fd12:3456:789a::1", "private"),
        ("fc00::1", "private"),
        ("2001:db8::1", "private"),
        ("0.0.0.0", "never"),  # noqa: S104 - not bound to, looked at
        ("0.1.2.3", "never"),
        ("169.254.169.254", "never"),
        ("169.254.1.1", "never"),
        ("100.100.100.200", "never"),
        ("168.63.129.16", "never"),
        ("192.0.0.192", "never"),
        ("224.0.0.1", "never"),
        ("255.255.255.255", "never"),
        ("::", "never"),
        ("fe80::1", "never"),
        ("fe80::1%eth0", "never"),
        ("::1%lo", "never"),
        ("fec0::1", "never"),
        ("ff02::1", "never"),
        ("fd00:ec2::254", "never"),
        ("fd20:ce::254", "never"),
        ("::ffff:127.0.0.1", "never"),
        ("::ffff:10.0.0.1", "never"),
        ("::ffff:169.254.169.254", "never"),
        ("64:ff9b::a9fe:a9fe", "never"),
        ("64:ff9b::7f00:1", "never"),
        ("2002:a9fe:a9fe::1", "never"),
        ("2002:8c52:7906::1", "never"),
        ("2001:0:1234::1", "never"),
        ("::127.0.0.1", "never"),
        ("4000::1", "never"),
    ],
)
def test_an_address_is_sorted(address: str, sort: str) -> None:
    assert sort_of(ip_address(address)) == sort


@given(st.ip_addresses(v=4))
def test_no_dress_makes_an_address_more_than_it_is(address: IPv4Address) -> None:
    number = int(address)
    mapped, translated = IPv6Address(0xFFFF << 32 | number), IPv6Address((0x64FF9B << 96) | number)
    for dressed in (mapped, translated):
        assert sort_of(dressed) == ("public" if sort_of(address) == "public" else "never")
    assert sort_of(IPv6Address(0x2002 << 112 | number << 80)) == "never"


@given(st.ip_addresses(v=6))
def test_what_is_public_is_in_the_range_that_is_routed(address: IPv6Address) -> None:
    if sort_of(address) == "public":
        assert address.is_global or address.ipv4_mapped is not None


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_is_public_that_python_calls_private(address: IPv4Address) -> None:
    if sort_of(address) == "public":
        assert not address.is_private
        assert not address.is_multicast


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1"])
def test_every_form_that_a_resolver_takes_is_seen_as_an_address(host: str) -> None:
    assert literal(host) == IPv4Address("127.0.0.1")


@pytest.mark.parametrize("host", ["api.github.com", "127.0.0.1 x", "127.1\tx", "127.1 ", ""])
def test_what_is_no_address_is_not_taken_for_one(host: str) -> None:
    assert literal(host) is None


def test_an_address_of_the_sixth_version_is_one() -> None:
    assert literal("::1") == IPv6Address("::1")
