"""Which network addresses a back end may connect to."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Sort: TypeAlias = Literal["public", "private", "loopback", "never"]
"""`private`: allowed with `private = true`; `loopback`: likewise, and without TLS too; `never`: refused always."""

# Everything that is not the public internet. `never` first: metadata services sit on link-local addresses, and two of
# them elsewhere.
# https://www.iana.org/assignments/iana-ipv4-special-registry
# https://www.iana.org/assignments/iana-ipv6-special-registry
_SORTS: Final = tuple(
    (ip_network(network), sort)
    for network, sort in (
        ("0.0.0.0/8", "never"),  # this host, this network (RFC 791): Linux connects 0.0.0.0 to itself
        ("169.254.0.0/16", "never"),  # link-local (RFC 3927) and the metadata services of nearly every cloud
        ("100.100.100.200/32", "never"),  # Alibaba Cloud's metadata service
        ("168.63.129.16/32", "never"),  # Azure's, which is a public address by its number
        ("192.0.0.0/24", "never"),  # IETF protocol assignments (RFC 6890), with Oracle's metadata service
        ("224.0.0.0/4", "never"),  # multicast (RFC 5771)
        ("240.0.0.0/4", "never"),  # reserved (RFC 1112) and broadcast
        ("127.0.0.0/8", "loopback"),
        ("10.0.0.0/8", "private"),  # RFC 1918
        ("172.16.0.0/12", "private"),
        ("192.168.0.0/16", "private"),
        ("100.64.0.0/10", "private"),  # carrier-grade NAT (RFC 6598)
        ("192.0.2.0/24", "private"),  # documentation (RFC 5737)
        ("192.88.99.0/24", "private"),  # what is left of 6to4 relays (RFC 7526)
        ("198.18.0.0/15", "private"),  # benchmarks (RFC 2544)
        ("198.51.100.0/24", "private"),
        ("203.0.113.0/24", "private"),
        ("::/128", "never"),  # unspecified
        ("::1/128", "loopback"),
        ("fe80::/10", "never"),  # link-local
        ("fec0::/10", "never"),  # site-local, deprecated (RFC 3879)
        ("ff00::/8", "never"),  # multicast
        ("fd00:ec2::/32", "never"),  # Amazon's metadata service, time and DNS
        ("fd20:ce::/32", "never"),  # Google's
        ("fd00:c1::/32", "never"),  # Oracle's
        ("fc00::/7", "private"),  # unique local (RFC 4193)
        ("100::/64", "private"),  # discard (RFC 6666)
        ("64:ff9b:1::/48", "private"),  # local NAT64 (RFC 8215), where it holds no IPv4 address that is known
        ("2001::/23", "never"),  # IETF protocol assignments, Teredo among them, which carries an IPv4 address
        ("2002::/16", "never"),  # 6to4 (RFC 3056), likewise
        ("2001:db8::/32", "private"),  # documentation
        ("3fff::/20", "private"),
        ("5f00::/16", "private"),  # segment routing
    )
)
_GLOBAL: Final = IPv6Network("2000::/3")
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")


def sort_of(address: Address) -> Sort:
    """Sort an address. One that carries an IPv4 address inside is public if that is, and else refused always."""
    if isinstance(address, IPv4Address):
        return _listed(address)
    if address.scope_id is not None:
        return "never"
    inner = _inside(address)
    if inner is None:
        return _listed(address)
    # A loopback or private address in such a dress is no way that anybody means to take.
    return "public" if _listed(inner) == "public" else "never"


def literal(host: str) -> Address | None:
    """Return the address that a host of a URL is, in every form the resolver takes (`127.1`, `0x7f000001`)."""
    try:
        return ip_address(host)
    except ValueError:
        pass  # other forms than the usual one follow
    if len(host.split()) != 1 or host != host.strip():
        return None  # the C library reads no further than to a blank
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _listed(address: Address) -> Sort:
    for network, sort in _SORTS:
        if address.version == network.version and address in network:
            return sort  # type: ignore[return-value]  # the second of each pair above
    # What is assigned to nobody yet is not the public internet either.
    return "public" if address.version == 4 or address in _GLOBAL else "never"


def _inside(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address in an IPv6 one: mapped (RFC 4291, 2.5.5.2) or translated by NAT64 (RFC 6052)."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _TRANSLATED else None
