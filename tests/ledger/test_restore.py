"""Putting a copy in the place of a ledger: staged beside it, one rename, the old one kept, and nobody in between."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from keyturn.canon import Json
from keyturn.ledger.copy import copy_ledger, end_of
from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable
from keyturn.ledger.head import HeadRecord, read_head, write_head
from keyturn.ledger.place import Place
from keyturn.ledger.restore import (
    accepts_loss,
    check_unused,
    discard,
    known_end,
    put_in_place,
    stage,
)
from keyturn.ledger.schema import create, open_reader
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Reader
from tests.ledger.processes import live, running, told
from tests.ledger.world import DIGEST, EPOCH, Uses, opened, surroundings, use

ACT: Json = {
    "statement": {
        "type": "keyturn.act/v1",
        "log": "tests/" + "0" * 32,
        "after": 0,
        "verb": "ledger.recover",
        "object": "restored",
        "digest": DIGEST,
        "by": "alice",
        "at": EPOCH,
    },
    "signature": "AAAA",
}


def copied(place: Place, to: Path) -> Path:
    copy_ledger(place, to)
    return to


def longer(place: Place, entries: int = 3) -> HeadRecord:
    with opened(place) as ledger:
        for _ in range(entries):
            ledger.transact(use)
    end = end_of(place.database)
    assert end is not None
    return end


def recover(staged: Place, missing: HeadRecord | None) -> HeadRecord:
    """Append what the fold of these tests does not look into: who signed is another room's concern."""

    def job(tx: Transaction[Uses]) -> None:
        lost: Json = None if missing is None else {"size": missing.size, "leaf": missing.leaf}
        here: dict[str, Json] = {"size": tx.head.size, "leaf": tx.head.leaf, "missing": lost, "clock": None}
        tx.append("recovery", {"reason": "restored", **here, "act": ACT})

    with opened(staged) as ledger:
        ledger.transact(job)
    end = end_of(staged.database)
    assert end is not None
    return end


def names(place: Place) -> list[str]:
    return sorted(path.name for path in place.folder.iterdir() if path.name.startswith("re"))


def reads(place: Place) -> HeadRecord:
    with closing(Reader(place, Uses, surroundings())) as reader:
        return reader.look(lambda view: HeadRecord(view.head.size, view.head.leaf))


def test_a_copy_takes_the_place_and_the_old_ledger_is_kept_whole(place: Place, tmp_path: Path) -> None:
    copy = copied(place, tmp_path / "copy.db")
    old = longer(place)
    staged = stage(place, copy, "one")
    new = recover(staged, old)
    placed = put_in_place(place, staged, old, "tests", "one")
    discard(staged)
    assert placed.kept == place.folder / "replaced-one"
    assert end_of(placed.kept / "ledger.db") == old == read_head(placed.kept / "head")
    assert reads(place) == new == read_head(place.head)
    assert names(place) == ["replaced-one"]
    with opened(place) as ledger:
        ledger.transact(use)


def test_the_keys_stay_where_they_are_and_no_copy_of_them_is_made(place: Place, tmp_path: Path) -> None:
    staged = stage(place, copied(place, tmp_path / "copy.db"), "one")
    assert staged.keys == place.keys
    assert not (staged.folder / "keys").exists()


def test_a_record_of_the_lost_end_is_accepted_by_the_ledger_that_names_it(place: Place, tmp_path: Path) -> None:
    """A crash between the rename and the record leaves the old record beside the new ledger."""
    copy = copied(place, tmp_path / "copy.db")
    old = longer(place)
    staged = stage(place, copy, "one")
    new = recover(staged, old)
    put_in_place(place, staged, old, "tests", "one")
    write_head(place.head, old)
    assert reads(place) == new
    with opened(place) as ledger:
        ledger.transact(use)
    assert read_head(place.head) == end_of(place.database)


@pytest.mark.parametrize("record", [HeadRecord(99, "7" * 64), HeadRecord(4, "7" * 64)])
def test_a_record_of_any_other_end_is_not(place: Place, record: HeadRecord, tmp_path: Path) -> None:
    old = longer(place)
    recover(place, old)
    with closing(open_reader(place.database)) as connection:
        assert not accepts_loss(connection, record)
    write_head(place.head, record)
    with pytest.raises(LedgerBroken, match="keyturn audit restore FILE"):
        reads(place)


def test_a_ledger_that_moved_on_while_it_was_signed_is_not_replaced(place: Place, tmp_path: Path) -> None:
    old = longer(place)
    staged = stage(place, copied(place, tmp_path / "copy.db"), "one")
    newer = longer(place)
    with pytest.raises(LedgerUnavailable, match="moved on"):
        put_in_place(place, staged, old, "tests", "one")
    assert reads(place) == newer


def look_for_ever(said: Connection, place: Place) -> None:
    """Have a ledger open for reading, as a command that waits does."""
    reader = Reader(place, Uses, surroundings())
    said.send(reader.look(lambda view: view.head.size))
    said.recv()


def test_nothing_is_replaced_while_another_process_only_reads(place: Place, tmp_path: Path) -> None:
    old = longer(place)
    staged = stage(place, copied(place, tmp_path / "copy.db"), "one")
    with running(look_for_ever, place) as (_, said):
        assert told(said) == old.size
        with pytest.raises(LedgerUnavailable, match="open in another process"):
            put_in_place(place, staged, old, "tests", "one")
    check_unused(place)
    put_in_place(place, staged, old, "tests", "one")


