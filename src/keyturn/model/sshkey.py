"""An OpenSSH public key as a value: parsed strictly, compared by its bytes, named by its fingerprint.

Only structure is judged here, so that every pure room may hold keys; the mathematics belongs to `sshsig`.
What is refused is refused while reading, so a `PublicKey` that exists is one of the accepted kinds:

1. the line is one line of printable text: type, base64, comment; no options, no private key, no certificate;
2. the type outside the blob is the type inside it, and nothing follows the last field;
3. Ed25519 points are 32 bytes, canonical and not of small order; ECDSA points are uncompressed, on the named
   curve's length; RSA moduli have 2048 to 16384 bits and a sane exponent.

Sources: RFC 4251 section 5 (fields), RFC 4253 section 6.6 (RSA), RFC 5656 section 3.1 (ECDSA), RFC 8709
section 4 (Ed25519), OpenSSH PROTOCOL.u2f (hardware keys).
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Final, Literal

from keyturn.curve import weak_point

Curve = Literal["nistp256", "nistp384", "nistp521"]

ED25519: Final = "ssh-ed25519"
SK_ED25519: Final = "sk-ssh-ed25519@openssh.com"
SK_ECDSA: Final = "sk-ecdsa-sha2-nistp256@openssh.com"
RSA: Final = "ssh-rsa"

_CURVES: Final[dict[str, Curve]] = {
    "ecdsa-sha2-nistp256": "nistp256",
    "ecdsa-sha2-nistp384": "nistp384",
    "ecdsa-sha2-nistp521": "nistp521",
    SK_ECDSA: "nistp256",
}
_COORDINATE_BYTES: Final[dict[Curve, int]] = {"nistp256": 32, "nistp384": 48, "nistp521": 66}

ALGORITHMS: Final = (ED25519, SK_ED25519, *_CURVES, RSA)
"""Every accepted key type, as OpenSSH writes it."""

MAX_LINE: Final = 8192  # characters; a 16384-bit RSA key takes under 2,800
MAX_BLOB: Final = 4096  # bytes
MAX_APPLICATION: Final = 255  # bytes; OpenSSH writes `ssh:` and perhaps a short name


class WireReader:
    """A cursor over SSH wire fields (RFC 4251 section 5) that refuses what is short, long or not canonical.

    Every method raises `ValueError` naming `what` is being read.
    """

    __slots__ = ("_data", "_offset", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._offset = 0
        self._what = what

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        end = self._offset + count
        if end > len(self._data):
            raise ValueError(f"the {self._what} ends too early")
        taken = self._data[self._offset : end]
        self._offset = end
        return taken

    def byte(self) -> int:
        """Return the next byte as a number."""
        return self.take(1)[0]

    def uint32(self) -> int:
        """Return the next four bytes as a big-endian number."""
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """Return the next length-prefixed string."""
        return self.take(self.uint32())

    def mpint(self) -> int:
        """Return the next multiple-precision integer: positive, in its only shortest form."""
        encoded = self.string()
        if not encoded or encoded[0] >= 0x80:
            raise ValueError(f"the {self._what} holds a number that is not positive")
        # A leading zero byte is there only to keep a high first bit from meaning "negative".
        padded = encoded[0] == 0
        if padded and (len(encoded) == 1 or encoded[1] < 0x80):
            raise ValueError(f"the {self._what} holds a number that is zero or padded")
        return int.from_bytes(encoded, "big")

    def end(self) -> None:
        """Refuse anything that is left."""
        left = len(self._data) - self._offset
        if left:
            raise ValueError(f"the {self._what} has {left} bytes too many")


@dataclass(frozen=True, slots=True)
class Ed25519Point:
    """An Ed25519 public key: 32 bytes, as RFC 8032 encodes the point."""

    point: bytes


@dataclass(frozen=True, slots=True)
class EcdsaPoint:
    """An ECDSA public key: the curve and the uncompressed point (0x04, x, y), perhaps off the curve."""

    curve: Curve
    point: bytes


@dataclass(frozen=True, slots=True)
class RsaModulus:
    """An RSA public key: exponent and modulus."""

    exponent: int
    modulus: int


KeyMaterial = Ed25519Point | EcdsaPoint | RsaModulus
"""What a public key consists of, by kind."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One OpenSSH public key; two keys are equal when type and blob are, whatever their comments say.

    `algorithm` is one of `ALGORITHMS`, `blob` the SSH wire encoding, `comment` the words after it. Building
    one from anything else raises `ValueError` with the reason.
    """

    algorithm: str
    blob: bytes
    comment: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.comment.isprintable():
            raise ValueError("the comment of the key holds control or invisible characters: remove them")
        _read_blob(self.algorithm, self.blob)

    @classmethod
    def parse(cls, line: str) -> "PublicKey":
        """Read the line of a `.pub` file: "type base64 comment", with at most one line end.

        Raises `ValueError` with the reason and, where there is one, the way to mend it.
        """
        algorithm, encoded, comment = _split(line)
        return cls(algorithm, _decode(encoded), comment)

    @classmethod
    def from_blob(cls, blob: bytes) -> "PublicKey":
        """Read the wire encoding alone, as a signature carries it; raises `ValueError` with the reason."""
        named = WireReader(blob, "public key").string()
        return cls(named.decode("ascii", errors="replace"), blob)

    @property
    def line(self) -> str:
        """The key as "type base64", without comment: the one spelling to store and compare."""
        return f"{self.algorithm} {base64.b64encode(self.blob).decode('ascii')}"

    @property
    def fingerprint(self) -> str:
        """The name `ssh-keygen -l` prints: "SHA256:" and the unpadded base64 of the blob's SHA-256."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode("ascii")
        return "SHA256:" + digest.rstrip("=")

    @property
    def hardware(self) -> bool:
        """Whether the private half lives on a FIDO token (an `sk-` type)."""
        return self.algorithm in {SK_ED25519, SK_ECDSA}

    @property
    def material(self) -> KeyMaterial:
        """The numbers of the key."""
        return _read_blob(self.algorithm, self.blob)[0]

    @property
    def application(self) -> str | None:
        """The FIDO application a hardware key is bound to (`ssh:` normally); None for other keys."""
        return _read_blob(self.algorithm, self.blob)[1]


