"""A small log for anchors: its leaves, notes and offers, and a ledger that judges by them alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from keyturn.anchors import Judged, Offer, Seen
from keyturn.anchors.judging import Contradicted, read_kept
from keyturn.connectors.world import World
from keyturn.log.checkpoint import parse_checkpoint
from keyturn.log.keys import LogVerifier
from keyturn.log.note import parse_note
from keyturn.log.tree import consistency_proof, root_of
from tests.connectors.surroundings import world_at
from tests.witness.test_witness import LOG, TREE, Tree

VERIFIER = LogVerifier(LOG.key.name, LOG.key.key)
ORIGIN = VERIFIER.origin
NAME = ORIGIN.replace("/", "-")
BEGAN = 1_700_000_000.0


def offer(size: int, tree: Tree = TREE, *, last: int = 0, began: float = BEGAN, step: str = "") -> Offer:
    """Offer the checkpoint of so many entries; `step` is the recovery that explains any contradiction."""

    def judge(seen: Seen) -> Judged:
        kept = read_kept(seen.note, VERIFIER)
        if kept.size <= 255 and kept.root == root_of(kept.size, tree.nodes):
            return Judged()
        if not step or step in seen.recoveries:
            raise Contradicted("the ledger was rewritten, or forked", kept.size)
        return Judged(step)

    note = tree.note(size)
    return Offer(
        checkpoint=parse_checkpoint(note.text),
        note=bytes(note),
        recoveries=frozenset({step} - {""}),
        began=began,
        last=last,
        judge=judge,
        grown=lambda old: consistency_proof(old, size, tree.nodes),
    )


def size_of(note: bytes) -> int:
    """Return the size that a note says."""
    return parse_checkpoint(parse_note(note).text).size


def world(folder: Path, **environment: str) -> World:
    """Return what anchors get from outside, with a clock that goes."""
    return world_at(folder, environment)


def now() -> float:
    """Return the seconds since 1970."""
    return time.time()


def settings(model: Any, **given: Any) -> Any:
    """Return settings as a wiring has them."""
    return model.Settings.model_validate(given)
