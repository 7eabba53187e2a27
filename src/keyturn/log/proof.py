"""Proofs that travel as text: of one entry to whoever holds a verifier key, and of growth to a witness.

Sources: C2SP tlog-proof (one entry with its checkpoint), C2SP tlog-witness (the body of `add-checkpoint`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.log.checkpoint import Checkpoint, parse_checkpoint
from keyturn.log.lines import hash_lines, read_decimal, read_hash
from keyturn.log.note import MAX_NOTE, Note, NoteError, NoteKey, Signed, parse_note, verify_note
from keyturn.log.tree import ProofError, verify_inclusion

MAX_PROOF = 63
"""Hashes of one proof: a tree is never higher."""
_HEADER = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class EntryProof:
    """That an entry is in a log: its index, the audit path, and the checkpoint it leads to."""

    index: int
    path: tuple[bytes, ...]
    note: Note

    def __str__(self) -> str:
        """Return the proof as a `.tlog-proof` file holds it."""
        return f"{_HEADER}\nindex {self.index}\n{hash_lines(self.path)}\n{bytes(self.note).decode()}"


@dataclass(frozen=True, slots=True)
class Submission:
    """What a log sends to a witness: the size the witness saw last, the proof of growth since, and a checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    note: Note

    def __bytes__(self) -> bytes:
        """Return the body of the request."""
        return f"old {self.old}\n{hash_lines(self.proof)}\n".encode() + bytes(self.note)


def parse_entry_proof(data: bytes) -> EntryProof:
    """Read a tlog-proof; its extra data is passed over. Raises `ProofError` naming the line."""
    lines, note = _divided(data)
    if lines.pop(0) != _HEADER:
        raise ProofError(f"line 1 is not {_HEADER}")
    number = 2
    if lines and lines[0].startswith("extra "):
        del lines[0]
        number = 3
    if not lines:
        raise ProofError(f"line {number} is missing")
    index = _number(lines.pop(0), "index", number)
    return EntryProof(index, _hashes(lines, number + 1), note)


def parse_submission(data: bytes) -> Submission:
    """Read the body of `add-checkpoint`. Raises `ProofError` naming the line."""
    lines, note = _divided(data)
    old = _number(lines.pop(0), "old", 1)
    return Submission(old, _hashes(lines, 2), note)


def verify_entry_proof(
    proof: EntryProof, leaf: bytes, keys: Sequence[NoteKey]
) -> tuple[Checkpoint, tuple[Signed, ...]]:
    """Prove that the entry with this leaf hash is in the log; return the checkpoint and who signed it.

    Whether those who signed are enough is for the caller to say. Raises `ProofError` or `NoteError`.
    """
    signed = verify_note(proof.note, keys)
    checkpoint = parse_checkpoint(proof.note.text)
    verify_inclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root)
    return checkpoint, signed


def _divided(data: bytes) -> tuple[list[str], Note]:
    if len(data) > 2 * MAX_NOTE:
        raise ProofError(f"{len(data)} bytes; at most {2 * MAX_NOTE} are read")
    head, gap, note = data.partition(b"\n\n")
    if not gap:
        raise ProofError("there is no empty line before the checkpoint")
    try:
        return head.decode("utf-8").split("\n"), parse_note(note)
    except UnicodeDecodeError as error:
        raise ProofError(f"not UTF-8 at byte {error.start}") from error
    except NoteError as error:
        raise ProofError(f"the checkpoint: {error}") from error


def _number(line: str, word: str, place: int) -> int:
    name, gap, text = line.partition(" ")
    try:
        if name == word and gap:
            return read_decimal(text)
    except ValueError as error:
        raise ProofError(f"line {place}: {error}") from error
    raise ProofError(f"line {place} is not {word} and a number")


def _hashes(lines: Sequence[str], place: int) -> tuple[bytes, ...]:
    if len(lines) > MAX_PROOF:
        raise ProofError(f"{len(lines)} hashes; a proof has at most {MAX_PROOF}")
    hashes = []
    for number, line in enumerate(lines, place):
        try:
            hashes.append(read_hash(line))
        except ValueError as error:
            raise ProofError(f"line {number}: {error}") from error
    return tuple(hashes)
