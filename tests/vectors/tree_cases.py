"""The tree over the golden log, and how notes, proofs and bundles of it are signed here."""

from __future__ import annotations

from typing import Final

from keyturn.log.checkpoint import Checkpoint
from keyturn.log.note import COSIGNATURE, Note, NoteKey, NoteSignature, signature_of, to_sign
from keyturn.log.tree import EMPTY_ROOT, Frontier
from tests.vectors.story import LOG_KEY, ORIGIN, Key, Log

WITNESS: Final = Key(b"\x11" * 32)
OTHER_WITNESS: Final = Key(b"\x12" * 32)
WITNESS_NAME: Final = "witness.example/one"
OTHER_NAME: Final = "witness.example/two"
SEEN: Final = 1_795_251_660
"""When the witness cosigned: 2026-11-21T09:01:00Z."""

LOG: Final = NoteKey(ORIGIN, LOG_KEY.public)
COSIGNER: Final = NoteKey(WITNESS_NAME, WITNESS.public, COSIGNATURE)
OTHER_COSIGNER: Final = NoteKey(OTHER_NAME, OTHER_WITNESS.public, COSIGNATURE)


def leaves(log: Log) -> list[bytes]:
    """Return the leaf hashes of a log."""
    return [bytes.fromhex(row.leaf) for row in log.rows]


def root_after(log: Log, size: int) -> bytes:
    """Return the root of the first `size` entries."""
    tree = Frontier()
    for leaf in leaves(log)[:size]:
        tree.add(leaf)
    return tree.root()


def head_text(log: Log, size: int, *extensions: str) -> str:
    """Return the checkpoint of the first `size` entries, unsigned."""
    return Checkpoint(ORIGIN, size, root_after(log, size), extensions).text


def by_log(text: str, key: Key = LOG_KEY, name: str = ORIGIN) -> NoteSignature:
    """Sign a text as a log does."""
    return signature_of(NoteKey(name, key.public), key.sign(to_sign(text)))


def by_witness(text: str, time: int = SEEN, key: Key = WITNESS, name: str = WITNESS_NAME) -> NoteSignature:
    """Cosign a text as a witness does."""
    return signature_of(NoteKey(name, key.public, COSIGNATURE), key.sign(to_sign(text, time)), time)


def signed_head(log: Log, size: int) -> Note:
    """Return the checkpoint of the first `size` entries, signed by the log."""
    text = head_text(log, size)
    return Note(text, (by_log(text),))


def tree_json(log: Log) -> dict[str, object]:
    """Return the roots of every size of the golden log."""
    roots = [EMPTY_ROOT, *(root_after(log, size) for size in range(1, len(log.rows) + 1))]
    return {"leaves": [leaf.hex() for leaf in leaves(log)], "roots": [root.hex() for root in roots]}
