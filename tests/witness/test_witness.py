"""A witness: answers as the specification says, never cosigns two heads that contradict, whatever races or dies."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from keyturn.log.checkpoint import Checkpoint
from keyturn.log.note import COSIGNATURE, Note, parse_note, parse_note_key, verify_note
from keyturn.log.proof import Submission
from keyturn.log.tree import consistency_proof, leaf_hash, root_of
from keyturn.model.errors import ConfigurationError, LedgerError
from keyturn.witness.answering import SIZE, Cosigner, Reply, Witness
from keyturn.witness.store import Store, create_store
from tests.log.test_note import Signer

PUBLIC = Path(__file__).parent.parent / "vectors" / "public"
LOG = Signer("shop/" + "0" * 32)
OTHER = Signer("bank/" + "1" * 32, 3)
KEY = Signer("witness.example/w1", 2, COSIGNATURE)
NOW = 1_795_000_000


class Tree:
    """A log's leaves, of which there may be two that differ from some leaf on."""

    def __init__(self, fork: int = 10**9) -> None:
        self.leaves = [leaf_hash(b"%d" % (number if number < fork else -number)) for number in range(255)]

    def nodes(self, level: int, first: int, count: int) -> Sequence[bytes]:
        assert level == 0
        return self.leaves[first : first + count]

    def note(self, size: int, signer: Signer = LOG) -> Note:
        text = Checkpoint(signer.key.name, size, root_of(size, self.nodes)).text
        return Note(text, (signer.sign(text),))

    def submission(self, old: int, size: int, signer: Signer = LOG) -> bytes:
        proof = tuple(consistency_proof(old, size, self.nodes)) if 0 < old <= size else ()
        return bytes(Submission(old, proof, self.note(size, signer)))


TREE, FORKED = Tree(), Tree(fork=5)


def witness_at(path: Path) -> Witness:
    trusted = {LOG.key.name: [LOG.key], OTHER.key.name: [OTHER.key]}
    return Witness(Store(path), trusted, [Cosigner(KEY.key, KEY.private.sign)], lambda: NOW)


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    create_store(tmp_path / "witness.db")
    return tmp_path / "witness.db"


@pytest.fixture
def witness(memory: Path) -> Witness:
    return witness_at(memory)


def signed(reply: Reply, note: Note) -> list[int | None]:
    assert reply.status == 200, reply
    whole = parse_note(bytes(note) + reply.body)
    return [one.time for one in verify_note(whole, [KEY.key])]


def test_growth_is_cosigned_step_by_step(witness: Witness) -> None:
    for old, size in ((0, 1), (1, 2), (2, 100), (100, 200), (200, 255)):
        assert signed(witness.add_checkpoint(TREE.submission(old, size)), TREE.note(size)) == [NOW]
    assert [(one.origin, one.size) for one in witness.store.latest()] == [(LOG.key.name, 255)]


def test_the_same_checkpoint_is_cosigned_again(witness: Witness) -> None:
    witness.add_checkpoint(TREE.submission(0, 7))
    assert signed(witness.add_checkpoint(TREE.submission(7, 7)), TREE.note(7)) == [NOW]


def test_a_log_signed_elsewhere_is_cosigned_from_its_vectors(memory: Path) -> None:
    case = json.loads((PUBLIC / "witness" / "monkeys.json").read_text())
    log = parse_note_key(case["log_vkey"])
    witness = Witness(Store(memory), {"monkeys": [log]}, [Cosigner(KEY.key, KEY.private.sign)], lambda: NOW)
    first, second = (parse_note(case[name].encode()) for name in ("init", "next"))
    assert signed(witness.add_checkpoint(bytes(Submission(0, (), first))), first) == [NOW]
    proof = tuple(bytes.fromhex(step) for step in case["consistency_hex"])
    wrong = witness.add_checkpoint(bytes(Submission(5, proof[:-1], second)))
    assert wrong.status == 422
    assert signed(witness.add_checkpoint(bytes(Submission(5, proof, second))), second) == [NOW]


REFUSED: list[tuple[str, int, bytes]] = [
    ("another size than it saw last", 409, TREE.submission(8, 20)),
    ("from nothing, though it saw something", 409, TREE.submission(0, 20)),
    ("a smaller tree", 409, TREE.submission(5, 6)),
    ("an old size above the new one", 400, TREE.submission(10, 9)),
    ("a forked tree of the same size", 409, FORKED.submission(10, 10)),
    ("a forked tree that grew", 422, FORKED.submission(10, 20)),
    ("no proof", 422, bytes(Submission(10, (), TREE.note(20)))),
    ("a proof that is none", 422, bytes(Submission(10, (bytes(32),) * 5, TREE.note(20)))),
    ("a proof where none is needed", 422, bytes(Submission(10, (bytes(32),), TREE.note(10)))),
    ("an unknown log", 404, TREE.submission(0, 20, Signer("nobody/" + "2" * 32))),
    ("a known log signed by a stranger", 403, TREE.submission(10, 20, Signer(LOG.key.name, 9))),
    ("no checkpoint", 400, b"old 10\n\n" + bytes(Note("one line\n", (LOG.sign("one line\n"),)))),
    ("garbage", 400, b"garbage"),
    ("nothing", 400, b""),
]


