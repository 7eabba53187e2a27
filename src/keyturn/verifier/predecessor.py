"""Proof 14 of what a log says about the one it goes on from: the other log key signed size and root of its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn import canon
from keyturn.fold.ending import PREDECESSOR
from keyturn.log.checkpoint import Checkpoint
from keyturn.log.entry import Entry
from keyturn.log.keys import LogVerifier, parse_verifier
from keyturn.log.note import Note, NoteError, parse_note
from keyturn.model.errors import ConfigurationError
from keyturn.verifier.notes import believed
from keyturn.verifier.proofs import NotProved, proving


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """The log that another goes on from, and its end, as entry `seq` of the other says."""

    seq: int
    log: LogVerifier
    end: Checkpoint


def check_predecessor(entry: Entry, payloads: Mapping[str, bytes]) -> Predecessor:
    """Prove 14 of a `log.succeeds` entry: its note is the other log's and says what the facts say.

    Raises `NotProved`.
    """
    facts: Mapping[str, Any] = entry.facts
    with proving(entry.seq, 14):
        log = parse_verifier(facts["verifier"])
        text = canon.decode(payloads[PREDECESSOR])
    end = Checkpoint(log.origin, facts["size"], bytes.fromhex(facts["root"]))
    if not isinstance(text, str):
        raise NotProved(entry.seq, 14, "its note is no text")
    try:
        said = believed(parse_note(text.encode("utf-8")), log, ()).checkpoint
    except NoteError as error:
        raise NotProved(entry.seq, 14, f"its note is not of the log it goes on from: {error}") from error
    if (said.size, said.root) != (end.size, end.root):
        raise NotProved(entry.seq, 14, "its note says another size or root than its facts")
    return Predecessor(seq=entry.seq, log=log, end=end)


def hold(before: Predecessor, name: str, note: Note) -> None:
    """Prove 15: a note of the other log that was brought is of the end that the entry names.

    Raises `NotProved`, and `ConfigurationError` for a note of an earlier size, of which this log knows nothing.
    """
    try:
        said = believed(note, before.log, ()).checkpoint
    except NoteError as error:
        raise NotProved(
            before.seq, 15, f"{name} is no checkpoint of the log this one goes on from: {error}"
        ) from error
    if said.size < before.end.size:
        raise ConfigurationError(
            f"{name}: a checkpoint of {said.size} entries of the log before this one, which ended with "
            f"{before.end.size}: bring its last one, and hold this one against that log itself"
        )
    if (said.size, said.root) != (before.end.size, before.end.root):
        raise NotProved(
            before.seq,
            15,
            f"{name} is of {said.size} entries of the log before this one, and entry {before.seq} goes on from "
            f"another end, of {before.end.size}: entries were cut off there, rewritten or added",
        )
