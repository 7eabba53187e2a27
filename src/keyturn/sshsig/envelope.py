"""The SSHSIG envelope: its armour, its fields, and the bytes a signature in it covers.

Follows OpenSSH's PROTOCOL.sshsig, version 1, and reads it strictly: one spelling per field, nothing left
over. A hardware signature carries two more fields, flags and counter (OpenSSH PROTOCOL.u2f).
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from keyturn.model.sshkey import RSA, PublicKey, WireReader

MAGIC: Final = b"SSHSIG"
VERSION: Final = 1
MAX_BLOB: Final = 8192  # bytes; key and signature of a 16384-bit RSA key take under 4,200

_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"
_WIDTH: Final = 70  # characters per line, as ssh-keygen writes them
_HASHES: Final = (b"sha512", b"sha256")


class SignatureError(Exception):
    """This signature proves nothing; `reason` says why, in words for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One SSHSIG blob, taken apart and not yet verified.

    `signature` is the innermost signature, its shape depending on the key; `flags` (one byte) and `counter`
    (32 bits) are there for hardware keys only.
    """

    key: PublicKey
    namespace: bytes
    hash_name: bytes
    signature: bytes
    flags: int | None
    counter: int | None

    def covered(self, message: bytes) -> bytes:
        """Return the bytes that the key signs for `message`: its digest under namespace and hash name."""
        digest = hashlib.new(self.hash_name.decode("ascii"), message).digest()
        return MAGIC + b"".join(_string(part) for part in (self.namespace, b"", self.hash_name, digest))


def read_envelope(blob: bytes) -> Envelope:
    """Take an SSHSIG blob apart; raises `SignatureError` unless it is exactly one well-formed blob."""
    if len(blob) > MAX_BLOB:
        raise SignatureError(f"the signature is larger than {MAX_BLOB} bytes")
    try:
        return _read_envelope(WireReader(blob, "signature"))
    except ValueError as error:
        raise SignatureError(str(error)) from error


def armor(blob: bytes) -> str:
    """Write a blob as the text `ssh-keygen` writes and reads, with a final line end."""
    encoded = base64.b64encode(blob).decode("ascii")
    lines = [encoded[start : start + _WIDTH] for start in range(0, len(encoded), _WIDTH)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def unarmor(text: str) -> bytes:
    """Return the blob inside an armoured signature; raises `SignatureError` if the text is anything else.

    Line length is free and lines may end in CR LF; spaces, words around the armour and other base64 spellings
    are refused.
    """
    if len(text) > 2 * MAX_BLOB:
        raise SignatureError(f"the armoured signature is longer than {2 * MAX_BLOB} characters")
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise SignatureError(f"an armoured signature begins with {_BEGIN} and ends with {_END}")
    encoded = "".join(lines[1:-1])
    try:
        blob = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        blob = b""
    if not blob or base64.b64encode(blob).decode("ascii") != encoded:
        raise SignatureError("the armoured signature is not valid base64")
    return blob


def _read_envelope(reader: WireReader) -> Envelope:
    if reader.take(len(MAGIC)) != MAGIC:
        raise ValueError("this is not an SSH signature: it does not begin with SSHSIG")
    version = reader.uint32()
    if version != VERSION:
        raise ValueError(f"SSH signatures have version {VERSION}, this one says {version}")
    key = PublicKey.from_blob(reader.string())
    namespace = reader.string()
    if reader.string():
        raise ValueError("the reserved field of the signature is not empty")
    hash_name = reader.string()
    if hash_name not in _HASHES:
        raise ValueError("the message must be hashed with sha512 or sha256")
    inner = reader.string()
    reader.end()
    signature, flags, counter = _read_signature(key, WireReader(inner, "signature's inner field"))
    return Envelope(
        key=key, namespace=namespace, hash_name=hash_name, signature=signature, flags=flags, counter=counter
    )


def _read_signature(key: PublicKey, reader: WireReader) -> tuple[bytes, int | None, int | None]:
    # An RSA key names the hash in the signature's algorithm; the SHA-1 and SHA-256 variants are not accepted.
    expected = "rsa-sha2-512" if key.algorithm == RSA else key.algorithm
    if reader.string() != expected.encode("ascii"):
        raise ValueError(f"a signature by a key of type {key.algorithm} must be of type {expected}")
    signature = reader.string()
    flags, counter = (reader.byte(), reader.uint32()) if key.hardware else (None, None)
    reader.end()
    return signature, flags, counter


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
