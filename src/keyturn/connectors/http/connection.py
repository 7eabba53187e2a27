"""Settings that every back end over HTTP shares, and what is refused about them before anything is sent."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from keyturn.connectors.http.addresses import literal, sort_of
from keyturn.model.errors import ConfigurationError

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*")
PORTS = {"https": 443, "http": 80}
"""The port of each scheme that can be spoken."""
_THIS_MACHINE = ("localhost", ".localhost", "localhost.localdomain")
_METADATA = ("metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal")

Location = Annotated[str, Field(min_length=1, max_length=2000)]


class Connection(BaseModel):
    """How a system is reached over HTTP; settings of such back ends inherit from it.

    url       where its interface begins, `https://…`; no name, password, query or fragment in it
    ca        a file of PEM certificates, which alone are trusted then; a relative path is below the home
    proxy     `http://HOST:PORT` or `https://…`, which is asked for a tunnel (CONNECT)
    private   whether private and loopback addresses may be connected to
    timeout   seconds that one try may take, from connecting to the end of the answer
    deadline  seconds that a call may take in all: its turn, every try, and the waits between them
    pause     seconds between two changes on one host, whichever process makes them
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, regex_engine="rust-regex", hide_input_in_errors=True
    )

    url: Location
    ca: Location | None = None
    proxy: Location | None = None
    private: bool = False
    timeout: int = Field(default=10, ge=1, le=300)
    deadline: int = Field(default=30, ge=1, le=3600)
    pause: float = Field(default=0, ge=0, le=60)


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port, normalised: what a redirect must not leave, and what shares a queue of changes."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" if self.port == PORTS[self.scheme] else f"{self.scheme}://{host}:{self.port}"

    @property
    def authority(self) -> str:
        """Host, and the port where it is not the scheme's own: as in a `Host` field (RFC 9110, section 7.2)."""
        return str(self).partition("://")[2]


@dataclass(frozen=True, slots=True)
class Base:
    """Where an interface begins: an origin, and a path without a slash at its end."""

    origin: Origin
    path: str


def base_of(place: str, connection: Connection) -> Base:
    """Return where the interface begins. Raises `ConfigurationError` naming the setting that is wrong, and why."""
    base = _parsed(f"{place}.url", connection.url, "a credential has a setting of its own")
    if base.origin.scheme == "http":
        _check_plain(place, connection, base.origin.host)
    elif problem := _forbidden(base.origin.host, private=connection.private):
        raise ConfigurationError(f"{place}.url: {problem}")
    return base


def proxy_of(place: str, connection: Connection) -> Origin | None:
    """Return the proxy, if there is one. Raises `ConfigurationError`."""
    if connection.proxy is None:
        return None
    base = _parsed(f"{place}.proxy", connection.proxy, "proxies that want one cannot be used")
    if base.path:
        raise ConfigurationError(f"{place}.proxy: must be http://HOST:PORT or https://HOST:PORT, without a path")
    address = literal(base.origin.host)
    if address is not None and sort_of(address) == "never":
        raise ConfigurationError(f"{place}.proxy: {base.origin.host} is no address of a proxy")
    return base.origin


def trust_of(place: str, home: Path, ca: str | None) -> ssl.SSLContext:
    """Return what certificates and names are held against, from TLS 1.2 on. There is no way to leave that out.

    Without `ca` the operating system's authorities are trusted (and OpenSSL's own SSL_CERT_FILE), with it those in
    the file alone. Raises `ConfigurationError` for a file without certificates.

    `ssl.create_default_context` would besides write the keys of each connection to a file that SSLKEYLOGFILE names.
    """
    if ca is None:
        return _system_trust()
    context, problem = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ""
    try:
        context.load_verify_locations(cafile=home / ca)
    except ssl.SSLError:
        problem = "holds no certificates in PEM form"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    if problem:
        raise ConfigurationError(f"{place}.ca: {home / ca} {problem}")
    return context


@cache  # it takes tens of milliseconds, and changes with the installation
def _system_trust() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def _parsed(place: str, url: str, instead: str) -> Base:
    """Split a URL. The messages do not repeat it: somebody may have written a password into it, for which `instead`
    says what to do.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{place}: is no URL") from None
    if "@" in parts.netloc:
        raise ConfigurationError(f"{place}: must not hold a name or password; {instead}")
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in PORTS or not (literal(host) or _HOST.fullmatch(host)):
        raise ConfigurationError(
            f"{place}: must be https://HOST or https://HOST:PORT, with a path after it if need be"
        )
    if "?" in url or "#" in url or not _PATH.fullmatch(parts.path) or {".", ".."} & set(parts.path.split("/")):
        raise ConfigurationError(f"{place}: its path may hold letters, digits and -._~ between slashes, and no query")
    return Base(Origin(parts.scheme, host, PORTS[parts.scheme] if port is None else port), parts.path.rstrip("/"))


def _check_plain(place: str, connection: Connection, host: str) -> None:
    if not connection.private:
        raise ConfigurationError(
            f"{place}.url: must be https; http is for a loopback address alone, and needs private = true"
        )
    if connection.proxy is not None:
        raise ConfigurationError(f"{place}.proxy: cannot be used with http, which stays on this machine")
    address = literal(host)
    if sort_of(address) != "loopback" if address is not None else not _here(host):
        raise ConfigurationError(
            f"{place}.url: must be https; http is for a loopback address alone, such as 127.0.0.1"
        )


def _forbidden(host: str, *, private: bool) -> str | None:
    """Say why a host may not be connected to, as far as that can be told without asking for its addresses."""
    address = literal(host)
    sort = sort_of(address) if address is not None else "loopback" if _here(host) else "public"
    if sort == "never" or host.lower() in _METADATA:
        return f"{host} is never connected to: metadata services are at such addresses"
    if sort in ("private", "loopback") and not private:
        return f"{host} is a private address, which needs private = true"
    return None


def _here(host: str) -> bool:
    name = host.lower()
    return name in _THIS_MACHINE or name.endswith(".localhost")
