"""The tree over a log's leaves: roots, inclusion and consistency proofs, and strict verifiers of both.

Hashing and proofs are RFC 6962 section 2.1; the verifiers follow RFC 9162 sections 2.1.3.2 and 2.1.4.2. A node is
named by its level (0 for leaves, level l stands over 2**l of them) and its index on that level, counted from 0.

Hashes come from a `Nodes` function. Whoever keeps the nodes of every eighth level (the roots of complete subtrees of
256, 65,536 … leaves) makes every proof cheap: no step needs more than 255 hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TypeAlias

HASH_BYTES = 32
TILE = 8
"""Levels between stored ones: a stored node stands over 256 stored nodes below it, as in C2SP tlog-tiles."""
WIDTH = 1 << TILE
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962 section 2.1)."""

Nodes: TypeAlias = Callable[[int, int, int], Sequence[bytes]]
"""Returns the hashes of `count` neighbouring complete nodes: level (0, 8, 16 …), first index, count."""


class ProofError(ValueError):
    """A proof does not prove what it is offered for; the message says why."""


def leaf_hash(body: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ body)."""
    return hashlib.sha256(b"\0" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def fold_nodes(hashes: Sequence[bytes]) -> bytes:
    """Return the root of neighbouring nodes of one level, as if each were a leaf: at least one."""
    row = list(hashes)
    while len(row) > 1:
        pairs = [node_hash(row[place], row[place + 1]) for place in range(0, len(row) - 1, 2)]
        row = pairs if len(row) % 2 == 0 else [*pairs, row[-1]]
    return row[0]


class Frontier:
    """The right edge of a growing tree: all that further leaves and the root need."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Take the next leaf."""
        value, rest = leaf, self.size
        while rest & 1:
            value, rest = node_hash(self._parts.pop(), value), rest >> 1
        self._parts.append(value)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over the leaves taken so far."""
        if not self._parts:
            return EMPTY_ROOT
        return reduce(lambda right, left: node_hash(left, right), reversed(self._parts))


def root_of(size: int, nodes: Nodes) -> bytes:
    """Return the root of the first `size` leaves."""
    if size == 0:
        return EMPTY_ROOT
    return _range(0, size, nodes)


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """Return the audit path of leaf `index` in the first `size` leaves, nearest first (RFC 6962 section 2.1.1)."""
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not among the first {size}")
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        split = begin + _split(end - begin)
        if index < split:
            path.append(_range(split, end, nodes))
            end = split
        else:
            path.append(_range(begin, split, nodes))
            begin = split
    return path[::-1]


def consistency_proof(old: int, size: int, nodes: Nodes) -> list[bytes]:
    """Return the proof that the first `old` leaves (at least one) begin the first `size` (RFC 6962 section 2.1.2)."""
    if not 0 < old <= size:
        raise ProofError(f"a tree of {old} is not the beginning of one of {size}")
    path: list[bytes] = []
    begin, end, whole = 0, size, True
    while old != end:
        split = begin + _split(end - begin)
        if old <= split:
            path.append(_range(split, end, nodes))
            end = split
        else:
            path.append(_range(begin, split, nodes))
            begin, whole = split, False
    if not whole:
        path.append(_range(begin, end, nodes))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Prove that `leaf` stands at `index` of the tree of `size` leaves with `root` (RFC 9162 section 2.1.3.2).

    `leaf` must be a leaf hash worked out from the bytes by the caller: an interior node offered as one cannot be told
    from it here. Raises `ProofError`.
    """
    _check_hashes(leaf, root, *proof)
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size}")
    place, last, value = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise ProofError("the proof is too long")
        if place % 2 == 1 or place == last:
            value = node_hash(step, value)
            while place % 2 == 0 and place != 0:
                place, last = place >> 1, last >> 1
        else:
            value = node_hash(value, step)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise ProofError("the proof is too short")
    if value != root:
        raise ProofError("the proof leads to another root")


def verify_consistency(old: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> None:
    """Prove that the tree of `old` leaves is the beginning of that of `size` (RFC 9162 section 2.1.4.2).

    Every tree begins with the empty one, which proves nothing: `old` must be above 0. Raises `ProofError`.
    """
    _check_hashes(old_root, root, *proof)
    if not 0 < old <= size:
        raise ProofError(f"a tree of {old} cannot be the beginning of one of {size}")
    if old == size:
        if proof:
            raise ProofError("trees of equal size need no proof, and one is given")
        if old_root != root:
            raise ProofError("trees of equal size have different roots")
        return
    if not proof:
        raise ProofError("the proof is empty")
    # A complete subtree is its own proof: its root comes first, and the caller holds it already.
    first, *rest = [old_root, *proof] if old & (old - 1) == 0 else proof
    _lead_up(old, size, (first, rest), old_root, root)


def _lead_up(old: int, size: int, proof: tuple[bytes, Sequence[bytes]], old_root: bytes, root: bytes) -> None:
    place, last = old - 1, size - 1
    while place % 2 == 1:
        place, last = place >> 1, last >> 1
    before = after = proof[0]
    for step in proof[1]:
        if last == 0:
            raise ProofError("the proof is too long")
        if place % 2 == 1 or place == last:
            before, after = node_hash(step, before), node_hash(step, after)
            while place % 2 == 0 and place != 0:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, step)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise ProofError("the proof is too short")
    if before != old_root:
        raise ProofError("the proof leads to another old root")
    if after != root:
        raise ProofError("the proof leads to another root")


def _check_hashes(*hashes: bytes) -> None:
    for place, value in enumerate(hashes):
        if len(value) != HASH_BYTES:
            raise ProofError(f"hash {place} has {len(value)} bytes, not {HASH_BYTES}")


def _split(count: int) -> int:
    """Return the largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _range(begin: int, end: int, nodes: Nodes) -> bytes:
    """Return the root over leaves `begin` to `end`, where `begin` is a multiple of the size of every part of it."""
    parts: list[bytes] = []
    while begin < end:
        level = _level(begin, end)
        parts.append(_node(level, begin >> level, nodes))
        begin += 1 << level
    value = parts.pop()
    while parts:
        value = node_hash(parts.pop(), value)
    return value


def _level(begin: int, end: int) -> int:
    """Return the level of the largest complete node that begins at `begin` and ends by `end`."""
    most = (end - begin).bit_length() - 1
    return most if begin == 0 else min(most, (begin & -begin).bit_length() - 1)


def _node(level: int, index: int, nodes: Nodes) -> bytes:
    below = level % TILE
    return fold_nodes(nodes(level - below, index << below, 1 << below))
