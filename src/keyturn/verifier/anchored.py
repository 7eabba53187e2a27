"""Holds recorded anchors against the entries: the tree grows with them, and its root at any size can be asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keyturn import canon
from keyturn.log.checkpoint import Checkpoint
from keyturn.log.entry import Entry
from keyturn.log.keys import LogVerifier
from keyturn.log.note import NoteError, NoteKey, parse_note, verify_note
from keyturn.log.tree import TILE, WIDTH, ProofError, fold_nodes, leaf_hash, root_of
from keyturn.verifier.proofs import NotProved, proving
from keyturn.verifier.source import Source

NOTE = "anchor.note"


class Grown:
    """The tree over the entries proved so far, kept as the roots of complete subtrees of 256, 65,536 … leaves.

    Leaves below a root that is asked for are read from the source again: 255 of them at most.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._roots: dict[int, list[bytes]] = {}
        self._tile: list[bytes] = []
        self.size = 0

    def add(self, leaf: bytes) -> None:
        """Take the leaf hash of the next entry."""
        self.size += 1
        self._tile.append(leaf)
        if len(self._tile) == WIDTH:
            self._complete(TILE, fold_nodes(self._tile))
            self._tile = []

    def root(self, size: int) -> bytes:
        """Return the root over the first `size` entries, of which there are as many."""
        return root_of(size, self._nodes)

    def check(self, entry: Entry, payloads: Mapping[str, bytes], verifier: LogVerifier) -> None:
        """Prove of an `anchor.recorded` entry that its note is the log's (9) and its root the tree's (13)."""
        facts: Mapping[str, Any] = entry.facts
        checkpoint = Checkpoint(verifier.origin, facts["size"], bytes.fromhex(facts["root"]))
        if NOTE not in entry.data:
            raise NotProved(entry.seq, 9, "it keeps no note of its anchor")
        if NOTE in payloads:
            _check_note(entry, payloads[NOTE], checkpoint, verifier)
        if self.root(checkpoint.size) != checkpoint.root:
            raise NotProved(
                entry.seq, 13, f"the first {checkpoint.size} entries are not those that {facts['anchor']!r} was given"
            )

    def _complete(self, level: int, root: bytes) -> None:
        roots = self._roots.setdefault(level, [])
        roots.append(root)
        if len(roots) % WIDTH == 0:
            self._complete(level + TILE, fold_nodes(roots[-WIDTH:]))

    def _nodes(self, level: int, first: int, count: int) -> Sequence[bytes]:
        if level:
            return self._roots[level][first : first + count]
        begin = self.size - len(self._tile)
        if first >= begin:
            return self._tile[first - begin : first - begin + count]
        return [leaf_hash(self._source.row(seq).body) for seq in range(first, first + count)]


def _check_note(entry: Entry, payload: bytes, checkpoint: Checkpoint, verifier: LogVerifier) -> None:
    with proving(entry.seq, 9):
        text = canon.decode(payload)
        if not isinstance(text, str):
            raise NotProved(entry.seq, 9, "its note is no text")
        try:
            note = parse_note(text.encode("utf-8"))
            verify_note(note, [NoteKey(verifier.origin, verifier.key)])
        except (NoteError, ProofError) as error:
            raise NotProved(entry.seq, 9, f"its note is not the log's: {error}") from error
        if note.text != checkpoint.text:
            raise NotProved(entry.seq, 9, "its note says another size or root than its facts")
