"""The write-ahead log stays small, and nobody waits for its sake."""

from __future__ import annotations

import os
import time
from itertools import pairwise

import pytest

from keyturn.ledger.lock import held
from keyturn.ledger.place import Place
from keyturn.ledger.writer import Ledger, Reader
from tests.ledger.world import Uses, opened, raw, surroundings, use, used, verified

LIMIT = 300_000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fold early."""
    monkeypatch.setattr("keyturn.ledger.writer.WAL_LIMIT", LIMIT)


def size(place: Place) -> int:
    wal = place.database.with_name("ledger.db-wal")
    return wal.stat().st_size if wal.exists() else 0


def filled(ledger: Ledger[Uses], place: Place, count: int) -> list[int]:
    """Append entries of 60 kB and return the sizes the WAL had after each."""
    sizes = []
    for _ in range(count):
        ledger.transact(lambda tx: use(tx, plan=os.urandom(60_000)))
        sizes.append(size(place))
    return sizes


def test_the_wal_grows_to_four_mebibytes_and_is_then_written_again_from_its_beginning(place: Place) -> None:
    one = 100_000  # bytes of WAL that one of these entries takes, at most
    with opened(place) as ledger:
        sizes = filled(ledger, place, 200)
        assert used(ledger) == 200
    assert all(after >= before for before, after in pairwise(sizes))
    assert 4 * 2**20 < max(sizes) <= 4 * 2**20 + 3 * one
    assert sum(after == before for before, after in pairwise(sizes)) > 100
    assert len(verified(place)) == 203


def test_two_processes_keep_one_wal_short(place: Place) -> None:
    with opened(place) as ledger, opened(place) as another:
        for _ in range(10):
            sizes = [*filled(ledger, place, 15), *filled(another, place, 15)]
        assert used(ledger) == used(another) == 300
    assert max(sizes) < 5 * 2**20


@pytest.mark.usefixtures("small")
def test_a_wal_that_has_become_twice_too_long_gives_its_space_back(place: Place) -> None:
    reader = Reader(place, Uses, surroundings())
    with opened(place) as ledger:
        grown = reader.look(lambda view: filled(ledger, place, 12))
        assert grown[-1] > 2 * LIMIT
        ledger.transact(use)
        assert size(place) == 0
    reader.close()


@pytest.mark.usefixtures("small")
def test_a_reader_in_the_middle_neither_delays_a_commit_nor_loses_its_view(place: Place) -> None:
    reader = Reader(place, Uses, surroundings())
    with opened(place) as ledger:
        ledger.transact(use)

        def look() -> tuple[int, float]:
            started = time.monotonic()
            return filled(ledger, place, 4)[-1], time.monotonic() - started

        seen = reader.look(lambda view: (look(), view.state.uses, view.entries(0)))
        (grown, took), uses, entries = seen
        assert grown > LIMIT
        assert took < 4
        assert (uses, len(entries)) == ({"claude": 1}, 4)
        assert ledger.transact(use).seq == 8
        assert size(place) > grown
        assert ledger.transact(use).seq == 9
        assert max(filled(ledger, place, 4)) < 2 * grown
    reader.close()


def test_closing_folds_the_wal_into_the_file(place: Place) -> None:
    with opened(place) as ledger:
        ledger.transact(use)
        assert size(place) > 0
    assert size(place) == 0
    assert [path.name for path in place.folder.iterdir() if "ledger.db" in path.name] == ["ledger.db"]
    with raw(place) as db:
        assert db.execute("SELECT count(*) FROM entry").fetchone()[0] == 4


def test_a_lock_that_cannot_be_had_leaves_the_file_as_it_is_at_closing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(place) as ledger:
        ledger.transact(use)
        monkeypatch.setattr("keyturn.ledger.lock.held.__wrapped__.__defaults__", (0.05,))
        with held(place.lock, "another"):
            ledger.close()
        assert size(place) > 0
        assert used(ledger) == 1


def test_a_wal_whose_size_cannot_be_asked_takes_no_acknowledgement_back(place: Place) -> None:
    with opened(place) as ledger:
        ledger.transact(use)
        wal = place.database.with_name("ledger.db-wal")
        moved = place.folder / "moved"
        wal.rename(moved)
        assert ledger.transact(use).seq == 4
        moved.rename(wal)
        assert ledger.transact(use).seq == 5
