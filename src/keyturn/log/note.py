"""Signed notes: a text with the signatures of keys that have names, and what each of them proves.

Sources: C2SP signed-note (the format, verifier keys, Ed25519 signatures) and C2SP tlog-cosignature (timestamped
signatures of witnesses, `cosignature/v1`). Parsing is strict: one note has one way to be written.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.log.keys import BadKey, VerifyKey
from keyturn.log.lines import read_base64

ED25519 = 0x01
"""Algorithm of a signature over the text itself (C2SP signed-note)."""
COSIGNATURE = 0x04
"""Algorithm of a witness's signature, which carries a time (C2SP tlog-cosignature)."""
MAX_NOTE = 64 * 1024
"""Bytes of a note that are read."""
MAX_SIGNATURES = 100
MAX_TIME = 2**63 - 1
"""Seconds since 1970 that a cosignature may name."""

_DASH = "\N{EM DASH} "
_NAME = re.compile(r"[^\s+]+")
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_ID_BYTES, _TIME_BYTES, _SIGNATURE_BYTES = 4, 8, 64


class NoteError(ValueError):
    """A note is not written as it must be, or does not carry the signatures it must; the message says why."""


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key under the name it signs notes with; `algorithm` is `ED25519` or `COSIGNATURE`."""

    name: str
    key: VerifyKey
    algorithm: int = ED25519

    @property
    def id(self) -> bytes:
        """The four bytes that lead its signatures: SHA-256(name ‖ 0x0A ‖ algorithm ‖ key)[:4]."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._blob).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        """Return the verifier key: `<name>+<8 hex>+<base64(algorithm ‖ key)>`."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(self._blob).decode('ascii')}"

    @property
    def _blob(self) -> bytes:
        return bytes([self.algorithm]) + self.key.raw


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: the name and key id it claims, and the bytes after the key id."""

    name: str
    key_id: bytes
    blob: bytes

    def __str__(self) -> str:
        """Return the line, without its newline."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.blob).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class Note:
    """A note as read: its text, newline at the end, and its signatures in order, none of them believed yet."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __bytes__(self) -> bytes:
        """Return the note as it is stored and sent."""
        return (self.text + "\n" + "".join(f"{signature}\n" for signature in self.signatures)).encode("utf-8")


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that verifies: whose it is, and the time it names in seconds since 1970 (cosignatures only)."""

    key: NoteKey
    time: int | None


