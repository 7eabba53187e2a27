"""The chain: takes entries one by one and proves that each may follow the one before.

What is proved of every entry, by number (the verifier's report uses the same numbers):
 1. its bytes are canonical and its kind is known, with every field as `docs/format.md` defines it;
 2. it belongs to this log, its `seq` follows, its `prev` is the leaf hash of the entry before, and that one is no
    `log.closed`;
 3. its time does not go back;
 4. its key is the log key (for `log.opened`, `key.added`, `key.revoked`, `log.closed`, `log.succeeds`) or an entry
    key that the log key added before it and has not revoked before it; a key is added once, and one that was revoked
    never again;
 5. its Ed25519 signature over DSSE PAE of the exact bytes is that key's.
No IO: bytes in, verdict out.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from keyturn import canon
from keyturn.log.entry import ZERO_HASH, Entry, EntryError, read_entry
from keyturn.log.envelope import KEY_PROOF_TYPE, pae
from keyturn.log.keys import BadKey, LogVerifier, VerifyKey, parse_verifier
from keyturn.log.kinds import BY_THE_LOG_KEY
from keyturn.model.time import parse_timestamp

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


class ChainError(Exception):
    """An entry may not stand where it stands; `seq` is its place, `proof` the number of what failed."""

    def __init__(self, seq: int, proof: int, reason: str) -> None:
        super().__init__(f"entry {seq}: {reason}")
        self.seq = seq
        self.proof = proof
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Basis:
    """What clocks are held against: the first entry of this boot, or the last one in it that a person signed for it.

    `at` and `up` are those of entry `seq`. `ahead` is by how much the log's time runs ahead of a wall clock that was
    set back: time in a log does not go back, so it goes on from where it was.
    """

    seq: int
    at: datetime
    up: int
    ahead: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a chain stands: its log, its keys, and what the next entry must link to.

    `keys` are the entry keys that were ever added, by kid; `revoked` says which of them sign nothing any more, since
    which entry. `size` is the number of entries; `leaf` the last one's leaf hash in hex; `at` the last one's time and
    `basis` what clocks are held against, beside it. `closed` is the entry that ended the log: none may follow.
    """

    verifier: LogVerifier | None = None
    keys: Mapping[str, VerifyKey] = field(default_factory=dict)
    revoked: Mapping[str, int] = field(default_factory=dict)
    size: int = 0
    leaf: str = ZERO_HASH
    at: datetime = _BEGINNING
    boot: str = ""
    up: int = 0
    basis: Basis | None = None
    closed: int | None = None

    def signs(self, kid: str) -> bool:
        """Tell whether the next entry may be signed by this entry key."""
        return kid in self.keys and kid not in self.revoked


def key_proof(origin: str, seq: int, prev: str, raw: bytes) -> bytes:
    """Return what a new entry key signs to prove possession, bound to the place where it is added."""
    key = base64.b64encode(raw).decode("ascii")
    return pae(KEY_PROOF_TYPE, canon.encode({"key": key, "log": origin, "prev": prev, "seq": seq}))


def follow(head: Head, entry: Entry, *, signed: bool = True) -> Head:
    """Return the head after `entry`, or raise `ChainError`.

    `signed=False` leaves out proof 5, for readers that let the last signature vouch for all before it; key changes
    are always verified.
    """
    if entry.seq != head.size:
        raise ChainError(head.size, 2, f"seq {entry.seq} stands where {head.size} must")
    if entry.prev != head.leaf:
        raise ChainError(entry.seq, 2, "prev is not the leaf hash of the entry before")
    if head.closed is not None:
        raise ChainError(entry.seq, 2, f"the log was closed at entry {head.closed}: nothing follows")
    if entry.at < head.at:
        raise ChainError(entry.seq, 3, "its time is before the entry before it")
    head = _open(entry) if entry.seq == 0 else head
    key = _signer(head, entry)
    authority = entry.kind in BY_THE_LOG_KEY
    if (signed or authority) and not key.verifies(entry.signed_bytes, entry.signature):
        raise ChainError(entry.seq, 5, f"the signature is not key {entry.kid}'s over these bytes")
    keys = _add_key(head, entry) if entry.kind == "key.added" else head.keys
    revoked = _revoke_key(head, entry) if entry.kind == "key.revoked" else head.revoked
    # Not `replace`, which takes three times as long: this runs for every entry.
    return Head(
        verifier=head.verifier,
        keys=keys,
        revoked=revoked,
        size=head.size + 1,
        leaf=entry.leaf,
        at=entry.at,
        boot=entry.boot,
        up=entry.up,
        basis=_basis(head, entry),
        closed=entry.seq if entry.kind == "log.closed" else None,
    )


