"""The tree: RFC 6962 by its vectors, and every proof of every small tree against a plain recursion."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.log.tree import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    consistency_proof,
    fold_nodes,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "public" / "rfc6962"


def cases(kind: str) -> list[Any]:
    found = sorted((VECTORS / kind).rglob("*.json"))
    return [pytest.param(json.loads(path.read_text()), id=str(path.relative_to(VECTORS))) for path in found]


def unpacked(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def plain_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(plain_root(leaves[:split]), plain_root(leaves[split:]))


class Leaves:
    """Leaf hashes, answering for every eighth level, and how many hashes were asked for."""

    def __init__(self, count: int) -> None:
        self.leaves = [leaf_hash(b"%d" % number) for number in range(count)]
        self.asked = 0
        self.rows = {0: self.leaves}
        level = 0
        while len(self.rows[level]) >= 256:
            below = self.rows[level]
            self.rows[level + 8] = [fold_nodes(below[at : at + 256]) for at in range(0, len(below) // 256 * 256, 256)]
            level += 8

    def __call__(self, level: int, first: int, count: int) -> Sequence[bytes]:
        self.asked += count
        found = self.rows[level][first : first + count]
        assert len(found) == count
        return found


@pytest.mark.parametrize("case", json.loads((VECTORS / "hasher.json").read_text()), ids=lambda case: case["want"][:8])
def test_leaves_and_nodes_hash_as_everywhere(case: dict[str, str]) -> None:
    match case["kind"]:
        case "empty_root":
            value = root_of(0, Leaves(0))
        case "leaf":
            value = leaf_hash(bytes.fromhex(case["data_hex"]))
        case _:
            value = node_hash(bytes.fromhex(case["left_hex"]), bytes.fromhex(case["right_hex"]))
    assert value.hex() == case["want"]


@pytest.mark.parametrize("case", cases("inclusion"))
def test_inclusion_proofs_are_judged_as_others_judge_them(case: dict[str, Any]) -> None:
    proof = [unpacked(step) for step in case["proof"] or []]
    arguments = (unpacked(case["leafHash"]), case["leafIdx"], case["treeSize"], proof, unpacked(case["root"]))
    if case["wantErr"]:
        with pytest.raises(ProofError):
            verify_inclusion(*arguments)
    else:
        verify_inclusion(*arguments)


@pytest.mark.parametrize("case", cases("consistency"))
def test_consistency_proofs_are_judged_as_others_judge_them(case: dict[str, Any]) -> None:
    proof = [unpacked(step) for step in case["proof"] or []]
    arguments = (case["size1"], case["size2"], proof, unpacked(case["root1"]), unpacked(case["root2"]))
    # Some roots of these vectors are no SHA-256 hashes, which is refused before anything else is looked at.
    if case["wantErr"] or len(arguments[3]) != 32:
        with pytest.raises(ProofError):
            verify_consistency(*arguments)
    else:
        verify_consistency(*arguments)


def test_every_proof_of_every_small_tree_is_the_plain_one_and_verifies() -> None:
    nodes = Leaves(40)
    for size in range(1, 41):
        root = root_of(size, nodes)
        assert root == plain_root(nodes.leaves[:size])
        for index in range(size):
            verify_inclusion(nodes.leaves[index], index, size, inclusion_proof(index, size, nodes), root)
        for old in range(1, size + 1):
            verify_consistency(old, size, consistency_proof(old, size, nodes), root_of(old, nodes), root)


def test_a_frontier_has_the_root_of_every_size_on_its_way() -> None:
    nodes, frontier = Leaves(600), Frontier()
    assert frontier.root() == EMPTY_ROOT
    for size, leaf in enumerate(nodes.leaves, 1):
        frontier.add(leaf)
        assert (frontier.size, frontier.root()) == (size, root_of(size, nodes))


@given(st.integers(1, 70_000), st.data())
def test_a_large_tree_is_proved_by_few_hashes(size: int, data: st.DataObject) -> None:
    nodes = LARGE
    root = root_of(size, nodes)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    nodes.asked = 0
    path = inclusion_proof(index, size, nodes)
    assert nodes.asked < 3 * 256
    verify_inclusion(nodes.leaves[index], index, size, path, root)
    verify_consistency(old, size, consistency_proof(old, size, nodes), root_of(old, nodes), root)


LARGE = Leaves(70_000)


@given(st.integers(2, 300), st.data())
def test_a_changed_proof_proves_nothing(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path, root = inclusion_proof(index, size, LARGE), root_of(size, LARGE)
    step = data.draw(st.integers(0, len(path) - 1))
    wrong = [*path[:step], bytes([path[step][0] ^ 1]) + path[step][1:], *path[step + 1 :]]
    other = data.draw(st.integers(0, size).filter(lambda number: number != index))
    for attempt in ((index, size, wrong), (other, size, path), (index, size, path[1:]), (index, size, [*path, root])):
        with pytest.raises(ProofError):
            verify_inclusion(LARGE.leaves[index], *attempt, root)


def test_no_proof_is_made_of_what_is_not_there() -> None:
    with pytest.raises(ProofError, match="leaf 3 is not among the first 3"):
        inclusion_proof(3, 3, LARGE)
    with pytest.raises(ProofError, match="a tree of 0 is not the beginning"):
        consistency_proof(0, 3, LARGE)
    with pytest.raises(ProofError, match="hash 2 has 31 bytes"):
        verify_inclusion(LARGE.leaves[0], 0, 2, [LARGE.leaves[1][:-1]], root_of(2, LARGE))
