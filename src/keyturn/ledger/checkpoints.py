"""Signing checkpoints: the log key's word for size and root of the ledger, kept beside the entries.

A checkpoint never contradicts the one before it: whoever signs proves first that the tree of the last one begins the
tree of this one. So a ledger that was cut or rewritten below it gets no further checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable
from keyturn.ledger.transaction import View
from keyturn.ledger.writer import Ledger
from keyturn.log.checkpoint import Checkpoint, parse_checkpoint
from keyturn.log.fold import Fold
from keyturn.log.keys import LogVerifier, VerifyKey
from keyturn.log.note import Note, NoteError, NoteKey, parse_note, signature_of, to_sign, verify_note
from keyturn.log.tree import ProofError, verify_consistency

F = TypeVar("F", bound=Fold)


@dataclass(frozen=True, slots=True)
class LogSigner:
    """The log key, wherever its private half is kept; `sign` returns an Ed25519 signature of 64 bytes."""

    verifier: LogVerifier
    sign: Callable[[bytes], bytes]

    @property
    def public(self) -> VerifyKey:
        """Its public half."""
        return self.verifier.key

    @property
    def key(self) -> NoteKey:
        """The key under the name it signs notes with: the log's origin."""
        return NoteKey(self.verifier.origin, self.verifier.key)


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint and the note that it is the text of, signed by the log key."""

    checkpoint: Checkpoint
    note: bytes


def sign_checkpoint(ledger: Ledger[F], signer: LogSigner) -> Kept | None:
    """Sign a checkpoint of the ledger as it is now and keep it; None when the newest one says all already.

    Raises `LedgerBroken` when the ledger is not the one that the last checkpoint saw, `LedgerError` when it cannot be
    read or written or another key signs, and what `sign` raises.
    """
    kept = sign_unkept(ledger, signer)
    if kept is not None:
        ledger.transact(lambda tx: tx.keep_checkpoint(kept.checkpoint.size, kept.note))
    return kept


def sign_unkept(ledger: Ledger[F], signer: LogSigner) -> Kept | None:
    """Sign a checkpoint as `sign_checkpoint`, and leave keeping it to the caller.

    The key signs outside the ledger's lock: it may be a person's agent.
    """
    checkpoint = ledger.look(lambda view: _due(view, signer))
    if checkpoint is None:
        return None
    return Kept(checkpoint, bytes(_signed(checkpoint, signer)))


def _signed(checkpoint: Checkpoint, signer: LogSigner) -> Note:
    """Have the log key sign. An agent or a program may use another key: nothing is wrong with the ledger then."""
    signature = signer.sign(to_sign(checkpoint.text))
    try:
        note = Note(checkpoint.text, (signature_of(signer.key, signature),))
        verify_note(note, [signer.key])
    except NoteError as error:
        raise LedgerUnavailable(
            f"what signs is not the key of this log: {error}; see [log] key in keyturn.toml"
        ) from error
    return note


def newest_checkpoint(view: View[F], verifier: LogVerifier) -> Kept | None:
    """Return the newest checkpoint that is kept, its signature verified; None when there is none."""
    note = view.checkpoint()
    return None if note is None else Kept(_believed(note, NoteKey(verifier.origin, verifier.key)), note)


def _due(view: View[F], signer: LogSigner) -> Checkpoint | None:
    last = newest_checkpoint(view, signer.verifier)
    size = view.head.size
    if last is not None and last.checkpoint.size >= size:
        return None
    root = view.tree.root(size)
    if last is not None:
        _follows(view, last.checkpoint, size, root)
    return Checkpoint(signer.verifier.origin, size, root)


def _follows(view: View[F], last: Checkpoint, size: int, root: bytes) -> None:
    try:
        verify_consistency(last.size, size, view.tree.consistency(last.size, size), last.root, root)
    except ProofError as error:
        raise LedgerBroken(
            f"the ledger is not the one of its checkpoint of {last.size} entries ({error}); "
            "check with `keyturn audit verify`"
        ) from error


def _believed(note: bytes, key: NoteKey) -> Checkpoint:
    """Return what a note of the log says. Raises `LedgerBroken` unless the log key signed it."""
    try:
        read = parse_note(note)
        verify_note(read, [key])
        checkpoint = parse_checkpoint(read.text)
    except NoteError as error:
        raise LedgerBroken(
            f"a checkpoint is not the log key's: {error}; check with `keyturn audit verify`"
        ) from error
    if checkpoint.origin != key.name:
        raise LedgerBroken(f"a checkpoint of another log, {checkpoint.origin}; check with `keyturn audit verify`")
    return checkpoint