def _split(line: str) -> tuple[str, str, str]:
    text = line.removesuffix("\n").removesuffix("\r")
    if text.startswith("-----BEGIN") and "PRIVATE KEY" in text:
        raise ValueError("this is a private key: keep it to yourself and give the line of the .pub file")
    if len(text) > MAX_LINE:
        raise ValueError(f"the public key line is longer than {MAX_LINE} characters")
    if "\n" in text or "\r" in text:
        raise ValueError("a public key is one line: give each key on its own")
    if not text.isprintable():
        raise ValueError("the public key line holds control or invisible characters: remove them")
    words = text.split(maxsplit=2)
    if not words:
        raise ValueError("the public key line is empty")
    if words[0] not in ALGORITHMS:
        raise ValueError(_why_not(words[0], text))
    if len(words) == 1:
        raise ValueError(f"nothing follows the key type {words[0]}: give the whole line of the .pub file")
    return words[0], words[1], words[2].rstrip() if len(words) == 3 else ""


def _why_not(algorithm: str, line: str = "") -> str:
    if algorithm.endswith("-cert-v01@openssh.com"):
        return "certificates are not accepted: give the plain public key they were made from"
    if algorithm == "ssh-dss":
        return "DSA keys are too weak: make another with `ssh-keygen -t ed25519`"
    if any(word in ALGORITHMS for word in line.split()):
        return "options before the key type are not accepted: begin the line with the type"
    return f"{algorithm[:64]!a} is not an accepted key type; accepted are: {', '.join(ALGORITHMS)}"


def _decode(encoded: str) -> bytes:
    try:
        blob = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        blob = b""
    # One spelling per key: decoding ignores the spare bits of the last character, the comparison does not.
    if not blob or base64.b64encode(blob).decode("ascii") != encoded:
        raise ValueError("the key data is not valid base64: copy the whole line of the .pub file")
    return blob


def _read_blob(algorithm: str, blob: bytes) -> tuple[KeyMaterial, str | None]:
    if algorithm not in ALGORITHMS:
        raise ValueError(_why_not(algorithm))
    if len(blob) > MAX_BLOB:
        raise ValueError(f"the public key is larger than {MAX_BLOB} bytes")
    reader = WireReader(blob, "public key")
    inner = reader.string()
    if inner != algorithm.encode("ascii"):
        raise ValueError(f"the key says {algorithm} outside and {inner[:64].decode('latin-1')!a} inside")
    material = _read_material(algorithm, reader)
    application = _read_application(reader) if algorithm in {SK_ED25519, SK_ECDSA} else None
    reader.end()
    return material, application


def _read_material(algorithm: str, reader: WireReader) -> KeyMaterial:
    if algorithm in {ED25519, SK_ED25519}:
        return _ed25519(reader.string())
    if algorithm == RSA:
        exponent = reader.mpint()
        return _rsa(exponent, reader.mpint())
    return _ecdsa(_CURVES[algorithm], reader.string(), reader.string())


def _ed25519(point: bytes) -> Ed25519Point:
    if (reason := weak_point(point)) is not None:
        raise ValueError(reason)
    return Ed25519Point(point)


def _ecdsa(curve: Curve, named: bytes, point: bytes) -> EcdsaPoint:
    if named != curve.encode("ascii"):
        raise ValueError(f"an ECDSA key for {curve} names another curve inside")
    expected = 1 + 2 * _COORDINATE_BYTES[curve]
    if len(point) != expected or point[0] != 0x04:
        raise ValueError(f"a {curve} key holds an uncompressed point of {expected} bytes")
    return EcdsaPoint(curve, point)


def _rsa(exponent: int, modulus: int) -> RsaModulus:
    bits = modulus.bit_length()
    if bits < 2048:
        raise ValueError(f"RSA keys need at least 2048 bits, this one has {bits}: try `ssh-keygen -t ed25519`")
    if bits > 16384:
        raise ValueError(f"RSA keys may have at most 16384 bits, this one has {bits}")
    if modulus % 2 == 0:
        raise ValueError("an even number is not an RSA modulus")
    if exponent % 2 == 0 or not 3 <= exponent < 2**32:
        raise ValueError("the RSA exponent must be an odd number from 3 to 2^32 - 1 (normally 65537)")
    return RsaModulus(exponent, modulus)


def _read_application(reader: WireReader) -> str:
    application = reader.string()
    printable = bool(application) and all(0x20 < byte < 0x7F for byte in application)
    if not printable or len(application) > MAX_APPLICATION:
        raise ValueError(f"a hardware key names an application of 1 to {MAX_APPLICATION} ASCII characters")
    return application.decode("ascii")