def test_nothing_is_replaced_while_an_executor_lives(place: Place) -> None:
    with running(live, place.run, "ab" * 16) as (_, said):
        assert told(said)
        with pytest.raises(LedgerUnavailable, match="is held by a process"):
            check_unused(place)
    check_unused(place)
    (place.run / "worker.log").write_text("not a lock")
    check_unused(place)


def test_what_a_killed_restore_left_is_seen_to_by_the_next(place: Place, tmp_path: Path) -> None:
    old = longer(place)
    stage(place, copied(place, tmp_path / "copy.db"), "dead")
    twin, lone = place.folder / "replacing-twin", place.folder / "replacing-lone"
    for folder in (twin, lone):
        folder.mkdir()
    os.link(place.database, twin / "ledger.db")
    shutil.copy(place.database, lone / "ledger.db")
    staged = stage(place, tmp_path / "copy.db", "next")
    put_in_place(place, staged, old, "tests", "next")
    discard(staged)
    assert names(place) == ["replaced-lone", "replaced-next"]


def die_at_the_last_record(said: Connection, place: Place, copy: Path, missing: HeadRecord | None) -> None:
    """Put a copy in place, and be killed when the ledger is the new one and the record is not yet its own."""
    before = known_end(place)
    staged = stage(place, copy, "dies")
    recover(staged, missing)
    placed = False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal placed
        if event == "os.rename":
            if placed:
                os.kill(os.getpid(), signal.SIGKILL)
            placed = str(arguments[1]) == str(place.database)

    sys.addaudithook(hook)
    put_in_place(place, staged, before, "tests", "dies", missing=missing)


@pytest.mark.parametrize("there", ["record behind", "record gone", "nothing", "cut"])
def test_after_a_kill_in_the_last_moment_the_new_ledger_opens_whatever_was_recorded(
    place: Place, tmp_path: Path, there: str
) -> None:
    copy = copied(place, tmp_path / "copy.db")
    behind, old = longer(place), longer(place)
    missing: HeadRecord | None = old
    match there:
        case "record behind":
            write_head(place.head, behind)
        case "record gone":
            place.head.unlink()
        case "nothing":
            place.database.unlink()
            place.head.unlink()
            missing = None
        case "cut":
            missing = HeadRecord(old.size + 7, "7" * 64)
    with running(die_at_the_last_record, place, copy, missing) as (process, _):
        process.join()
        assert process.exitcode == -signal.SIGKILL
    now = end_of(place.database)
    assert now != old
    assert reads(place) == now
    with opened(place) as ledger:
        ledger.transact(use)


def test_entries_that_only_a_killed_restore_kept_are_kept_by_the_next(place: Place, tmp_path: Path) -> None:
    old = longer(place)
    copy = copied(place, tmp_path / "copy.db")
    aside = place.folder / "replacing-dead"
    aside.mkdir()
    os.link(place.database, aside / "ledger.db")
    (aside / "ledger.db-wal").write_bytes(b"entries that are nowhere else")
    staged = stage(place, copy, "next")
    put_in_place(place, staged, old, "tests", "next")
    discard(staged)
    assert names(place) == ["replaced-dead", "replaced-next"]
    assert (place.folder / "replaced-dead" / "ledger.db-wal").read_bytes() == b"entries that are nowhere else"


def test_nothing_that_lay_beside_the_old_ledger_is_taken_for_the_new_ones(place: Place, tmp_path: Path) -> None:
    """SQLite would play the journal of a damaged file back into the new one."""
    copy = copied(place, tmp_path / "copy.db")
    place.database.write_bytes(b"nothing of it is left" * 500)
    for suffix in ("-wal", "-journal"):
        place.database.with_name(f"ledger.db{suffix}").write_bytes(b"stray")
    staged = stage(place, copy, "one")
    put_in_place(place, staged, known_end(place), "tests", "one")
    assert {path.name for path in place.folder.glob("ledger.db*")} == {"ledger.db"}
    assert (place.folder / "replaced-one" / "ledger.db-journal").read_bytes() == b"stray"
    assert reads(place) == end_of(copy)


def test_a_restored_ledger_stays_in_the_mode_in_which_readers_are_noticed(place: Place, tmp_path: Path) -> None:
    """It never leaves it on the way: that takes a journal, with which no reader opens what a kill leaves."""
    staged = stage(place, copied(place, tmp_path / "copy.db"), "one")
    recover(staged, None)
    put_in_place(place, staged, known_end(place), "tests", "one")
    with closing(open_reader(place.database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_no_ledger_or_holds_nothing_leaves_nothing_behind(place: Place, tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(b"not a ledger at all" * 100)
    with pytest.raises(LedgerBroken):
        stage(place, tmp_path / "notes", "one")
    create(tmp_path / "empty.db")
    with pytest.raises(LedgerBroken, match="holds no entry"):
        stage(place, tmp_path / "empty.db", "one")
    with pytest.raises(LedgerUnavailable):
        stage(place, tmp_path / "nowhere.db", "one")
    assert names(place) == []


def test_the_newest_end_known_is_the_later_of_ledger_and_record(place: Place) -> None:
    old = longer(place)
    assert known_end(place) == old
    later = HeadRecord(old.size + 5, "7" * 64)
    write_head(place.head, later)
    assert known_end(place) == later
    place.database.unlink()
    assert known_end(place) == later
    place.head.unlink()
    assert known_end(place) is None
