"""Certificates for servers and clients on loopback, made by an authority that nobody else trusts."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of a certificate (with its authority's behind it) and its key."""

    certificate: Path
    key: Path

    def server(self, clients: Path | None = None) -> ssl.SSLContext:
        """Return what a server speaks TLS with; `clients` is the authority of client certificates it asks for."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if clients is not None:
            context.load_verify_locations(clients)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context


class Authority:
    """A certificate authority whose files lie in a folder: `bundle` is what a client has to trust."""

    def __init__(self, folder: Path, name: str = "test bed") -> None:
        """Make the authority's key and certificate."""
        self._folder, self._name = folder, _named(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(self._name, self._name, self._key.public_key(), -_DAY, 30 * _DAY)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), False)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.bundle = folder / f"{name.replace(' ', '-')}.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def good(self, *names: str) -> Certificate:
        """Issue a server's certificate that is valid now, for these names (127.0.0.1 and localhost by default)."""
        return self._issue("good", names or ("127.0.0.1", "localhost"), -_DAY, 20 * _DAY)

    def expired(self) -> Certificate:
        """Issue a server's certificate that ended yesterday."""
        return self._issue("expired", ("127.0.0.1", "localhost"), -20 * _DAY, -_DAY)

    def elsewhere(self) -> Certificate:
        """Issue a server's certificate for another name."""
        return self._issue("elsewhere", ("elsewhere.test",), -_DAY, 20 * _DAY)

    def client(self, user: str, *groups: str, expired: bool = False) -> Certificate:
        """Issue a client's certificate: common name and organisations, as Kubernetes reads user and groups."""
        until = -_DAY / 2 if expired else 20 * _DAY
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, user),
                *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
            ]
        )
        return self._issue(f"client-{user}", (), -_DAY, until, subject)

    def _issue(
        self,
        file: str,
        names: tuple[str, ...],
        since: dt.timedelta,
        until: dt.timedelta,
        subject: x509.Name | None = None,
    ) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject or _named(names[0]), self._name, key.public_key(), since, until)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if subject else ExtendedKeyUsageOID.SERVER_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(n) for n in names]), False)
        made = builder.sign(self._key, hashes.SHA256())
        issued = Certificate(self._folder / f"{file}.crt", self._folder / f"{file}.key")
        chain = made.public_bytes(Encoding.PEM) + self._certificate.public_bytes(Encoding.PEM)
        issued.certificate.write_bytes(chain)
        issued.key.touch(mode=0o600)
        issued.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return issued


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    since: dt.timedelta,
    until: dt.timedelta,
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + since)
        .not_valid_after(now + until)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
