"""The golden tree, notes and proofs: the good are accepted for what they say, the bad refused for their reason."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from keyturn.log.checkpoint import Checkpoint, parse_checkpoint
from keyturn.log.keys import parse_verifier
from keyturn.log.note import Note, NoteError, NoteKey, Signed, parse_note, parse_note_key, verify_note
from keyturn.log.proof import parse_entry_proof, parse_submission, verify_entry_proof
from keyturn.log.tree import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    consistency_proof,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from keyturn.witness.judging import Accepted, Refusal, judge, recognise
from tests.vectors.reading import chain, load, names

TREE = load("tree.json")
LEAVES = [bytes.fromhex(leaf) for leaf in TREE["leaves"]]
ROOTS = [bytes.fromhex(root) for root in TREE["roots"]]
NOTES = {name: load(f"notes/{name}.json") for name in names("notes")}
PROOFS = {name: load(f"proofs/{name}.json") for name in names("proofs")}
OF_ENTRIES = sorted(name for name, case in PROOFS.items() if case["type"] == "tlog-proof")
OF_GROWTH = sorted(name for name, case in PROOFS.items() if case["type"] == "add-checkpoint")


def nodes(level: int, first: int, count: int) -> list[bytes]:
    assert level == 0
    return LEAVES[first : first + count]


def keys_of(case: dict[str, Any]) -> list[NoteKey]:
    return [parse_note_key(text) for text in case["keys"]]


def whose(signed: tuple[Signed, ...]) -> list[dict[str, Any]]:
    return [{"name": one.key.name, "time": one.time} for one in signed]


def test_the_golden_tree_stands_over_the_golden_log() -> None:
    frontier, found = Frontier(), [EMPTY_ROOT]
    for row in chain():
        frontier.add(bytes.fromhex(row.leaf))
        found.append(frontier.root())
    assert [row.leaf for row in chain()] == TREE["leaves"]
    assert found == ROOTS == [root_of(size, nodes) for size in range(len(LEAVES) + 1)]


def test_every_entry_and_every_growth_of_the_golden_tree_is_proved() -> None:
    for size in range(1, len(LEAVES) + 1):
        for index in range(size):
            verify_inclusion(LEAVES[index], index, size, inclusion_proof(index, size, nodes), ROOTS[size])
        for old in range(1, size + 1):
            verify_consistency(old, size, consistency_proof(old, size, nodes), ROOTS[old], ROOTS[size])


@pytest.mark.parametrize("name", NOTES)
def test_a_golden_note_says_what_it_should_or_is_refused_for_its_reason(name: str) -> None:
    case = NOTES[name]
    data, expected = base64.b64decode(case["note_base64"]), case["expect"]
    if "refused" in expected:
        with pytest.raises(NoteError) as caught:
            read_checkpoint(data, keys_of(case))
        assert expected["refused"]
        assert expected["refused"] in str(caught.value)
        return
    note, checkpoint, signed = read_checkpoint(data, keys_of(case))
    assert bytes(note) == data
    assert expected == {
        "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(),
        "extensions": list(checkpoint.extensions), "signed": whose(signed),
    }  # fmt: skip
    assert checkpoint.root == ROOTS[checkpoint.size]


def read_checkpoint(data: bytes, keys: list[NoteKey]) -> tuple[Note, Checkpoint, tuple[Signed, ...]]:
    note = parse_note(data)
    signed = verify_note(note, keys)
    return note, parse_checkpoint(note.text), signed


@pytest.mark.parametrize("name", OF_ENTRIES)
def test_a_golden_proof_proves_its_entry_or_is_refused_for_its_reason(name: str) -> None:
    case = PROOFS[name]
    data, leaf, expected = base64.b64decode(case["proof_base64"]), bytes.fromhex(case["leaf"]), case["expect"]
    if "refused" in expected:
        with pytest.raises((ProofError, NoteError)) as caught:
            verify_entry_proof(parse_entry_proof(data), leaf, keys_of(case))
        assert expected["refused"]
        assert expected["refused"] in str(caught.value)
        return
    proof = parse_entry_proof(data)
    checkpoint, signed = verify_entry_proof(proof, leaf, keys_of(case))
    assert expected == {"index": proof.index, "size": checkpoint.size, "signed": whose(signed)}
    assert LEAVES[proof.index] == leaf


@pytest.mark.parametrize("name", OF_GROWTH)
def test_a_witness_answers_a_golden_submission_as_it_should(name: str) -> None:
    case = PROOFS[name]
    answer, expected = answer_to(case), case["expect"]
    if isinstance(answer, Accepted):
        assert expected == {"status": 200}
        return
    assert (answer.status, answer.size) == (expected["status"], expected.get("size"))
    assert expected["reason"] in answer.reason


def answer_to(case: dict[str, Any]) -> Accepted | Refusal:
    try:
        submission = parse_submission(base64.b64decode(case["body_base64"]))
    except ProofError as error:
        return Refusal(400, str(error))
    origin = parse_verifier(load("chain.json")["verifier"]).origin
    known, last = recognise(submission, {origin: keys_of(case)}), case["last"]
    if isinstance(known, Refusal):
        return known
    return judge(
        submission,
        known.checkpoint,
        None if last is None else Checkpoint(origin, last["size"], bytes.fromhex(last["root"])),
    )
