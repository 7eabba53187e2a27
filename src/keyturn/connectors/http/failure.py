"""Why there is no whole answer, in words of ours: those of exceptions may quote what was sent."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import httpcore2

from keyturn.connectors.http.connection import Origin
from keyturn.model.text import visible


@dataclass(frozen=True, slots=True)
class Failure:
    """No whole answer. `sent`: some of the request may have arrived; `final`: another try would end likewise."""

    words: str
    sent: bool
    final: bool = False


# What OpenSSL says of a certificate (X509_V_ERR_*), in words that say what to do.
_CERTIFICATES: Mapping[int, str] = {
    9: "its certificate is not valid yet; look at the clocks of both machines",
    10: "its certificate has expired; it has to be renewed there",
    18: "its certificate is signed by itself alone; name its authority's file with ca",
    19: "its certificate comes from an authority that is not trusted here; name the authority's file with ca",
    20: "its certificate comes from an authority that is not trusted here; name the authority's file with ca",
    21: "its certificate comes without those above it; its server has to send the whole chain, or name it with ca",
    62: "its certificate is for another name; look at the url",
    64: "its certificate is for another address; look at the url",
}


def failure_of(origin: Origin, error: BaseException, *, sent: bool) -> Failure:
    """Put an error of the library into words of ours: its own may quote what was sent."""
    host = origin.host
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            words = _CERTIFICATES.get(found.verify_code, f"its certificate is not accepted: {found.verify_message}")
            return Failure(f"{host}: {words}", sent, final=True)
        if isinstance(found, ssl.SSLError) and not isinstance(found, ssl.SSLEOFError):
            return Failure(
                f"{host}: no TLS connection came about ({found.reason or 'it ended'})", sent, final=not sent
            )
        found = found.__cause__ or found.__context__
    if isinstance(error, httpcore2.ProxyError):
        return Failure(f"the proxy opened no tunnel to {host}: {visible(str(error))[:100]}", sent)
    if isinstance(error, httpcore2.LocalProtocolError):
        return Failure(f"{host}: the request cannot be sent as HTTP", sent, final=True)
    if isinstance(error, httpcore2.RemoteProtocolError):
        return Failure(f"{host}: it ended the connection, or sent no HTTP, before its answer was whole", sent)
    words = "the connection broke before its answer was whole" if sent else "no connection was made"
    return Failure(f"{host}: {words}", sent)
