"""Timestamps (RFC 3161): an authority's word that a checkpoint existed at a time.

The text of a checkpoint is what is stamped, by its SHA-256. Reading and verifying is `rfc3161-client`'s, an extra,
loaded when it is needed. What is kept is the authority's whole answer (TimeStampResp, DER).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from keyturn.model.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

EXTRA = "timestamps need a further library: install keyturn[rfc3161]"


class TimestampError(ValueError):
    """An answer of an authority that does not prove what it should."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """When a text existed, at the latest, and the subject of the certificate of the authority that says so."""

    at: datetime
    authority: str


@dataclass(frozen=True, slots=True)
class Authorities:
    """Certificates that are trusted for timestamps.

    roots   of certificate authorities, and what stands between
    signer  an authority's own certificate; then no other one's stamps count, and they need not bring it
    """

    roots: tuple[Certificate, ...]
    signer: Certificate | None


@dataclass(frozen=True, slots=True)
class Query:
    """A request for a timestamp (TimeStampReq, DER), and the number that the answer has to repeat."""

    data: bytes
    nonce: int | None


def read_authorities(pem: bytes) -> Authorities:
    """Read certificates (PEM): one root at least, and at most one that is for timestamps.

    Raises `ConfigurationError`, also where the extra is not installed.
    """
    _library()
    from cryptography import x509  # noqa: PLC0415 - as the library itself

    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigurationError(f"no certificates in PEM: {error}") from error
    signers = [one for one in found if _stamps(one)]
    roots = tuple(one for one in found if one not in signers)
    if not roots or len(signers) > 1:
        raise ConfigurationError(
            f"{len(roots)} certificates of authorities and {len(signers)} for timestamps: there must be one of the "
            "first at least, such as the root, and one of the second at most"
        )
    return Authorities(roots, signers[0] if signers else None)


def ask(text: str, authorities: Authorities) -> Query:
    """Return a request to stamp the text of a checkpoint."""
    _library()
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder  # noqa: PLC0415 - an extra

    builder = TimestampRequestBuilder().data(text.encode("utf-8")).hash_algorithm(HashAlgorithm.SHA256)
    request = builder.cert_request(cert_request=authorities.signer is None).build()
    return Query(request.as_bytes(), request.nonce)


def proved(answer: bytes, text: str, authorities: Authorities, nonce: int | None = None) -> Stamped:
    """Return what an answer proves of the text of a checkpoint. Raises `TimestampError`."""
    _library()
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response  # noqa: PLC0415

    try:
        response = decode_timestamp_response(answer)
        verifier = VerifierBuilder(
            roots=list(authorities.roots), tsa_certificate=authorities.signer, nonce=nonce
        ).build()
        verifier.verify_message(response, text.encode("utf-8"))
        at = response.tst_info.gen_time.replace(tzinfo=UTC)
        return Stamped(at, _subject(response.signed_data.certificates, authorities))
    except (ValueError, VerificationError) as error:
        raise TimestampError(str(error)) from error


def _subject(embedded: set[bytes], authorities: Authorities) -> str:
    from cryptography import x509  # noqa: PLC0415 - as the library itself

    brought = [x509.load_der_x509_certificate(one) for one in embedded]
    signer = authorities.signer or next(one for one in brought if _stamps(one))
    return signer.subject.rfc4514_string()


def _stamps(certificate: Certificate) -> bool:
    """Tell whether a certificate is for timestamps."""
    from cryptography import x509  # noqa: PLC0415 - as the library itself
    from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415 - likewise

    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.TIME_STAMPING in usage


def _library() -> None:
    """Raise `ConfigurationError` where the extra is not installed."""
    try:
        import rfc3161_client  # noqa: F401, PLC0415 - only whether it is there
    except ImportError as error:
        raise ConfigurationError(EXTRA) from error
