"""How far a log is signed and anchored, and signing a checkpoint where that is not far enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from keyturn.fold.standing import Anchored
from keyturn.fold.state import State
from keyturn.ledger.checkpoints import Kept, LogSigner, newest_checkpoint, sign_checkpoint
from keyturn.ledger.transaction import View
from keyturn.ledger.writer import Ledger
from keyturn.log.entry import Entry
from keyturn.log.keys import LogVerifier

COUNT = 256
"""Entries of news after which a checkpoint is due at once."""
RECORDED, NOTE, TOKEN = "anchor.recorded", "anchor.note", "anchor.token"

Look: TypeAlias = View[State]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the log is signed and anchored: its size, its newest checkpoint, and the last record of each anchor."""

    size: int
    kept: Kept | None
    last: dict[str, Anchored]


def is_news(view: Look, begin: int) -> bool:
    """Tell whether any entry from `begin` on says more than that an anchor got a checkpoint."""
    size = view.head.size
    while begin < size:
        if any(entry.kind != RECORDED for entry in view.entries(begin, min(begin + COUNT, size))):
            return True
        begin += COUNT
    return False


def standing(view: Look, verifier: LogVerifier) -> Standing:
    """Look how far the log is signed and anchored."""
    return Standing(view.head.size, newest_checkpoint(view, verifier), dict(view.state.anchored))


def unsigned(view: Look, verifier: LogVerifier) -> Entry | None:
    """Return the first entry that the newest checkpoint does not hold, None where nothing since it is news."""
    kept = newest_checkpoint(view, verifier)
    begin = 0 if kept is None else kept.checkpoint.size
    return view.entry(begin) if is_news(view, begin) else None


def sign_news(ledger: Ledger[State], signer: LogSigner) -> Kept | None:
    """Sign a checkpoint where there is news since the newest one. Raises as `sign_checkpoint`."""

    def look(view: Look) -> bool:
        if view.head.closed is not None:
            return False  # `keyturn audit close` signs the last one, once the anchors have seen it
        return unsigned(view, signer.verifier) is not None

    return sign_checkpoint(ledger, signer) if ledger.look(look) else None
