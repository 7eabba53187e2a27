"""What a checkpoint note proves here: that this log's key signed it, and who cosigned it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.log.checkpoint import Checkpoint, parse_checkpoint
from keyturn.log.keys import LogVerifier
from keyturn.log.note import Note, NoteError, NoteKey, Signed, verify_note


@dataclass(frozen=True, slots=True)
class Said:
    """A checkpoint that the log key signed, and the cosignatures of known witnesses on it."""

    checkpoint: Checkpoint
    cosigned: tuple[Signed, ...]


def believed(note: Note, log: LogVerifier, witnesses: Sequence[NoteKey]) -> Said:
    """Return what a note says. Raises `NoteError` unless it is of this log, signed by its log key.

    Signatures of keys that nobody named are passed over; a bad one of a named witness makes the note bad.
    """
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != log.origin:
        raise NoteError(f"it is of another log, {checkpoint.origin}")
    own = NoteKey(log.origin, log.key)
    claims = [line.key_id for line in note.signatures if line.name == own.name]
    if claims and own.id not in claims:
        raise NoteError(f"it is signed under this log's name by another key, {claims[0].hex()}, not {own.id.hex()}")
    signed = verify_note(note, [own, *witnesses])
    if own not in [one.key for one in signed]:
        raise NoteError("the log key has not signed it")
    return Said(checkpoint, tuple(one for one in signed if one.key != own))
