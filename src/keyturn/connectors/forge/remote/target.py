"""Where a git remote is: its URL taken apart and checked, and the addresses that it may be reached at."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal, TypeAlias

from keyturn.connectors.http.addresses import literal, sort_of
from keyturn.connectors.http.connection import Connection, base_of
from keyturn.model.errors import ConfigurationError, ConnectorError

Scheme: TypeAlias = Literal["https", "http", "ssh"]

_URL = re.compile(r"(?P<scheme>https|http|ssh)://(?:(?P<user>[^@/]*)@)?(?P<rest>[^@]+)", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}", re.ASCII)
_PORTS = {"https": 443, "http": 80, "ssh": 22}
ADDRESSES = 6
"""Addresses of one name that are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A remote: scheme, user name ("" where none is named), host, port and path with a leading slash."""

    scheme: Scheme
    user: str
    host: str
    port: int
    path: str

    @property
    def location(self) -> str:
        """The URL without a user name: what entries and messages hold."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def url(self) -> str:
        """The URL that git gets. Over HTTP the name goes with the credential, which no URL holds."""
        user = f"{self.user}@" if self.scheme == "ssh" and self.user else ""
        return f"{self.scheme}://{user}{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """Host, and the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def target_of(place: str, url: str, *, private: bool) -> Target:
    """Take a URL apart. Raises `ConfigurationError` naming the setting (`place`), and never repeating the URL."""
    parts = _URL.fullmatch(url)
    if parts is None:
        raise ConfigurationError(f"{place}: must be https://HOST/PATH or ssh://USER@HOST/PATH")
    user, scheme = parts["user"] or "", parts["scheme"]
    if ":" in user:
        raise ConfigurationError(f"{place}: must not hold a password; a credential has a setting of its own")
    if user and not _USER.fullmatch(user):
        raise ConfigurationError(f"{place}: a user name may hold letters, digits and ._+-")
    if scheme == "ssh" and not user:
        raise ConfigurationError(f"{place}: names no user; most servers want ssh://git@HOST/PATH")
    # host, port, path and private addresses are looked at as for every back end; ssh has another port
    alike = "https" if scheme == "ssh" else scheme
    base = base_of(place.removesuffix(".url"), Connection(url=f"{alike}://{parts['rest']}", private=private))
    if not base.path.strip("/"):
        raise ConfigurationError(f"{place}: names no repository after the host")
    port = base.origin.port
    if scheme == "ssh" and not re.match(r"[^/]*:443(/|$)", parts["rest"]):
        port = _PORTS["ssh"] if port == _PORTS["https"] else port
    return Target(scheme=_scheme(scheme), user=user, host=base.origin.host, port=port, path=base.path)


def addresses(host: str, port: int, *, private: bool, plain: bool) -> tuple[str, ...]:
    """Return the first addresses of a host, if every one it has may be connected to; of a literal address itself.

    `plain`: without TLS or SSH, so loopback addresses alone. Raises `ConnectorError` (refused; retry where the name
    cannot be looked up).
    """
    fixed = literal(host)
    if fixed is not None:
        found = [str(fixed)]
    else:
        try:
            listed = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConnectorError(f"{host} has no address: {error.strerror or error}", kind="retry") from None
        found = list(dict.fromkeys(str(item[4][0]) for item in listed))
    for address in found:
        if problem := _problem(address, private=private, plain=plain):
            raise ConnectorError(f"{host} ({address}) {problem}")
    return tuple(found[:ADDRESSES])


def _problem(address: str, *, private: bool, plain: bool) -> str | None:
    sort = sort_of(ip_address(address))
    if sort == "never":
        return "is never connected to: link-local addresses, metadata services and such"
    if plain and sort != "loopback":
        return "is no loopback address, and only to those is anything sent without TLS"
    if sort != "public" and not private:
        return f"is a {sort} address, which needs private = true"
    return None


def _scheme(scheme: str) -> Scheme:
    match scheme:
        case "https" | "http" | "ssh":
            return scheme
    raise AssertionError(scheme)  # the pattern lets nothing else through
