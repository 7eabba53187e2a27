"""The log's tree as it is kept: the root of every complete subtree of 256, 65,536 … leaves, and proofs from them.

Leaf hashes come from the bodies every time, never from the `leaf` column: whoever changed a body must not get a proof
for what it was. The stored roots are derived, and a wrong one shows in the root of whatever is proved with it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from keyturn.ledger.errors import LedgerBroken
from keyturn.log.tree import (
    TILE,
    WIDTH,
    consistency_proof,
    fold_nodes,
    inclusion_proof,
    leaf_hash,
    root_of,
)

_BODIES = "SELECT seq, body FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq"
_ROOTS = "SELECT idx, hash FROM subtree WHERE level = ? AND idx >= ? AND idx < ? ORDER BY idx"
# A row that somebody put there before the subtree was complete is worth nothing.
_KEEP = "INSERT OR REPLACE INTO subtree (level, idx, hash) VALUES (?, ?, ?)"


class Forest:
    """The tree over the entries of one connection, at any size it has or had."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def root(self, size: int) -> bytes:
        """Return the root of the first `size` entries."""
        return root_of(size, self._nodes)

    def inclusion(self, seq: int, size: int) -> list[bytes]:
        """Return the proof that entry `seq` is in the tree of the first `size`."""
        return inclusion_proof(seq, size, self._nodes)

    def consistency(self, old: int, size: int) -> list[bytes]:
        """Return the proof that the first `old` entries (at least one) begin the first `size`."""
        return consistency_proof(old, size, self._nodes)

    def grow(self, size: int) -> None:
        """Keep the roots of the subtrees that became complete with entry `size` - 1."""
        level, count = 0, size
        while count and count % WIDTH == 0:
            below, count = level, count // WIDTH
            level += TILE
            root = fold_nodes(self._nodes(below, (count - 1) * WIDTH, WIDTH))
            self._connection.execute(_KEEP, (level, count - 1, root))

    def check(self, size: int) -> None:
        """Hold the kept roots of the subtrees that became complete with entry `size` - 1 against what is below them.

        Raises `LedgerBroken`: whoever rewrote entries and left the roots would get proofs for what they were.
        """
        level, count = 0, size
        while count and count % WIDTH == 0:
            below, count = level, count // WIDTH
            level += TILE
            (kept,) = self._nodes(level, count - 1, 1)
            if kept != fold_nodes(self._nodes(below, (count - 1) * WIDTH, WIDTH)):
                raise LedgerBroken(
                    f"the subtree {count - 1} of level {level} is not that of the entries below it, up to entry "
                    f"{size - 1}; check with `keyturn audit verify`"
                )

    def _nodes(self, level: int, first: int, count: int) -> Sequence[bytes]:
        values = (first, first + count) if level == 0 else (level, first, first + count)
        rows = self._connection.execute(_BODIES if level == 0 else _ROOTS, values).fetchall()
        if [index for index, _ in rows] != list(range(first, first + count)):
            what = "entries" if level == 0 else f"subtrees of level {level}"
            raise LedgerBroken(
                f"{what} {first} to {first + count - 1} are not all there; check with `keyturn audit verify`"
            )
        return [leaf_hash(body) for _, body in rows] if level == 0 else [value for _, value in rows]


def check_grown(connection: sqlite3.Connection, first: int, end: int) -> None:
    """Check every subtree that became complete with an entry of [first, end). Raises `LedgerBroken`."""
    forest = Forest(connection)
    for complete in range(first - first % WIDTH + WIDTH, end + 1, WIDTH):
        forest.check(complete)


def plant(connection: sqlite3.Connection) -> None:
    """Keep the roots of every complete subtree of what is there, anew; inside a transaction of the caller."""
    connection.execute("DELETE FROM subtree")
    forest = Forest(connection)
    size: int = connection.execute("SELECT count(*) FROM entry").fetchone()[0]
    for complete in range(WIDTH, size + 1, WIDTH):
        forest.grow(complete)
