"""One entry of the log: its exact bytes, what they say, and the hash that names it.

`docs/format.md` defines every field. The body is hashed and signed as stored; it is never re-serialised to get a
hash. Source of the leaf hash: RFC 6962 section 2.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from keyturn import canon
from keyturn.canon import Json
from keyturn.log import kinds
from keyturn.log.envelope import ENTRY_TYPE, Envelope, pae
from keyturn.model.time import parse_timestamp

VERSION = 1
MAX_BODY = 65_535
MAX_FIELDS = 64
"""Payloads that one entry can commit to."""
ZERO_HASH = "0" * 64

_FRAME: Mapping[str, kinds.Check] = {
    "v": lambda value: None if value == VERSION and not isinstance(value, bool) else f"{VERSION}",
    "log": kinds.name,
    "seq": kinds.integer(),
    "prev": kinds.hexadecimal(64),
    "ts": kinds.timestamp,
    "boot": kinds.text(64),
    "up": kinds.integer(),
    "kid": kinds.hexadecimal(32),
    "kind": kinds.text(64),
}
_DATA = kinds.mapping(kinds.commitment, kinds.payload_field, low=1, limit=MAX_FIELDS)
_ACTION: Mapping[str, kinds.Check] = {"action": kinds.uuid}
_MEMBERS: Mapping[str, Mapping[str, kinds.Check]] = {
    kind: {**_FRAME, **(_ACTION if kind in kinds.OF_AN_ACTION else {}), **facts}
    for kind, facts in kinds.KINDS.items()
}


class EntryError(ValueError):
    """Bytes are not an entry; the message names the field and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One parsed entry.

    body, signature  exact stored bytes; the signature is Ed25519 over DSSE PAE of the body
    log, seq, prev   the log's origin, the index from 0, the leaf hash (hex) of the entry before
    at, boot, up     UTC time, boot id, microseconds since that boot
    kid, kind        id of the signing key; what happened
    action           UUIDv7 of the action it belongs to, or None
    facts            the fields of that kind
    data             payload field → salted commitment
    """

    body: bytes
    signature: bytes
    log: str
    seq: int
    prev: str
    at: datetime
    boot: str
    up: int
    kid: str
    kind: str
    action: str | None
    facts: Mapping[str, Json]
    data: Mapping[str, str]
    leaf: str

    @property
    def digest(self) -> str:
        """The leaf hash as `sha256:<hex>`; of an entry that requests an action it is the action's digest."""
        return f"sha256:{self.leaf}"

    @property
    def signed_bytes(self) -> bytes:
        """The bytes the signature covers."""
        return pae(ENTRY_TYPE, self.body)

    @property
    def envelope(self) -> Envelope:
        """The entry as a DSSE envelope: the receipt that a client keeps."""
        return Envelope(self.body, self.kid, self.signature)

    def text(self, fact: str) -> str:
        """Return a fact that the kind defines as text."""
        value = self.facts[fact]
        if not isinstance(value, str):
            raise EntryError(f"entry {self.seq} ({self.kind}): {fact} is not a text")
        return value

    def optional_text(self, fact: str) -> str | None:
        """Return a fact that the kind defines as text or null."""
        return None if self.facts[fact] is None else self.text(fact)

    def number(self, fact: str) -> int:
        """Return a fact that the kind defines as an integer."""
        value = self.facts[fact]
        if not isinstance(value, int):
            raise EntryError(f"entry {self.seq} ({self.kind}): {fact} is not an integer")
        return value


def leaf_hash(body: bytes) -> str:
    """Return SHA-256(0x00 ‖ body) in hex (RFC 6962 section 2.1): chain link and tree leaf in one."""
    return hashlib.sha256(b"\x00" + body).hexdigest()


def write_body(
    frame: Mapping[str, Json], facts: Mapping[str, Json], data: Mapping[str, str], action: str | None
) -> bytes:
    """Return the canonical body of an entry. Raises `EntryError` when a field is not as its kind defines."""
    return _compose(frame, facts, data, action)[0]


def write_entry(
    frame: Mapping[str, Json],
    facts: Mapping[str, Json],
    data: Mapping[str, str],
    action: str | None,
    sign: Callable[[bytes], bytes],
) -> Entry:
    """Return a new entry signed by `sign`, which is asked only for what is an entry. Raises as `write_body`.

    The entry is parsed from the bytes that are signed and stored, as any reader will.
    """
    body, fields = _compose(frame, facts, data, action)
    return _build(body, sign(pae(ENTRY_TYPE, body)), fields)


def read_entry(body: bytes, signature: bytes) -> Entry:
    """Parse the bytes of an entry strictly (canonical, known kind, every field as defined).

    The signature is carried along, not checked: that is the chain's work. Raises `EntryError`.
    """
    _check_size(body)
    try:
        fields = canon.decode_object(body)
    except canon.CanonError as error:
        raise EntryError(str(error)) from error
    _check_fields(fields)
    return _build(body, signature, fields)


def _compose(
    frame: Mapping[str, Json], facts: Mapping[str, Json], data: Mapping[str, str], action: str | None
) -> tuple[bytes, dict[str, Any]]:
    """Return the body of an entry and what is read back from it."""
    fields: dict[str, Json] = {**facts, **frame}
    if action is not None:
        fields["action"] = action
    if data:
        fields["data"] = dict(data)
    try:
        body = canon.encode(fields)
        _check_size(body)
        read: Any = canon.parse(body)
    except canon.CanonError as error:
        raise EntryError(str(error)) from error
    _check_fields(read)
    return body, read


def _check_size(body: bytes) -> None:
    if len(body) > MAX_BODY:
        raise EntryError(f"body of {len(body)} bytes; at most {MAX_BODY} are allowed")


def _check_fields(fields: Mapping[str, Json]) -> None:
    kind = fields.get("kind")
    if not isinstance(kind, str):
        raise EntryError("kind is missing or no text")
    if kind not in _MEMBERS:
        raise EntryError(f"{kind}: this version of the format does not know the kind")
    expected = {**_MEMBERS[kind], "data": _DATA} if "data" in fields else _MEMBERS[kind]
    if wrong := kinds.wrong_fields(fields, expected):
        raise EntryError(f"{kind}: {wrong}")


def _build(body: bytes, signature: bytes, fields: Mapping[str, Json]) -> Entry:
    frame = cast(dict[str, Any], fields)  # every member has been held against its definition
    kind: str = frame["kind"]
    return Entry(
        body=body,
        signature=signature,
        log=frame["log"],
        seq=frame["seq"],
        prev=frame["prev"],
        at=parse_timestamp(frame["ts"]),
        boot=frame["boot"],
        up=frame["up"],
        kid=frame["kid"],
        kind=kind,
        action=frame.get("action"),
        facts={name: frame[name] for name in kinds.KINDS[kind]},
        data=frame.get("data", {}),
        leaf=leaf_hash(body),
    )
