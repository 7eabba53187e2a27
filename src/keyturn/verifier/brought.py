"""What auditors kept outside and bring along: checkpoint notes, receipts and proofs of entries, read strictly.

A note is a checkpoint as an anchor keeps it (C2SP tlog-checkpoint), a receipt the DSSE envelope that results carry
under `_meta`, a proof a `.tlog-proof` (C2SP tlog-proof). What was brought is told apart by how it begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from keyturn.log.checkpoint import parse_checkpoint
from keyturn.log.entry import Entry, EntryError, read_entry
from keyturn.log.envelope import EnvelopeError, read_envelope
from keyturn.log.note import Note, NoteError, parse_note
from keyturn.log.proof import EntryProof, parse_entry_proof
from keyturn.log.tree import ProofError
from keyturn.model.errors import ConfigurationError

RECEIPT = "io.keyturn/receipt"
MAX_BROUGHT = 1 << 20
"""Bytes of one such file that are read: a whole tool result may stand around a receipt."""
_PROOF = b"c2sp.org/tlog-proof@"


@dataclass(frozen=True, slots=True)
class BroughtNote:
    """A checkpoint note, called `name` in messages; `size` is that of its checkpoint."""

    name: str
    note: Note
    size: int


@dataclass(frozen=True, slots=True)
class BroughtReceipt:
    """A receipt: the entry, and the key id outside it, that its signature is said to be of."""

    name: str
    entry: Entry
    kid: str

    @property
    def size(self) -> int:
        """Entries of a ledger that ends with this one."""
        return self.entry.seq + 1


@dataclass(frozen=True, slots=True)
class BroughtProof:
    """A proof that an entry is in the tree of a checkpoint; `size` is that of the checkpoint."""

    name: str
    proof: EntryProof
    size: int


Brought: TypeAlias = BroughtNote | BroughtReceipt | BroughtProof


def read_brought(name: str, data: bytes) -> Brought:
    """Read what was kept, whatever of the three it is. Raises `ConfigurationError` naming `name`.

    Whether it is of this ledger, and true, is for the verification to say.
    """
    if len(data) > MAX_BROUGHT:
        raise ConfigurationError(f"{name}: it is too long; at most {MAX_BROUGHT} bytes are read")
    try:
        if data.startswith(_PROOF):
            return _proof(name, data)
        if data.lstrip().startswith(b"{"):
            return _receipt(name, data)
        return _note(name, data)
    except (NoteError, ProofError, EnvelopeError, EntryError, UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(
            f"{name}: neither a checkpoint note, nor a receipt, nor a proof of an entry: {error}"
        ) from error


def _note(name: str, data: bytes) -> BroughtNote:
    note = parse_note(data)
    size = parse_checkpoint(note.text).size
    if size == 0:
        raise ConfigurationError(f"{name}: a checkpoint of no entries; it vouches for none")
    return BroughtNote(name, note, size)


def _proof(name: str, data: bytes) -> BroughtProof:
    proof = parse_entry_proof(data)
    size = parse_checkpoint(proof.note.text).size
    if proof.index >= size:
        raise ProofError(f"entry {proof.index} is not among the {size} of its checkpoint")
    return BroughtProof(name, proof, size)


def _receipt(name: str, data: bytes) -> BroughtReceipt:
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise EnvelopeError("it is nested too deep") from error
    envelope = read_envelope(next(_envelopes(value), {}))
    return BroughtReceipt(name, read_entry(envelope.body, envelope.signature), envelope.kid)


def _envelopes(value: Any) -> Iterator[Mapping[str, object]]:
    """Yield the envelope itself, or the one inside a result, a response or the `_meta` of one."""
    while isinstance(value, dict):
        if "payloadType" in value:
            yield value
        value = next((value[name] for name in (RECEIPT, "_meta", "result") if name in value), None)
