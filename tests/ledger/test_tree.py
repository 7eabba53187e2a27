"""The tree as it is kept: the same whatever wrote it, cheap to prove from, and of no use to whoever changes it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from keyturn.ledger.errors import LedgerBroken
from keyturn.ledger.place import Place
from keyturn.ledger.schema import open_reader
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.tree import Forest
from keyturn.ledger.writer import Ledger, Reader
from keyturn.log.tree import leaf_hash, node_hash, verify_consistency, verify_inclusion
from tests.ledger.world import Uses, opened, raw, surroundings, use


def leaves(place: Place) -> list[bytes]:
    with closing(open_reader(place.database)) as connection:
        return [leaf_hash(body) for (body,) in connection.execute("SELECT body FROM entry ORDER BY seq")]


def plain_root(row: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if len(row) == 1:
        return row[0]
    split = 1
    while split * 2 < len(row):
        split *= 2
    return node_hash(plain_root(row[:split]), plain_root(row[split:]))


def fill(ledger: Ledger[Uses], size: int) -> None:
    def job(tx: Transaction[Uses]) -> None:
        while tx.head.size < size:
            use(tx)

    ledger.transact(job)


@pytest.mark.parametrize("size", [3, 255, 256, 257, 511, 600])
def test_every_root_is_the_one_of_the_bodies(place: Place, ledger: Ledger[Uses], size: int) -> None:
    fill(ledger, size)
    row = leaves(place)
    with closing(open_reader(place.database)) as connection:
        for part in {1, 2, size // 2, size - 1, size}:
            assert Forest(connection).root(part) == plain_root(row[:part])


def test_proofs_of_any_entry_at_any_size_verify(place: Place, ledger: Ledger[Uses]) -> None:
    fill(ledger, 600)
    row = leaves(place)
    with closing(open_reader(place.database)) as connection:
        forest = Forest(connection)
        for seq, size in ((0, 600), (599, 600), (255, 257), (256, 257), (300, 512), (7, 8)):
            verify_inclusion(row[seq], seq, size, forest.inclusion(seq, size), forest.root(size))
        for old, size in ((1, 600), (256, 600), (257, 512), (599, 600), (600, 600)):
            verify_consistency(old, size, forest.consistency(old, size), forest.root(old), forest.root(size))


def test_many_writers_keep_one_tree(place: Place) -> None:
    with opened(place) as one, opened(place) as two:
        for writer, size in ((one, 100), (two, 256), (one, 300), (two, 512), (one, 530)):
            fill(writer, size)
        with raw(place) as db:
            assert db.execute("SELECT level, idx FROM subtree").fetchall() == [(8, 0), (8, 1)]
        assert one.look(lambda view: view.tree.root(530)) == plain_root(leaves(place))


def test_what_is_rolled_back_leaves_no_subtree(place: Place, ledger: Ledger[Uses]) -> None:
    def job(tx: Transaction[Uses]) -> None:
        while tx.head.size < 300:
            use(tx)
        raise ValueError("never mind")

    with pytest.raises(ValueError, match="never mind"):
        ledger.transact(job)
    with raw(place) as db:
        assert db.execute("SELECT count(*) FROM subtree").fetchone() == (0,)


def test_a_changed_subtree_gives_no_proof_that_verifies(place: Place, ledger: Ledger[Uses]) -> None:
    fill(ledger, 600)
    root = ledger.look(lambda view: view.tree.root(600))
    with raw(place) as db:
        db.execute("UPDATE subtree SET hash = zeroblob(32) WHERE level = 8 AND idx = 1")
    with closing(open_reader(place.database)) as connection:
        assert Forest(connection).root(600) != root
    with raw(place) as db:
        db.execute("DELETE FROM subtree WHERE idx = 0")
    with closing(open_reader(place.database)) as connection, pytest.raises(LedgerBroken, match="subtrees of level 8"):
        Forest(connection).root(600)


def test_a_row_put_there_beforehand_is_replaced(place: Place, ledger: Ledger[Uses]) -> None:
    with raw(place) as db:
        db.execute("INSERT INTO subtree (level, idx, hash) VALUES (8, 0, zeroblob(32))")
    fill(ledger, 256)
    assert ledger.look(lambda view: view.tree.root(256)) == plain_root(leaves(place))


def test_a_proof_over_entries_that_are_not_there_is_refused(ledger: Ledger[Uses]) -> None:
    with pytest.raises(LedgerBroken, match="are not all there"):
        ledger.look(lambda view: view.tree.root(view.head.size + 1))


def to_layout_1(place: Place) -> None:
    with raw(place) as db:
        db.executescript("DROP TABLE subtree; DROP TABLE checkpoint; PRAGMA user_version = 1;")


def test_a_ledger_of_the_layout_before_is_brought_up_to_this_one(place: Place) -> None:
    with opened(place) as ledger:
        fill(ledger, 600)
        root = ledger.look(lambda view: view.tree.root(600))
    to_layout_1(place)
    with pytest.raises(LedgerBroken, match="layout 1; this Keyturn knows 2: start a server or worker"):
        Reader(place, Uses, surroundings())
    with opened(place) as ledger:
        assert ledger.look(lambda view: view.tree.root(600)) == root
    Reader(place, Uses, surroundings()).close()


def test_a_layout_before_that_holds_more_than_it_should_is_left_alone(place: Place) -> None:
    to_layout_1(place)
    with raw(place) as db:
        db.execute("CREATE TRIGGER more AFTER INSERT ON entry BEGIN SELECT 1; END")
    with pytest.raises(LedgerBroken, match="trigger 'more'"):
        Ledger(place, Uses, surroundings())
    with raw(place) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            db.execute("SELECT * FROM subtree")


@pytest.mark.parametrize(("first", "finds"), [(0, True), (200, True), (255, True), (256, False)])
def test_a_subtree_that_is_not_that_of_its_entries_is_found_by_the_scrub(
    place: Place, ledger: Ledger[Uses], first: int, finds: bool
) -> None:
    fill(ledger, 600)
    with opened(place) as other:
        assert other.scrub(0, 10_000) == 0
        with raw(place) as db:
            db.execute("UPDATE subtree SET hash = zeroblob(32) WHERE level = 8 AND idx = 0")
        if not finds:
            assert other.scrub(first, 10_000) == 0
            return
        with pytest.raises(LedgerBroken, match="subtree 0 of level 8 is not that of the entries below it"):
            other.scrub(first, 10_000)
