"""Erased payloads: no byte of them is left in the files, and their absence is believed if an entry says so."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keyturn.ledger.erasing import sweep, traces
from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable
from keyturn.ledger.place import Place
from keyturn.ledger.schema import TABLES, check_schema, open_reader
from keyturn.ledger.transaction import Transaction
from keyturn.log.entry import Entry
from keyturn.model.errors import LedgerError
from tests.ledger.test_keychain import ACT
from tests.ledger.world import found_ledger, opened, raw, tamper, use, verified

FIELD = "argument.words"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return found_ledger(tmp_path / "state").place


def erase(tx: Transaction[Any], entry: Entry, field: str = FIELD) -> Entry:
    """Delete a payload and say so: who may, the fold says, and this one lets everybody."""
    tx.erase(entry, field)
    return tx.append("payload.erased", {"entry": entry.seq, "field": field, "basis": "test", "act": ACT})


def salt_of(place: Place, seq: int) -> bytes:
    with raw(place) as db:
        found: bytes = db.execute("SELECT salt FROM payload WHERE seq = ?", (seq,)).fetchone()[0]
    return found


def found_in(folder: Path, needle: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def test_nothing_of_what_was_erased_is_left_in_any_file(place: Place) -> None:
    """Payloads of many lengths, some over several pages, erased in another order than they were written."""
    words = {number: os.urandom(random.Random(number).choice((20, 300, 3000, 20_000))) for number in range(60)}
    with opened(place) as ledger:
        written = {
            number: ledger.transact(lambda tx, text=text: use(tx, words=text))  # type: ignore[misc]  # of this round
            for number, text in words.items()
        }
        salts = {number: salt_of(place, entry.seq) for number, entry in written.items()}
        gone = random.Random(7).sample(sorted(written), 40)
        for number in gone:
            ledger.transact(lambda tx, number=number: erase(tx, written[number]))  # type: ignore[misc]  # likewise
    sweep(place, "tests")
    assert place.database.with_name("ledger.db-wal").exists() is False
    for number in gone:
        for needle in (salts[number], words[number][:16], words[number][-16:]):
            assert found_in(place.folder, needle) == []
    assert traces(place.folder, [salts[number] for number in gone]) == []
    kept = next(number for number in words if number not in gone)
    assert traces(place.folder, [salts[kept]]) == [place.database]
    with opened(place) as ledger:
        assert ledger.look(lambda view: view.payload(written[kept], FIELD)) == words[kept]
    assert len(verified(place)) == 3 + 60 + 40


def test_readers_cope_with_an_erased_payload_and_a_scrub_accepts_its_absence(place: Place) -> None:
    with opened(place) as ledger:
        entry = ledger.transact(lambda tx: use(tx, words=b"secret", other=b"kept"))
        ledger.transact(lambda tx: erase(tx, entry))
        assert ledger.look(lambda view: view.payload(entry, FIELD)) is None
        assert ledger.look(lambda view: view.opening(entry, FIELD)) is None
        assert ledger.look(lambda view: view.erased(entry, FIELD))
        assert not ledger.look(lambda view: view.erased(entry, "argument.other"))
        assert not ledger.look(lambda view: view.erased(entry, "argument.never"))
        assert ledger.scrub(0, 100) == 0


def test_the_file_defines_the_same_as_before(place: Place) -> None:
    with opened(place) as ledger:
        entry = ledger.transact(lambda tx: use(tx, words=b"secret", other=b"kept"))
        ledger.transact(lambda tx: erase(tx, entry))
        with raw(place) as db:
            check_schema(db, TABLES)
            with pytest.raises(sqlite3.IntegrityError, match="never removed"):
                db.execute("DELETE FROM payload")
    sweep(place, "tests")
    with closing(open_reader(place.database)) as reader:
        check_schema(reader, TABLES)


def test_other_processes_go_on_after_an_erasure(place: Place) -> None:
    with opened(place) as writer, opened(place) as other:
        entry = writer.transact(lambda tx: use(tx, words=b"secret"))
        assert other.look(lambda view: view.payload(entry, FIELD)) == b"secret"
        writer.transact(lambda tx: erase(tx, entry))
        assert other.look(lambda view: view.payload(entry, FIELD)) is None
        sweep(place, "tests")
        other.transact(use)
        assert writer.transact(use).seq == 6


def test_an_absence_that_no_entry_records_is_a_failure(place: Place) -> None:
    with opened(place) as ledger:
        entry, other = (ledger.transact(lambda tx: use(tx, words=b"secret")) for _ in range(2))
        ledger.transact(lambda tx: erase(tx, other))
    tamper(place, ("DELETE FROM payload WHERE seq = ?", (entry.seq,)))
    with opened(place) as ledger, pytest.raises(LedgerBroken, match=f"entry {entry.seq}: payload {FIELD} is missing"):
        ledger.look(lambda view: view.payload(entry, FIELD))
    with opened(place) as ledger, pytest.raises(LedgerBroken, match=f"entry {entry.seq}: payload"):
        ledger.scrub(0, 100)


def test_a_payload_that_was_changed_is_a_failure_although_an_entry_says_that_it_was_erased(place: Place) -> None:
    with opened(place) as ledger:
        entry = ledger.transact(lambda tx: use(tx, words=b"secret"))
        ledger.transact(lambda tx: erase(tx, entry))
    tamper(place, ("INSERT INTO payload VALUES (?, ?, ?, ?)", (entry.seq, FIELD, bytes(32), b"other")))
    with opened(place) as ledger, pytest.raises(LedgerBroken, match="missing or was changed"):
        ledger.scrub(0, 100)


def test_what_is_not_there_cannot_be_erased_and_the_entry_is_not_written(place: Place) -> None:
    with opened(place) as ledger:
        entry = ledger.transact(lambda tx: use(tx, words=b"secret"))
        with pytest.raises(LedgerError, match=f"entry {entry.seq} has no payload argument.never"):
            ledger.transact(lambda tx: erase(tx, entry, "argument.never"))
        assert ledger.look(lambda view: view.head.size) == 4
        assert ledger.look(lambda view: view.payload(entry, FIELD)) == b"secret"


def test_an_erasure_that_fails_on_the_way_deletes_nothing(place: Place) -> None:
    def job(tx: Transaction[Any]) -> None:
        erase(tx, entry)
        raise ZeroDivisionError

    with opened(place) as ledger:
        entry = ledger.transact(lambda tx: use(tx, words=b"secret"))
        with pytest.raises(ZeroDivisionError):
            ledger.transact(job)
        assert ledger.look(lambda view: view.payload(entry, FIELD)) == b"secret"
        ledger.transact(use)
    with raw(place) as db:
        check_schema(db, TABLES)


def test_a_reader_that_keeps_the_log_from_being_cut_is_told_of(place: Place) -> None:
    with opened(place) as ledger:
        entry = ledger.transact(lambda tx: use(tx, words=b"secret"))
        with raw(place) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM entry").fetchone()
            ledger.transact(lambda tx: erase(tx, entry))
            with pytest.raises(LedgerUnavailable, match=r"recorded, but .* again\. What kept it: readers"):
                sweep(place, "tests")
        sweep(place, "tests")
    assert found_in(place.folder, b"secret") == []


def test_traces_are_found_in_whatever_file_they_are_and_what_cannot_be_read_is_passed_over(place: Place) -> None:
    with opened(place) as ledger:
        entry = ledger.transact(lambda tx: use(tx, words=b"secret"))
    salt = salt_of(place, entry.seq)
    (place.folder / "replaced-1").mkdir()
    copy = place.folder / "replaced-1" / "ledger.db"
    copy.write_bytes(b"x" * 10_000 + salt)
    (place.folder / "link").symlink_to(copy)
    (place.folder / "empty").touch()
    assert traces(place.folder, [salt]) == [place.database, copy]
    assert traces(place.folder, []) == []
