"""Holds what an anchor keeps against the ledger: that it only grew since, and neither went backwards nor forked.

A person's signed word that the ledger was restored from an older copy explains a contradiction within what that word
names as lost, unless the note saw that word already. Notes that the log key did not sign prove nothing, and are not
believed.
"""

from __future__ import annotations

from typing import Any, TypeVar

from keyturn.anchors import Judged, Seen
from keyturn.ledger.transaction import View
from keyturn.log.checkpoint import Checkpoint, parse_checkpoint
from keyturn.log.fold import Fold
from keyturn.log.keys import LogVerifier
from keyturn.log.note import NoteError, NoteKey, parse_note, verify_note
from keyturn.model.errors import ConnectorError

F = TypeVar("F", bound=Fold)
RESTORED = "restored"
_RECOVERIES = 10_000  # newest ones that are looked at


class Contradicted(Exception):
    """A note of this log says otherwise than the ledger, and nobody signed for the difference."""

    def __init__(self, reason: str, size: int) -> None:
        super().__init__(reason)
        self.size = size


def read_kept(note: bytes, verifier: LogVerifier) -> Checkpoint:
    """Return what a note of the log says.

    Raises `Contradicted` for a checkpoint under the log's name by another key: somebody replaced ledger and keys. And
    `ConnectorError` for what is no checkpoint of the log at all.
    """
    try:
        read = parse_note(note)
        checkpoint = parse_checkpoint(read.text)
    except NoteError as error:
        raise ConnectorError(f"what is kept there is no checkpoint: {error}; look at it, and take it away") from error
    if checkpoint.origin != verifier.origin:
        raise ConnectorError(
            f"what is kept there is of another log, {checkpoint.origin}; give each log its own place"
        )
    key = NoteKey(verifier.origin, verifier.key)
    if not any((line.name, line.key_id) == (key.name, key.id) for line in read.signatures):
        raise Contradicted("the checkpoint there bears this log's name and another key", checkpoint.size)
    try:
        verify_note(read, [key])
    except NoteError as error:
        raise ConnectorError(f"what is kept there was not signed by the log: {error}; look at it") from error
    return checkpoint


def judge(view: View[F], seen: Seen, verifier: LogVerifier) -> Judged:
    """Hold what is kept against the ledger.

    Raises `Contradicted` where nobody signed for a difference, `ConnectorError` as `read_kept`, and `LedgerError`.
    """
    checkpoint = read_kept(seen.note, verifier)
    difference = difference_from(view, checkpoint)
    if difference is None:
        return Judged()
    step = _explanation(view, checkpoint, seen.recoveries)
    if step is None:
        raise Contradicted(difference, checkpoint.size)
    return Judged(step)


def recoveries_in(view: View[F], size: int) -> frozenset[str]:
    """Return the leaf hashes of the entries among the first `size` that say the ledger was restored."""
    found = view.newest("recovery", _RECOVERIES)
    return frozenset(entry.leaf for entry in found if entry.seq < size and entry.facts["reason"] == RESTORED)


def difference_from(view: View[F], checkpoint: Checkpoint) -> str | None:
    """Say how the ledger contradicts a checkpoint of its log; None when the checkpoint's tree begins the ledger's."""
    size = view.head.size
    if checkpoint.size > size:
        return f"it saw {checkpoint.size} entries and here are {size}: the ledger went backwards"
    if view.tree.root(checkpoint.size) != checkpoint.root:
        return f"the first {checkpoint.size} entries here are not those it saw: the ledger was rewritten, or forked"
    return None


def _explanation(view: View[F], checkpoint: Checkpoint, seen: frozenset[str]) -> str | None:
    """Find a recovery, its signature proved by the fold, that names what the checkpoint saw as lost.

    One that the checkpoint's own tree holds was there before it: what it names as lost was lost by then.
    """
    for entry in view.newest("recovery", _RECOVERIES):
        facts: dict[str, Any] = dict(entry.facts)
        lost = facts["missing"]
        within = lost is not None and entry.seq < checkpoint.size <= lost["size"]
        if facts["reason"] == RESTORED and within and entry.leaf not in seen:
            return entry.leaf
    return None
