"""Who vouches for a ledger from outside, for how much of it and since when; and what makes a verdict PASS."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping

import pytest

from keyturn.log.tree import TILE, WIDTH, Frontier, fold_nodes, leaf_hash
from keyturn.model.errors import ConfigurationError
from keyturn.verifier import Tail, in_words
from keyturn.verifier.growth import Grown
from keyturn.verifier.source import Payload, Row
from tests.verifier.outside import NOON, Witness, fill, keep, note, proof, receipt, record_anchor, root, throttle
from tests.verifier.test_file import bad
from tests.verifier.world import Thief, World, entries, tamper

WITNESS = Witness()
SIZE = 53
NOON_TEXT = "2026-11-21T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("kept", "how"),
    [
        (lambda world: note(world, SIZE), "checkpoint"),
        (lambda world: receipt(world, SIZE - 1), "receipt"),
        (lambda world: proof(world, 7, SIZE), "proof"),
        (lambda world: proof(world, SIZE - 1, SIZE), "proof"),
    ],
    ids=["checkpoint", "receipt", "proof", "proof of the last"],
)
def test_what_was_kept_of_the_whole_ledger_makes_it_pass(
    good: World, kept: Callable[[World], bytes], how: str
) -> None:
    report = good.verify(against=[("mine.txt", kept(good))])
    assert (report.verdict, report.witnessed_size, report.unwitnessed) == ("PASS", SIZE, 0), report.first_bad
    assert report.unwitnessed_tail is None
    (voucher,) = report.vouched
    assert (voucher.size, voucher.by, voucher.how, voucher.at) == (SIZE, "mine.txt", how, None)
    assert voucher.last_at == entries(good.database)[-1].at
    assert f"  entries 0 to 52: as mine.txt has them, a {how} that was brought" in in_words(report)
    assert not any("unwitnessed" in line for line in in_words(report))


def test_what_was_kept_before_the_end_names_exactly_the_rest(good: World) -> None:
    report = good.verify(against=[("a", note(good, 20)), ("b", receipt(good, 30)), ("c", note(good, 1))])
    assert (report.verdict, report.witnessed_size, report.unwitnessed) == ("PASS-UNANCHORED", 31, SIZE - 31)
    assert report.unwitnessed_tail == Tail(31, 52)
    assert [(voucher.size, voucher.by) for voucher in report.vouched] == [(1, "c"), (20, "a"), (31, "b")]
    assert "unwitnessed: 22 entries, 31 to 52. Nobody outside" in " ".join(in_words(report))
    assert "  entry 0: as c has them, a checkpoint that was brought" in in_words(report)


def test_a_cosignature_in_a_kept_checkpoint_makes_it_pass_and_bounds_the_time(world: World) -> None:
    keep(world, SIZE, note(world, SIZE, WITNESS))
    report = world.verify(witnesses=[WITNESS.vkey])
    assert (report.verdict, report.checkpoints) == ("PASS", 1)
    (voucher,) = report.vouched
    assert (voucher.by, voucher.seconds) == (f"{WITNESS.name}+{WITNESS.key.id.hex()}", NOON)
    assert report.to_json()["vouched"][0]["at"] == NOON_TEXT
    assert any(f"entries 0 to 52 existed by {NOON_TEXT}: cosigned by" in line for line in in_words(report))


def test_a_cosignature_counts_only_when_its_witness_is_named(world: World) -> None:
    keep(world, SIZE, note(world, SIZE, WITNESS))
    report = world.verify()
    assert (report.verdict, report.witnessed_size, report.vouched) == ("PASS-UNANCHORED", 0, ())


def test_an_older_cosigned_checkpoint_leaves_the_entries_after_it_unwitnessed(world: World) -> None:
    keep(world, 40, note(world, 40, WITNESS))
    keep(world, SIZE, note(world, SIZE))
    report = world.verify(witnesses=[WITNESS.vkey])
    assert (report.verdict, report.unwitnessed_tail) == ("PASS-UNANCHORED", Tail(40, 52))


def test_a_recorded_anchor_with_a_cosignature_makes_what_it_follows_pass(thief: Thief) -> None:
    record_anchor(thief, SIZE, note(thief.world, SIZE, WITNESS))
    record_anchor(thief, SIZE, note(thief.world, SIZE), anchor="mount", type="file")
    report = thief.world.verify(witnesses=[WITNESS.vkey])
    assert (report.verdict, report.witnessed_size) == ("PASS", SIZE)
    assert report.unwitnessed_tail == Tail(SIZE, SIZE + 1)
    assert [(item.anchor, item.type, item.size) for item in report.anchors] == [
        ("outside", "witness", SIZE),
        ("mount", "file", SIZE),
    ]
    told = " ".join(in_words(report))
    assert "unwitnessed: 2 entries, 53 to 54. That only says where checkpoints of what is before were brought" in told
    assert "anchor mount (file): entry 54 says that it holds a checkpoint of 53 entries" in told


def test_anything_else_after_the_last_anchor_is_not_passed_over(thief: Thief) -> None:
    record_anchor(thief, SIZE, note(thief.world, SIZE, WITNESS))
    throttle(thief)
    record_anchor(thief, SIZE, note(thief.world, SIZE, WITNESS))
    report = thief.world.verify(witnesses=[WITNESS.vkey])
    assert (report.verdict, report.unwitnessed_tail) == ("PASS-UNANCHORED", Tail(SIZE, SIZE + 2))


def test_a_recorded_anchor_without_a_named_witness_is_only_the_ledgers_word(thief: Thief) -> None:
    record_anchor(thief, SIZE, note(thief.world, SIZE, WITNESS))
    report = thief.world.verify()
    assert (report.verdict, report.witnessed_size) == ("PASS-UNANCHORED", 0)
    assert [item.anchor for item in report.anchors] == ["outside"]


def test_an_anchor_of_long_ago_is_held_against_the_tree_of_its_size(thief: Thief) -> None:
    fill(thief.world, 700)
    for size in (300, 699, 1):
        record_anchor(thief, size, note(thief.world, size, WITNESS))
    report = thief.world.verify(witnesses=[WITNESS.vkey])
    assert (report.verdict, report.witnessed_size) == ("PASS-UNANCHORED", 699), report.first_bad
    assert [voucher.size for voucher in report.vouched] == [300, 699, 1]
    assert report.vouched[2].last_at == entries(thief.world.database)[0].at


@pytest.mark.parametrize(
    ("facts", "spoil"),
    [
        ({"root": "0" * 64}, None),
        ({"size": 20}, None),
        ({}, lambda world: note(world, 20)),
        ({}, lambda world: note(world, SIZE).replace(b"\n53\n", b"\n+53\n")),
        ({}, lambda world: b"nothing\n"),
    ],
    ids=["another root", "another size", "another note", "no such number", "no note"],
)
def test_a_recorded_anchor_that_is_not_true_fails(
    thief: Thief, facts: dict[str, object], spoil: Callable[[World], bytes] | None
) -> None:
    data = note(thief.world, SIZE) if spoil is None else spoil(thief.world)
    forged = record_anchor(thief, SIZE, data, **facts)
    assert bad(thief.world.verify()) == (forged.seq, 14)


def test_a_recorded_anchor_without_a_note_or_with_one_that_is_no_text_fails(thief: Thief) -> None:
    facts = {"anchor": "a", "type": "file", "size": SIZE, "root": root(thief.world, SIZE).hex()}
    forged = thief.append("anchor.recorded", facts, data={"anchor.note": b"{}"})
    assert bad(thief.world.verify()) == (forged.seq, 14)
    tamper(thief.world.database, "DELETE FROM payload WHERE seq = 53", "DELETE FROM entry WHERE seq = 53")
    assert bad_of_no_note(thief, facts) == (SIZE, 14)


def bad_of_no_note(thief: Thief, facts: dict[str, object]) -> tuple[int | None, int]:
    thief.append("anchor.recorded", facts)
    return bad(thief.world.verify())


def test_a_recorded_anchor_of_more_entries_than_there_were_fails(thief: Thief) -> None:
    facts = {"anchor": "a", "type": "file", "size": 90, "root": "0" * 64}
    forged = thief.append("anchor.recorded", facts, data={"anchor.note": b'""'})
    assert bad(thief.world.verify()) == (forged.seq, 9)


def test_a_ledger_whose_own_clock_contradicts_a_witness_is_told(world: World) -> None:
    early = NOON - 400 * 86_400
    keep(world, SIZE, note(world, SIZE, WITNESS, time=early))
    (line,) = [one for one in in_words(world.verify(witnesses=[WITNESS.vkey])) if "existed by" in one]
    assert ", yet entry 52 says it is of 20" in line


def test_a_named_witness_whose_cosignature_is_broken_makes_a_kept_checkpoint_bad(world: World) -> None:
    data = note(world, SIZE, WITNESS)
    *lines, last = data.rstrip(b"\n").split(b"\n")
    head, encoded = last.rsplit(b" ", 1)
    raw = bytearray(base64.b64decode(encoded))
    raw[-1] ^= 1
    keep(world, SIZE, b"\n".join([*lines, head + b" " + base64.b64encode(bytes(raw))]) + b"\n")
    assert world.verify().verdict == "PASS-UNANCHORED"
    assert bad(world.verify(witnesses=[WITNESS.vkey])) == (SIZE - 1, 14)


# --- what is brought ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda envelope: envelope,
        lambda envelope: {"io.keyturn/receipt": envelope},
        lambda envelope: {"_meta": {"io.keyturn/receipt": envelope}, "content": []},
        lambda envelope: {"jsonrpc": "2.0", "id": 1, "result": {"_meta": {"io.keyturn/receipt": envelope}}},
    ],
    ids=["envelope", "member", "result", "response"],
)
def test_a_receipt_is_found_in_what_a_client_keeps(good: World, wrap: Callable[[object], dict[str, object]]) -> None:
    kept = json.dumps(wrap(json.loads(receipt(good, SIZE - 1))), indent=2).encode()
    assert good.verify(against=[("kept", kept)]).verdict == "PASS"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"{",
        b'{"payloadType": "x"}',
        b"[" * 100_000,
        b"{" + b'"result":{' * 100_000,
        b"\xff\xfe",
        b"c2sp.org/tlog-proof@v1\n",
        b"x" * (1 << 21),
        b'{"_meta": {"io.keyturn/receipt": 7}}',
    ],
    ids=["nothing", "no envelope", "cut", "another type", "lists", "deep", "not text", "no proof", "long", "number"],
)
def test_what_is_neither_note_nor_receipt_nor_proof_gets_no_verdict(good: World, data: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"mine\.bin"):
        good.verify(against=[("mine.bin", data)])


def test_a_proof_of_an_entry_beyond_its_checkpoint_is_none(good: World) -> None:
    beyond = proof(good, 7, SIZE).replace(b"index 7\n", b"index 53\n")
    with pytest.raises(ConfigurationError, match="entry 53 is not among the 53"):
        good.verify(against=[("mine", beyond)])


def test_a_proof_that_leads_elsewhere_fails(good: World) -> None:
    assert bad(good.verify(against=[("mine", proof(good, 7, SIZE).replace(b"index 7\n", b"index 8\n"))])) == (52, 15)


def test_a_receipt_whose_signature_was_changed_is_not_taken(good: World) -> None:
    kept = json.loads(receipt(good, 30))
    kept["signatures"][0]["sig"] = base64.b64encode(bytes(64)).decode()
    assert bad(good.verify(against=[("mine", json.dumps(kept).encode())])) == (30, 15)


@pytest.mark.parametrize(
    ("vkey", "words"),
    [
        ("nonsense", "has the form"),
        (WITNESS.vkey.replace("+", "-", 1), "8 hex"),
        (WITNESS.vkey[:-4] + "AAAA", "witness is none"),
    ],
)
def test_a_witness_key_that_is_none_gets_no_verdict(good: World, vkey: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        good.verify(witnesses=[vkey])


def test_a_witness_named_twice_is_one(good: World) -> None:
    assert good.verify(witnesses=[WITNESS.vkey, f" {WITNESS.vkey}\n"]).verdict == "PASS-UNANCHORED"


def test_a_tree_is_worked_out_at_any_size_it_had(good: World) -> None:
    fill_to = 70_000
    grown = Grown(_Leaves(fill_to))
    for seq in range(fill_to):
        grown.add(leaf_hash(b"%d" % seq))
        if seq % 16 == 0:
            grown.root(seq + 1)  # remembered, more of them than are kept
    for size in (1, 255, 256, 257, 65_536, 65_537, 69_999, fill_to):
        edge = Frontier()
        for seq in range(size):
            edge.add(leaf_hash(b"%d" % seq))
        assert grown.root(size) == edge.root(), size


def test_a_long_ledger_of_checkpoints_lists_the_newest_who_vouch(world: World) -> None:
    fill(world, 1100)
    for size in range(1, 1101):
        keep(world, size, note(world, size, WITNESS))
    report = world.verify(witnesses=[WITNESS.vkey])
    assert (report.verdict, report.checkpoints, len(report.vouched)) == ("PASS", 1100, 1000)
    assert report.omitted["vouched"] == 100
    assert report.vouched[-1].size == 1100


class _Leaves:
    """A source of entries that are numbers, with the subtrees over them."""

    opened = "as numbers"

    def __init__(self, size: int) -> None:
        self.size = size

    def rows(self) -> Iterator[Row]:
        return (self.row(seq) for seq in range(self.size))

    def row(self, seq: int) -> Row:
        return Row(seq=seq, body=b"%d" % seq, signature=b"", leaf=b"", payloads={})

    def payloads(self, seq: int) -> Mapping[str, Payload]:
        return {}

    def erased(self) -> Iterator[tuple[int, str]]:
        return iter(())

    def withholds(self, seq: int, field: str) -> bool:
        return False

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        return iter(())

    def subtree(self, level: int, index: int) -> bytes:
        if level == TILE:
            first = index * WIDTH
            return fold_nodes([leaf_hash(b"%d" % seq) for seq in range(first, first + WIDTH)])
        return fold_nodes([self.subtree(level - TILE, index * WIDTH + place) for place in range(WIDTH)])

    def subtrees(self) -> int:
        return self.size // WIDTH