@pytest.mark.parametrize(("status", "body"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_whatever_is_no_proved_growth_is_refused_and_changes_nothing(
    witness: Witness, status: int, body: bytes
) -> None:
    witness.add_checkpoint(TREE.submission(0, 10))
    before = witness.store.latest()
    reply = witness.add_checkpoint(body)
    assert reply.status == status, reply
    assert b"\xe2\x80\x94" not in reply.body
    assert (reply.content_type == SIZE) == (status == 409)
    assert reply.body == b"10\n" or status != 409
    assert witness.store.latest() == before


def test_a_tree_of_nothing_has_one_root(witness: Witness) -> None:
    def empty(root: bytes) -> bytes:
        text = Checkpoint(LOG.key.name, 0, root).text
        return bytes(Submission(0, (), Note(text, (LOG.sign(text),))))

    assert witness.add_checkpoint(empty(bytes(32))).status == 400
    assert witness.store.latest() == []
    for _ in range(2):
        assert witness.add_checkpoint(empty(hashlib.sha256().digest())).status == 200
    assert witness.add_checkpoint(empty(bytes([1]) * 32)).status == 400


def test_from_nothing_no_proof_is_taken(witness: Witness) -> None:
    assert witness.add_checkpoint(bytes(Submission(0, (bytes(32),), TREE.note(20)))).status == 422


def test_logs_are_remembered_apart(witness: Witness) -> None:
    witness.add_checkpoint(TREE.submission(0, 10))
    witness.add_checkpoint(FORKED.submission(0, 20, OTHER))
    assert sorted((one.origin[:4], one.size) for one in witness.store.latest()) == [("bank", 20), ("shop", 10)]


def _submit(memory: Path, tree: Tree, sizes: Sequence[int], gate: Any, answers: Any) -> None:
    witness = witness_at(memory)
    gate.wait()
    for size in sizes:
        reply = witness.add_checkpoint(tree.submission(1, size))
        answers.put((size, reply.status))


def test_of_two_trees_that_race_one_is_cosigned_from_every_size(memory: Path) -> None:
    witness_at(memory).add_checkpoint(TREE.submission(0, 1))
    context = multiprocessing.get_context("spawn")
    gate, answers = context.Barrier(8), context.Queue()
    racers = [
        context.Process(target=_submit, args=(memory, tree, [size], gate, answers))
        for tree, size in zip([TREE, FORKED] * 4, range(20, 28), strict=True)
    ]
    for racer in racers:
        racer.start()
    got = [answers.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(60)
    assert sorted(status for _, status in got) == [200] + [409] * 7


def _record_then_die(memory: Path, die: bool) -> None:
    witness = witness_at(memory)

    def sign(message: bytes) -> bytes:
        if die:
            os.kill(os.getpid(), signal.SIGKILL)
        return KEY.private.sign(message)

    Witness(witness.store, witness.trusted, [Cosigner(KEY.key, sign)], witness.now).add_checkpoint(
        TREE.submission(0, 10)
    )


def test_a_witness_killed_before_it_answers_has_recorded_what_it_was_about_to_sign(memory: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_record_then_die, args=(memory, True))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    witness = witness_at(memory)
    assert witness.add_checkpoint(FORKED.submission(0, 10)).status == 409
    assert witness.add_checkpoint(TREE.submission(10, 12)).status == 200


def test_a_memory_is_made_once_and_never_in_passing(memory: Path) -> None:
    with pytest.raises(ConfigurationError, match="made once"):
        create_store(memory)
    memory.unlink()
    with pytest.raises(LedgerError, match="retired with its key"):
        Store(memory)
    assert not memory.exists()


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"x" * 9000)])
def test_what_is_no_memory_of_a_witness_is_refused(memory: Path, spoil: Callable[[Path], object]) -> None:
    Store(memory)
    spoil(memory)
    with pytest.raises(LedgerError):
        Store(memory)


def test_a_memory_that_somebody_holds_signs_nothing(memory: Path, witness: Witness) -> None:
    holder = sqlite3.connect(memory, isolation_level=None)
    try:
        holder.execute("PRAGMA busy_timeout = 0")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerError, match="nothing is cosigned"):
            witness.add_checkpoint(TREE.submission(0, 10))
    finally:
        holder.close()
