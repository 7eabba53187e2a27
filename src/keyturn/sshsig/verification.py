"""Decides whether a message was signed, in a namespace, by the key an SSH signature names.

What is proved, in this order:

1. the signature is one well-formed SSHSIG blob (`envelope`) holding an accepted public key (`model.sshkey`);
2. it was made for the namespace asked for, byte by byte;
3. a hardware key is bound to an application beginning with `ssh:`, so that no web site can have asked for it;
4. the key's signature covers namespace, hash name and message, and for hardware keys also flags and counter.

What is *not* decided here: whether the key is anybody's. That, and whether a touch or a PIN is demanded, is
the caller's policy; `Signer` reports what the token vouched for. Stock `ssh-keygen -Y verify` checks neither
3 nor the touch. An ECDSA signature can be respelled by anyone into a second valid one (its s negated), so
signatures are no identifiers: compare messages.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, assert_never

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from keyturn.model.sshkey import Curve, EcdsaPoint, Ed25519Point, PublicKey, RsaModulus, WireReader
from keyturn.sshsig.envelope import Envelope, SignatureError, read_envelope, unarmor

_ARMOR_START: Final = b"-----BEGIN"
_USER_PRESENT: Final = 0x01  # FIDO flags: somebody touched the token ...
_USER_VERIFIED: Final = 0x04  # ... and gave its PIN or a fingerprint
_CURVES: Final[dict[Curve, tuple[ec.EllipticCurve, hashes.HashAlgorithm]]] = {
    "nistp256": (ec.SECP256R1(), hashes.SHA256()),
    "nistp384": (ec.SECP384R1(), hashes.SHA384()),
    "nistp521": (ec.SECP521R1(), hashes.SHA512()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """The key that signed, and what its token vouched for.

    The last three are None unless `key.hardware`. A token can sign without a touch: `user_present` is then
    False, the signature still valid, and refusing it is up to the caller. `counter` is the token's own count
    of signatures; many tokens leave it at 0, so it says little.
    """

    key: PublicKey
    user_present: bool | None
    user_verified: bool | None
    counter: int | None


def verify(message: bytes, signature: bytes | str, namespace: str) -> Signer:
    """Return who signed `message` in `namespace`; raises `SignatureError` if nobody provably did.

    `signature` is the raw blob or the armoured text (as `str`, or as bytes). The caller must still compare
    `Signer.key` with the keys it trusts and judge `user_present` and `user_verified`.
    """
    envelope = read_envelope(_blob(signature))
    if not namespace or envelope.namespace != namespace.encode():
        found = ascii(envelope.namespace[:64].decode("latin-1"))
        raise SignatureError(f"the signature was made for the namespace {found}, not for {namespace!a}")
    data = envelope.covered(message)
    if envelope.flags is None or envelope.counter is None:
        _check(envelope, data)
        return Signer(key=envelope.key, user_present=None, user_verified=None, counter=None)
    _check(envelope, _token_data(envelope, data, envelope.flags, envelope.counter))
    return Signer(
        key=envelope.key,
        user_present=bool(envelope.flags & _USER_PRESENT),
        user_verified=bool(envelope.flags & _USER_VERIFIED),
        counter=envelope.counter,
    )


def _blob(signature: bytes | str) -> bytes:
    if isinstance(signature, str):
        return unarmor(signature)
    if signature.startswith(_ARMOR_START):
        return unarmor(signature.decode("latin-1"))
    return signature


def _token_data(envelope: Envelope, data: bytes, flags: int, counter: int) -> bytes:
    """Return what a FIDO token signs for `data` (OpenSSH PROTOCOL.u2f)."""
    application = envelope.key.application or ""
    if not application.startswith("ssh:"):
        raise SignatureError(f"the hardware key is bound to {application!a}; only ssh: counts")
    return (
        hashlib.sha256(application.encode("ascii")).digest()
        + bytes([flags])
        + counter.to_bytes(4, "big")
        + hashlib.sha256(data).digest()
    )


def _check(envelope: Envelope, data: bytes) -> None:
    try:
        match envelope.key.material:
            case Ed25519Point(point=point):
                _check_ed25519(point, envelope.signature, data)
            case EcdsaPoint(curve=curve, point=point):
                _check_ecdsa(curve, point, envelope.signature, data)
            case RsaModulus(exponent=exponent, modulus=modulus):
                _check_rsa(exponent, modulus, envelope.signature, data)
            case unknown:
                assert_never(unknown)
    except InvalidSignature as error:
        raise SignatureError("the signature does not fit this message and key") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"the signature cannot be checked: {error}") from error


def _check_ed25519(point: bytes, signature: bytes, data: bytes) -> None:
    if len(signature) != 64:
        raise ValueError(f"an Ed25519 signature has 64 bytes, this one {len(signature)}")
    Ed25519PublicKey.from_public_bytes(point).verify(signature, data)


def _check_ecdsa(curve_name: Curve, point: bytes, signature: bytes, data: bytes) -> None:
    curve, digest = _CURVES[curve_name]
    reader = WireReader(signature, "ECDSA signature")
    r, s = reader.mpint(), reader.mpint()
    reader.end()
    if max(r, s).bit_length() > curve.key_size:
        raise ValueError(f"the numbers of the ECDSA signature are too large for {curve_name}")
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)  # refuses points off the curve
    key.verify(encode_dss_signature(r, s), data, ec.ECDSA(digest))


def _check_rsa(exponent: int, modulus: int, signature: bytes, data: bytes) -> None:
    size = (modulus.bit_length() + 7) // 8
    if len(signature) != size:
        raise ValueError(f"a signature by this RSA key has {size} bytes, this one {len(signature)}")
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    key.verify(signature, data, padding.PKCS1v15(), hashes.SHA512())