def parse(seq: int, body: bytes, signature: bytes) -> Entry:
    """Parse the entry stored at `seq`. Raises `ChainError` (proof 1) naming that place."""
    try:
        return read_entry(body, signature)
    except EntryError as error:
        raise ChainError(seq, 1, str(error)) from error


def verify_signature(head: Head, entry: Entry) -> None:
    """Prove 4 and 5 of an entry already followed without them. Raises `ChainError`."""
    if not _signer(head, entry).verifies(entry.signed_bytes, entry.signature):
        raise ChainError(entry.seq, 5, f"the signature is not key {entry.kid}'s over these bytes")


def ahead_of(entry: Entry) -> timedelta:
    """Return how far a `recovery` entry of the clock stands ahead of the wall clock that was signed for."""
    clock: Any = entry.facts["clock"]
    # The clock was read before the signature: what the machine ran since then has passed on it too.
    return entry.at - parse_timestamp(clock["wall"]) - timedelta(microseconds=entry.up - clock["up"])


def _basis(head: Head, entry: Entry) -> Basis | None:
    if entry.kind == "recovery" and entry.facts["clock"] is not None:
        return Basis(entry.seq, entry.at, entry.up, max(ahead_of(entry), timedelta()))
    if entry.boot != head.boot:
        return Basis(entry.seq, entry.at, entry.up, head.basis.ahead if head.basis else timedelta())
    return head.basis


def _open(entry: Entry) -> Head:
    if entry.kind != "log.opened":
        raise ChainError(0, 1, f"the first entry is {entry.kind}, not log.opened")
    try:
        verifier = parse_verifier(entry.text("verifier"))
    except BadKey as error:
        raise ChainError(0, 1, f"verifier: {error}") from error
    return Head(verifier=verifier)


def _signer(head: Head, entry: Entry) -> VerifyKey:
    if head.verifier is None:
        raise ChainError(entry.seq, 2, "the log has not been opened")
    if entry.log != head.verifier.origin:
        raise ChainError(entry.seq, 2, f"it belongs to another log, {entry.log}")
    if entry.kind == "log.opened" and entry.seq != 0:
        raise ChainError(entry.seq, 2, "a log is opened once, at seq 0")
    if entry.kind in BY_THE_LOG_KEY:
        if entry.kid != head.verifier.key.kid:
            raise ChainError(entry.seq, 4, f"{entry.kind} must be signed by the log key")
        return head.verifier.key
    key = head.keys.get(entry.kid)
    if key is None:
        raise ChainError(entry.seq, 4, f"key {entry.kid} was not added to this log before it signed")
    # By the entry's place, not the head's: a receipt from before the revocation stays one.
    if (since := head.revoked.get(entry.kid)) is not None and entry.seq > since:
        raise ChainError(entry.seq, 4, f"key {entry.kid} was revoked at entry {since}")
    return key


def _add_key(head: Head, entry: Entry) -> Mapping[str, VerifyKey]:
    try:
        key = VerifyKey(base64.b64decode(entry.text("key"), validate=True))
    except BadKey as error:
        raise ChainError(entry.seq, 4, str(error)) from error
    if head.verifier is None or key.kid in head.keys or key == head.verifier.key:
        raise ChainError(entry.seq, 4, "the key was added before; a key is added once and has one duty")
    proof = base64.b64decode(entry.text("proof"), validate=True)
    if not key.verifies(key_proof(entry.log, entry.seq, entry.prev, key.raw), proof):
        raise ChainError(entry.seq, 4, "the new key does not prove possession")
    return MappingProxyType({**head.keys, key.kid: key})


def _revoke_key(head: Head, entry: Entry) -> Mapping[str, int]:
    kid = entry.text("revoked")
    if not head.signs(kid):
        raise ChainError(entry.seq, 4, f"it revokes {kid}, which is no entry key of this log, or none any more")
    return MappingProxyType({**head.revoked, kid: entry.seq})
