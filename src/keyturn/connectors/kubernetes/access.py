"""What one connection to a cluster takes: where, whom to trust, who asks; and the TLS context made of that."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from keyturn.connectors.credentials import Secret
from keyturn.connectors.http.authority import Authority
from keyturn.model.errors import ConnectorError


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client's certificate (PEM, with its chain) and its private key."""

    chain: str = field(repr=False)
    key: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How the cluster is reached at this moment.

    server      `https://HOST:PORT`, perhaps with a path
    trusted     PEM certificates that alone are trusted; None for those of the operating system
    name        the name in the server's certificate, None for the one in `server`
    namespace   the one that the way here names, None where it names none
    """

    server: str = field(repr=False)
    authority: Authority = field(repr=False)
    trusted: str | None = field(default=None, repr=False)
    name: str | None = None
    proxy: str | None = field(default=None, repr=False)
    namespace: str | None = None
    certificate: Certificate | None = None

    def same_line(self, other: Access) -> bool:
        """Say whether connections made for the other serve for this one, with the same proof of who asks."""
        return self.authority is other.authority and self._line() == other._line()

    def _line(self) -> tuple[object, ...]:
        return self.server, self.trusted, self.name, self.proxy, self.certificate


class Way(Protocol):
    """One way to a cluster."""

    def server(self) -> str:
        """Return the address of the API server. Raises `ConnectorError` where it cannot be told."""
        ...

    def namespace(self) -> str | None:
        """Return the namespace that goes with this way, or None. Raises `ConnectorError`."""
        ...

    async def access(self) -> Access:
        """Return what a connection takes now. Raises `ConnectorError` saying what to mend."""
        ...


class _Named(ssl.SSLContext):
    """Asks the server for a name of its own choice (SNI), and expects that name in the certificate."""

    name: str

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin TLS under the chosen name, whatever the address was called."""
        return super().wrap_bio(incoming, outgoing, server_side, self.name, session)


def trust_of(place: str, access: Access) -> ssl.SSLContext:
    """Return the TLS context of an access: certificates are always verified, the name always compared.

    Raises `ConnectorError` for authorities or a client certificate that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if access.name is None else _Named(ssl.PROTOCOL_TLS_CLIENT)
    if isinstance(context, _Named) and access.name is not None:
        context.name = access.name
    if access.trusted is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(place, context, access.trusted)
    if access.certificate is not None:
        _present(place, context, access.certificate)
    return context


def _trust(place: str, context: ssl.SSLContext, pem: str) -> None:
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise ConnectorError(
            f"{place}: the certificate authorities of the cluster are no certificates in PEM"
        ) from None


def _present(place: str, context: ssl.SSLContext, certificate: Certificate) -> None:
    """Load a client certificate. OpenSSL reads files only: a nameless one in memory, gone when this returns."""
    descriptor = os.memfd_create("keyturn", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(certificate.chain.encode())
            file.write(b"\n")
            file.write(certificate.key.reveal().encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_unasked)
    except (ssl.SSLError, ValueError):
        raise ConnectorError(
            f"{place}: the client certificate cannot be used: it and its key must be PEM, belong together, and the "
            "key must not be encrypted"
        ) from None
    finally:
        os.close(descriptor)


def _unasked() -> NoReturn:
    """Stand where OpenSSL would ask the terminal for the passphrase of an encrypted key."""
    raise ValueError("the key is encrypted")


def text_of(value: Mapping[str, Any], name: str) -> str | None:
    """Return a member that is a text with something in it, or None."""
    found = value.get(name)
    return found if isinstance(found, str) and found else None
