"""The write-ahead log stays small, and nobody waits for its sake."""

from __future__ import annotations

import os
import time
from itertools import pairwise

import pytest

from keyturn.ledger.lock import held
from keyturn.ledger.place import Place
from keyturn.ledger.writer import Reader
from tests.ledger.world import Uses, opened, raw, surroundings, use, used, verified

LIMIT = 300_000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truncate early."""
    monkeypatch.setattr("keyturn.ledger.writer.WAL_LIMIT", LIMIT)


def size(place: Place) -> int:
    wal = place.database.with_name("ledger.db-wal")
    return wal.stat().st_size if wal.exists() else 0


def test_the_wal_grows_to_four_mebibytes_and_is_then_truncated_once(place: Place) -> None:
    sizes = [0]
    with opened(place) as ledger:
        for _ in range(80):
            ledger.transact(lambda tx: use(tx, plan=os.urandom(60_000)))
            sizes.append(size(place))
        assert used(ledger) == 80
    shrank = [after for before, after in pairwise(sizes) if after < before]
    assert shrank == [0]
    assert 4 * 2**20 - 100_000 < max(sizes) <= 4 * 2**20
    assert len(verified(place)) == 83


@pytest.mark.usefixtures("small")
def test_a_reader_in_the_middle_neither_delays_a_commit_nor_loses_its_view(place: Place) -> None:
    reader = Reader(place, Uses, surroundings())
    with opened(place) as ledger:
        ledger.transact(use)

        def look() -> tuple[int, float]:
            started = time.monotonic()
            for _ in range(12):
                ledger.transact(lambda tx: use(tx, plan=os.urandom(60_000)))
            return size(place), time.monotonic() - started

        seen = reader.look(lambda view: (look(), view.state.uses, view.entries(0)))
        (grown, took), uses, entries = seen
        assert grown > LIMIT
        assert took < 4
        assert (uses, len(entries)) == ({"claude": 1}, 4)
        assert ledger.transact(use).seq == 16
        assert size(place) == 0
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
