"""Proof 14: the tree over the entries, worked out anew from the bytes that the chain was proved of.

Kept are the roots of complete subtrees of 256, 65,536 … leaves: 32 bytes for each 256 entries. Leaves below a root of
an earlier size are read from the source once more, 255 of them at most, unless the root is one of the last that a
checkpoint was held against.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.log.tree import TILE, WIDTH, Frontier, fold_nodes, leaf_hash, root_of
from keyturn.verifier.proofs import NotProved
from keyturn.verifier.source import Source

REMEMBERED = 4096
"""Roots of earlier sizes that are kept, the newest ones."""


class Grown:
    """The tree over the entries proved so far; each stored subtree is held against it when it is complete."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._edge = Frontier()
        self._roots: dict[int, list[bytes]] = {}
        self._tile: list[bytes] = []
        self._known: dict[int, bytes] = {}
        self._compared = 0

    @property
    def size(self) -> int:
        """The number of entries taken."""
        return self._edge.size

    def add(self, leaf: bytes) -> None:
        """Take the leaf hash of the next entry. Raises `NotProved` where a stored subtree is another."""
        self._edge.add(leaf)
        self._tile.append(leaf)
        if len(self._tile) == WIDTH:
            self._complete(TILE, fold_nodes(self._tile))
            self._tile = []

    def root(self, size: int) -> bytes:
        """Return the root over the first `size` entries, of which there are as many."""
        if size not in self._known:
            if size != self.size:
                return root_of(size, self._nodes)
            self._known[size] = self._edge.root()
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
        return self._known[size]

    def end(self) -> None:
        """Prove that nothing is stored of subtrees beside the complete ones. Raises `NotProved`."""
        if (stored := self._source.subtrees()) != self._compared:
            raise NotProved(
                self.size, 14, f"{stored} subtrees are stored, and {self._compared} are complete: some are of nothing"
            )

    def _complete(self, level: int, root: bytes) -> None:
        roots = self._roots.setdefault(level, [])
        roots.append(root)
        self._compare(level, len(roots) - 1, root)
        if len(roots) % WIDTH == 0:
            self._complete(level + TILE, fold_nodes(roots[-WIDTH:]))

    def _compare(self, level: int, index: int, root: bytes) -> None:
        stored = self._source.subtree(level, index)
        if stored != root:
            first = index << level
            last = first + (1 << level) - 1
            found = "is missing" if stored is None else "is not theirs"
            raise NotProved(last, 14, f"the stored subtree over entries {first} to {last} {found}")
        self._compared += 1

    def _nodes(self, level: int, first: int, count: int) -> Sequence[bytes]:
        if level:
            return self._roots[level][first : first + count]
        begin = self.size - len(self._tile)
        if first >= begin:
            return self._tile[first - begin : first - begin + count]
        return [leaf_hash(self._source.row(seq).body) for seq in range(first, first + count)]
