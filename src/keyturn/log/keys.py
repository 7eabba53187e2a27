"""Public keys of a log: their ids, their verifier strings, and what they have signed.

Sources: C2SP signed-note (key ids, verifier strings), RFC 8032 (Ed25519), DSSE (what is signed).
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyturn.curve import weak_point

ALGORITHM = b"\x01"  # C2SP signed-note: Ed25519
_ORIGIN = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}/[0-9a-f]{32}", re.ASCII)


class BadKey(ValueError):
    """A public key or verifier string is not acceptable; the message says why."""


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """An Ed25519 public key that may sign entries of a log; `raw` is its 32 bytes.

    Raises `BadKey` for keys that must never be trusted.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if (reason := weak_point(self.raw)) is not None:
            raise BadKey(reason)

    @property
    def kid(self) -> str:
        """First 32 hex digits of SHA-256(0x01 ‖ raw key): how entries name the key."""
        return hashlib.sha256(ALGORITHM + self.raw).hexdigest()[:32]

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (64 bytes) is this key's over exactly `message`."""
        try:
            _loaded(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@lru_cache(maxsize=64)
def _loaded(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


@dataclass(frozen=True, slots=True)
class LogVerifier:
    """A log's identity to the outside: its origin and its log key, written as one C2SP verifier string."""

    origin: str
    key: VerifyKey

    def __str__(self) -> str:
        """Return `<origin>+<8 hex>+<base64(0x01 ‖ key)>` (C2SP signed-note, verifier keys)."""
        encoded = base64.b64encode(ALGORITHM + self.key.raw).decode("ascii")
        return f"{self.origin}+{note_key_id(self.origin, self.key.raw)}+{encoded}"


def note_key_id(name: str, raw: bytes) -> str:
    """Return C2SP's 32-bit key id as 8 hex digits: SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key)[:4]."""
    return hashlib.sha256(name.encode() + b"\n" + ALGORITHM + raw).hexdigest()[:8]


def parse_verifier(text: str) -> LogVerifier:
    """Read a log's verifier string. Raises `BadKey` naming the part that is wrong."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise BadKey("a verifier string has the form <origin>+<8 hex>+<base64>")
    origin, key_id, encoded = parts
    check_origin(origin)
    try:
        blob = base64.b64decode(encoded, validate=True)
    except ValueError as error:  # binascii.Error, or characters outside ASCII
        raise BadKey(f"the key of the verifier string is not base64: {error}") from error
    if base64.b64encode(blob).decode() != encoded:
        raise BadKey("the key of the verifier string is not canonical base64")
    if blob[:1] != ALGORITHM:
        raise BadKey("the verifier string is not for an Ed25519 log key (algorithm byte 0x01)")
    verifier = LogVerifier(origin, VerifyKey(blob[1:]))
    if note_key_id(origin, blob[1:]) != key_id:
        raise BadKey(f"the key id {key_id[:16]!r} does not belong to this origin and key")
    return verifier


def check_origin(origin: str) -> None:
    """Raise `BadKey` unless `origin` has the form `name/<32 hex>`."""
    if not _ORIGIN.fullmatch(origin):
        raise BadKey("a log's origin has the form name/<32 hex>, the name of a-z, 0-9, '.' and '-'")
