"""Proofs as text: read back as written, proved against the tree, and refused in every other spelling."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.log.checkpoint import Checkpoint
from keyturn.log.note import Note, NoteError
from keyturn.log.proof import (
    EntryProof,
    Submission,
    parse_entry_proof,
    parse_submission,
    verify_entry_proof,
)
from keyturn.log.tree import ProofError, consistency_proof, inclusion_proof, leaf_hash, node_hash, root_of
from tests.log.test_note import Signer

LEAVES = [leaf_hash(b"%d" % number) for number in range(200)]
LOG = Signer("shop/" + "0" * 32)


def nodes(level: int, first: int, count: int) -> Sequence[bytes]:
    assert level == 0
    return LEAVES[first : first + count]


def note(size: int) -> Note:
    text = Checkpoint(LOG.key.name, size, root_of(size, nodes)).text
    return Note(text, (LOG.sign(text),))


def proof(index: int, size: int) -> EntryProof:
    return EntryProof(index, tuple(inclusion_proof(index, size, nodes)), note(size))


@given(st.integers(1, 200), st.data())
def test_a_proof_of_an_entry_is_read_back_and_proves_it_alone(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    read = parse_entry_proof(str(proof(index, size)).encode())
    assert read == proof(index, size)
    checkpoint, signed = verify_entry_proof(read, LEAVES[index], [LOG.key])
    assert (checkpoint.size, [one.key for one in signed]) == (size, [LOG.key])
    other = data.draw(st.integers(0, 199).filter(lambda number: number != index))
    with pytest.raises(ProofError, match="another root"):
        verify_entry_proof(read, LEAVES[other], [LOG.key])


def test_an_interior_node_is_not_proved_as_a_leaf_because_leaves_are_hashed_from_bytes() -> None:
    inner = node_hash(LEAVES[0], LEAVES[1])
    shortened = EntryProof(0, proof(0, 4).path[1:], note(4))
    with pytest.raises(ProofError):
        verify_entry_proof(shortened, inner, [LOG.key])
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != inner


def test_a_proof_that_the_log_did_not_sign_is_refused() -> None:
    stranger = Signer(LOG.key.name, 2)
    with pytest.raises(NoteError, match="none of the known keys"):
        verify_entry_proof(proof(3, 9), LEAVES[3], [stranger.key])


def test_extra_data_is_passed_over() -> None:
    text = str(proof(3, 9)).replace("\nindex", "\nextra aGVsbG8=\nindex", 1)
    assert parse_entry_proof(text.encode()) == proof(3, 9)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        ("index 3", "index 03"),
        ("index 3", "index +3"),
        ("index 3", "index -3"),
        ("index 3", "index  3"),
        ("index 3", "old 3"),
        ("index 3", "index ٣"),
        ("index 3\n", ""),
        ("index 3\n", "index 3\nAAAA\n"),
        ("index 3\n", "index 3\n" + "A" * 43 + "=\n" * 70),
        ("\n\n", "\n"),
        ("\n", "\r\n"),
    ],
)
def test_another_spelling_of_a_proof_is_refused(old: str, new: str) -> None:
    text = str(proof(3, 9))
    assert old in text
    with pytest.raises(ProofError):
        parse_entry_proof(text.replace(old, new, 1).encode())


def test_a_submission_is_read_back() -> None:
    sent = Submission(7, tuple(consistency_proof(7, 90, nodes)), note(90))
    assert parse_submission(bytes(sent)) == sent
    first = Submission(0, (), note(90))
    assert bytes(first).startswith(b"old 0\n\nshop/")
    assert parse_submission(bytes(first)) == first


@pytest.mark.parametrize(
    "start",
    [
        b"old 07\n\n",
        b"old\n\n",
        b"old \n\n",
        b"old 7 \n\n",
        b"new 7\n\n",
        b"old 7\nnot base64\n\n",
        b"old 7\n" + base64.b64encode(bytes(31)) + b"\n\n",
        b"old 7\n" + (base64.b64encode(bytes(32)) + b"\n") * 64 + b"\n",
        b"old 9223372036854775808\n\n",
        b"\xff\n\n",
        b"\n\n",
        b"",
    ],
)
def test_another_spelling_of_a_submission_is_refused(start: bytes) -> None:
    with pytest.raises(ProofError):
        parse_submission(start + bytes(note(90)))


def test_what_is_too_large_is_not_read() -> None:
    with pytest.raises(ProofError, match="are read"):
        parse_submission(b"x" * 200_000)


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read_back_to_the_byte(data: bytes) -> None:
    try:
        read = parse_submission(data)
    except ProofError:
        return
    assert bytes(read) == data