def parse_note_key(text: str) -> NoteKey:
    """Read a verifier key. Raises `BadKey` naming the part that is wrong."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise BadKey("a verifier key has the form <name>+<8 hex>+<base64>")
    name, key_id, encoded = parts
    if not _NAME.fullmatch(name) or not _KEY_ID.fullmatch(key_id):
        raise BadKey("a verifier key begins with a name without spaces or +, and 8 hex digits")
    try:
        blob = read_base64(encoded)
    except ValueError as error:
        raise BadKey(f"the key of the verifier key: {error}") from error
    if not blob or blob[0] not in (ED25519, COSIGNATURE):
        raise BadKey("the verifier key is neither for Ed25519 (0x01) nor for cosignatures (0x04)")
    key = NoteKey(name, VerifyKey(blob[1:]), blob[0])
    if key.id.hex() != key_id:
        raise BadKey(f"the key id {key_id} does not belong to this name and key")
    return key


def parse_note(data: bytes) -> Note:
    """Read a note. Raises `NoteError` unless it is written in the one way there is."""
    text, lines = _parts(data)
    signatures = tuple(_signature(number, line) for number, line in enumerate(lines, 1))
    if not signatures:
        raise NoteError("the note carries no signature")
    if len(signatures) > MAX_SIGNATURES:
        raise NoteError(f"the note carries {len(signatures)} signatures; at most {MAX_SIGNATURES} are read")
    return Note(text, signatures)


def verify_note(note: Note, keys: Sequence[NoteKey]) -> tuple[Signed, ...]:
    """Return what the known keys have signed, each key once, in the note's order.

    Signatures of unknown keys are passed over. Raises `NoteError` when a known key's signature does not verify, when
    two of `keys` answer to one name and key id, or when none of `keys` has signed.
    """
    known = _by_claim(keys)
    signed: dict[NoteKey, Signed] = {}
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is not None:
            found = _verified(note.text, signature, key)
            signed.setdefault(key, found)
    if not signed:
        raise NoteError("none of the known keys has signed the note")
    return tuple(signed.values())


def to_sign(text: str, time: int | None = None) -> bytes:
    """Return the bytes that an Ed25519 signature of a note covers; with `time`, those of a cosignature."""
    _check_text(text)
    if time is None:
        return text.encode("utf-8")
    if not 0 <= time <= MAX_TIME:
        raise NoteError(f"a cosignature cannot name the time {time}")
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def signature_of(key: NoteKey, signature: bytes, time: int | None = None) -> NoteSignature:
    """Return the signature line of what `key` made over `to_sign(text, time)`."""
    if len(signature) != _SIGNATURE_BYTES or (time is None) == (key.algorithm == COSIGNATURE):
        raise NoteError(f"{key.name}: not a signature of this kind of key")
    stamp = b"" if time is None else time.to_bytes(_TIME_BYTES, "big")
    return NoteSignature(key.name, key.id, stamp + signature)


def _by_claim(keys: Sequence[NoteKey]) -> dict[tuple[str, bytes], NoteKey]:
    known: dict[tuple[str, bytes], NoteKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.id), key) != key:
            raise NoteError(
                f"two known keys answer to {key.name}+{key.id.hex()}: nobody can tell whose a signature is"
            )
    return known


def _verified(text: str, signature: NoteSignature, key: NoteKey) -> Signed:
    time, blob = None, signature.blob
    if key.algorithm == COSIGNATURE:
        time, blob = int.from_bytes(blob[:_TIME_BYTES], "big"), blob[_TIME_BYTES:]
        if time > MAX_TIME:
            raise NoteError(f"the cosignature of {key.name} names a time beyond 2**63 seconds")
    if len(blob) != _SIGNATURE_BYTES or not key.key.verifies(to_sign(text, time), blob):
        raise NoteError(f"the signature of {key.name} does not verify")
    return Signed(key, time)


def _parts(data: bytes) -> tuple[str, list[str]]:
    if len(data) > MAX_NOTE:
        raise NoteError(f"the note has {len(data)} bytes; at most {MAX_NOTE} are read")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteError(f"the note is not UTF-8 at byte {error.start}") from error
    head, gap, tail = whole.rpartition("\n\n")
    if not gap:
        raise NoteError("the note has no empty line between its text and its signatures")
    text = head + "\n"
    _check_text(text)
    if tail and not tail.endswith("\n"):
        raise NoteError("the note does not end in a newline")
    return text, tail.split("\n")[:-1]


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise NoteError("the text of a note ends in a newline")
    if _CONTROL.search(text):
        raise NoteError("the text of a note holds a control character")


def _signature(number: int, line: str) -> NoteSignature:
    place = f"signature {number}"
    if not line.startswith(_DASH):
        raise NoteError(f"{place}: the line does not begin with an em dash and a space")
    name, gap, encoded = line.removeprefix(_DASH).partition(" ")
    if not gap or not _NAME.fullmatch(name):
        raise NoteError(f"{place}: not a name without spaces or +, a space, and base64")
    try:
        blob = read_base64(encoded)
    except ValueError as error:
        raise NoteError(f"{place}: {error}") from error
    if len(blob) <= _ID_BYTES:
        raise NoteError(f"{place}: too short to hold a key id and a signature")
    return NoteSignature(name, blob[:_ID_BYTES], blob[_ID_BYTES:])
