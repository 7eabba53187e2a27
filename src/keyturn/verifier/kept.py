"""Proof 14 of the checkpoints that a ledger keeps of itself, and of the anchors it says that it was brought to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn import canon
from keyturn.log.chain import Head
from keyturn.log.checkpoint import Checkpoint
from keyturn.log.entry import Entry
from keyturn.log.keys import LogVerifier
from keyturn.log.note import NoteError, parse_note
from keyturn.verifier.growth import Grown
from keyturn.verifier.notes import Said, believed
from keyturn.verifier.proofs import NotProved, proving
from keyturn.verifier.source import Source
from keyturn.verifier.vouching import Vouching

NOTE = "anchor.note"


class Checkpoints:
    """The checkpoints kept in the ledger, in the order of their sizes."""

    def __init__(self, source: Source, grown: Grown, vouching: Vouching) -> None:
        self._kept = source.checkpoints()
        self._next = next(self._kept, None)
        self._grown = grown
        self._vouching = vouching
        self.count = 0

    def check(self, head: Head, log: LogVerifier) -> None:
        """Prove the checkpoint of the size that the ledger has reached, if one is kept. Raises `NotProved`."""
        while self._next is not None and self._next[0] <= head.size:
            size, data = self._next
            said = self._read(size, data, log)
            if said.checkpoint.root != self._grown.root(size):
                raise NotProved(
                    max(size - 1, 0),
                    14,
                    f"the first {size} entries are not those of the checkpoint of {size} that is kept",
                )
            self._vouching.cosigned(said, head)
            self.count += 1
            self._next = next(self._kept, None)

    def end(self, head: Head) -> None:
        """Prove that none is left. Raises `NotProved`."""
        if self._next is not None:
            size = self._next[0]
            raise NotProved(
                head.size, 14, f"a checkpoint of {size} entries is kept, and the ledger ends here: it was cut off"
            )

    def _read(self, size: int, data: bytes, log: LogVerifier) -> Said:
        place = max(size - 1, 0)
        try:
            said = believed(parse_note(data), log, self._vouching.witnesses)
        except NoteError as error:
            raise NotProved(place, 14, f"the checkpoint of {size} that is kept is not the log's: {error}") from error
        if said.checkpoint.size != size:
            raise NotProved(place, 14, f"a checkpoint of {said.checkpoint.size} entries is kept as the one of {size}")
        return said


def check_anchor(
    entry: Entry, payloads: Mapping[str, bytes], log: LogVerifier, grown: Grown, vouching: Vouching
) -> Said | None:
    """Prove 14 of an `anchor.recorded` entry: its note is the log's and its facts', and its root the tree's.

    Returns what the note says, None where it is not to be had. Raises `NotProved`.
    """
    facts: Mapping[str, Any] = entry.facts
    checkpoint = Checkpoint(log.origin, facts["size"], bytes.fromhex(facts["root"]))
    if NOTE not in entry.data:
        raise NotProved(entry.seq, 14, "it keeps no note of its anchor")
    if grown.root(checkpoint.size) != checkpoint.root:
        raise NotProved(
            entry.seq, 14, f"the first {checkpoint.size} entries are not those that {facts['anchor']!r} was given"
        )
    return _said(entry, payloads[NOTE], checkpoint, log, vouching) if NOTE in payloads else None


def _said(entry: Entry, payload: bytes, expected: Checkpoint, log: LogVerifier, vouching: Vouching) -> Said:
    with proving(entry.seq, 14):
        text = canon.decode(payload)
    if not isinstance(text, str):
        raise NotProved(entry.seq, 14, "its note is no text")
    try:
        said = believed(parse_note(text.encode("utf-8")), log, vouching.witnesses)
    except NoteError as error:
        raise NotProved(entry.seq, 14, f"its note is not the log's: {error}") from error
    if (said.checkpoint.size, said.checkpoint.root) != (expected.size, expected.root):
        raise NotProved(entry.seq, 14, "its note says another size or root than its facts")
    return said
