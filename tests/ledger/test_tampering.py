"""Whoever edits, cuts or forges entries by hand stops every process that follows the ledger."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable
from keyturn.ledger.head import HeadRecord, read_head, remake_head, write_head
from keyturn.ledger.place import Place
from keyturn.ledger.writer import Ledger, Reader
from tests.ledger.processes import append_for_ever, running, told
from tests.ledger.world import (
    DIGEST,
    Clock,
    Uses,
    body_at,
    entry_key,
    forged,
    found_ledger,
    opened,
    raw,
    surroundings,
    tamper,
    use,
    used,
    verified,
)

LAST = 12  # the newest entry in these tests


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A ledger of LAST + 1 entries."""
    place = found_ledger(tmp_path / "state").place
    with opened(place) as ledger:
        for number in range(3, LAST + 1):
            ledger.transact(partial(use, principal=f"p{number}", plan=b"kept apart"))
    return place


def edit_body(place: Place) -> None:
    body = body_at(place, 5).replace(b'"count":1', b'"count":2')
    tamper(place, ("UPDATE entry SET body = ? WHERE seq = 5", (body,)))


def edit_body_and_leaf(place: Place) -> None:
    tamper(place, forged(place, body_at(place, 5).replace(b'"count":1', b'"count":2'), 5))


def edit_leaf(place: Place) -> None:
    tamper(place, ("UPDATE entry SET leaf = ? WHERE seq = 5", (bytes(32),)))


def edit_first(place: Place) -> None:
    tamper(place, ("UPDATE entry SET body = ? WHERE seq = 0", (body_at(place, 0).replace(b'"v":1', b'"v":2'),)))


def spoil_body(place: Place) -> None:
    tamper(place, ("UPDATE entry SET body = ? WHERE seq = 5", (b"{}",)))


def delete_last(place: Place) -> None:
    tamper(place, f"DELETE FROM payload WHERE seq = {LAST}", f"DELETE FROM entry WHERE seq = {LAST}")


def delete_middle(place: Place) -> None:
    tamper(place, "DELETE FROM payload WHERE seq = 7", "DELETE FROM entry WHERE seq = 7")


def rewrite_last(place: Place) -> None:
    body = body_at(place, LAST).replace(b'"count":1', b'"count":2')
    tamper(place, forged(place, body, LAST, entry_key(place)))


def next_body(place: Place, seq: int = LAST) -> bytes:
    with raw(place) as db:
        leaf = db.execute("SELECT leaf FROM entry WHERE seq = ?", (seq,)).fetchone()[0].hex()
    body = body_at(place, seq).replace(f'"seq":{seq},'.encode(), f'"seq":{seq + 1},'.encode())
    return re.sub(rb'"prev":"[0-9a-f]{64}"', b'"prev":"%b"' % leaf.encode(), body)


def forge_next(place: Place) -> None:
    tamper(place, forged(place, next_body(place), LAST + 1))


def forge_next_with_another_key(place: Place) -> None:
    other = found_ledger(place.folder.with_name("other")).place
    tamper(place, forged(place, next_body(place), LAST + 1, entry_key(other)))


def leave_a_gap(place: Place) -> None:
    body = next_body(place).replace(b'"seq":13,', b'"seq":14,')
    tamper(place, forged(place, body, LAST + 2, entry_key(place)))


def sign_what_the_fold_refuses(place: Place) -> None:
    body = next_body(place).replace(b'"code":"limit"', b'"code":"impossible"')
    tamper(place, forged(place, body, LAST + 1, entry_key(place)))


TAMPERINGS = [
    (edit_body, r"entry 5 "),
    (edit_body_and_leaf, r"entry 6\b"),
    (edit_leaf, r"entry 5 "),
    (edit_first, r"entry 0\b"),
    (spoil_body, r"entry 5\b"),
    (delete_last, r"the ledger went backwards: entry 12 was durable and is gone"),
    (delete_middle, r"entry [78]\b"),
    (rewrite_last, r"the ledger was rewritten: entry 12 is another one now"),
    (forge_next, r"entry 13: the signature is not key"),
    (forge_next_with_another_key, r"entry 13: the signature is not key"),
    (leave_a_gap, r"entry 1[34]: seq 14 stands where 13 must"),
    (sign_what_the_fold_refuses, r"entry 13: impossible"),
]
each_tampering = pytest.mark.parametrize(("change", "words"), TAMPERINGS, ids=[c.__name__ for c, _ in TAMPERINGS])


def every_call_fails(ledger: Reader[Uses], words: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: ledger.look(lambda view: view.head.size),
        lambda: ledger.scrub(0, 1),
    ]
    if isinstance(ledger, Ledger):
        calls = [lambda: ledger.transact(use), *calls, lambda: ledger.transact(use)]
    messages = set()
    for call in calls:
        with pytest.raises(LedgerBroken, match=words) as caught:
            call()
        messages.add(str(caught.value))
    assert len(messages) == 1


@each_tampering
def test_tampering_while_a_ledger_is_open_stops_it_for_good(
    change: Callable[[Place], None], words: str, place: Place
) -> None:
    with opened(place) as ledger:
        ledger.look(lambda view: view.head)
        change(place)
        every_call_fails(ledger, words)


@each_tampering
def test_tampering_while_a_reader_is_open_stops_it_for_good(
    change: Callable[[Place], None], words: str, place: Place
) -> None:
    reader = Reader(place, Uses, surroundings())
    reader.look(lambda view: view.head)
    change(place)
    every_call_fails(reader, words)
    reader.close()


@each_tampering
def test_tampering_before_opening_is_met_at_the_first_call(
    change: Callable[[Place], None], words: str, place: Place
) -> None:
    change(place)
    with opened(place) as ledger:
        every_call_fails(ledger, words)
    reader = Reader(place, Uses, surroundings())
    every_call_fails(reader, words)
    reader.close()


def test_a_genesis_whose_signature_was_changed_is_met_at_the_first_call(place: Place) -> None:
    tamper(place, "UPDATE entry SET sig = zeroblob(64) WHERE seq = 1")
    with opened(place) as ledger:
        every_call_fails(ledger, "entry 1: the signature is not key")


def test_an_entry_that_adds_authority_needs_its_own_signature_whatever_vouches_for_it_later(place: Place) -> None:
    with opened(place) as ledger:
        authority = ledger.transact(lambda tx: tx.append("catalog.published", {"catalog": DIGEST, "contracts": {}}))
        ledger.transact(use)
    tamper(place, ("UPDATE entry SET sig = zeroblob(64) WHERE seq = ?", (authority.seq,)))
    with opened(place) as ledger:
        every_call_fails(ledger, f"entry {authority.seq}: the signature is not key")


def test_an_entry_that_is_not_there_is_never_made_up(place: Place) -> None:
    with opened(place) as ledger, pytest.raises(LedgerBroken, match="entry 99 is not in the ledger"):
        ledger.look(lambda view: view.entry(99))


def append_properly(place: Place) -> None:
    """Append as another process would: signed and linked."""
    with raw(place) as db:
        last = db.execute("SELECT max(seq) FROM entry").fetchone()[0]
    tamper(place, forged(place, next_body(place, last), last + 1, entry_key(place)))


@pytest.mark.parametrize("kind", [Ledger, Reader])
def test_an_edit_that_comes_together_with_a_proper_entry_is_noticed_at_the_next_call(
    kind: type[Reader[Uses]], place: Place
) -> None:
    ledger = kind(place, Uses, surroundings())
    assert ledger.look(lambda view: view.head.size) == LAST + 1
    edit_body(place)
    append_properly(place)
    every_call_fails(ledger, "entry 5 was changed or removed")
    ledger.close()


def test_an_edit_far_below_is_noticed_within_a_second_of_the_ledgers_clock(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.ledger.follower.NEAR", 2)
    clock = Clock()
    with opened(place, clock) as ledger:
        ledger.look(lambda view: view.head)
        append_properly(place)
        assert ledger.look(lambda view: view.head.size) == LAST + 2
        edit_body(place)
        append_properly(place)
        clock.run(0.999)
        assert ledger.look(lambda view: view.head.size) == LAST + 3
        clock.run(0.001)
        # Nobody has written since: that the tail is due is not forgotten.
        every_call_fails(ledger, "entry 5 was changed or removed")


def test_an_edit_below_the_tail_is_found_by_scrubbing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("TAIL", "NEAR"):
        monkeypatch.setattr(f"keyturn.ledger.follower.{bound}", 3)
    with opened(place) as ledger:
        ledger.look(lambda view: view.head)
        assert [ledger.scrub(0, 5), ledger.scrub(5, 5), ledger.scrub(10, 5)] == [5, 10, 0]
        edit_body(place)
        assert ledger.look(lambda view: view.head.size) == LAST + 1
        with pytest.raises(LedgerBroken, match="entry 5 was changed or removed"):
            ledger.scrub(0, 100)
        every_call_fails(ledger, "entry 5 was changed or removed")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE payload SET data = x'00' WHERE seq = 5", "entry 5: payload argument.plan is missing or was changed"),
        (
            "UPDATE payload SET salt = zeroblob(32) WHERE seq = 12",
            "entry 12: payload argument.plan is missing or was",
        ),
        ("DELETE FROM payload WHERE seq = 5", "entry 5: payload argument.plan is missing or was changed"),
        ("INSERT INTO payload VALUES (6, 'zzz', zeroblob(32), x'22')", "entry 6 commits to no payload 'zzz'"),
        ("INSERT INTO payload VALUES (2, 'zzz', zeroblob(32), x'22')", "entry 2 commits to no payload 'zzz'"),
        ("INSERT INTO payload VALUES (99, 'zzz', zeroblob(32), x'22')", "entry 99 commits to no payload 'zzz'"),
        ("INSERT INTO payload VALUES (-1, 'zzz', zeroblob(32), x'22')", "entry -1 commits to no payload 'zzz'"),
    ],
)
@pytest.mark.parametrize("count", [LAST + 1, 100, 4])
def test_scrubbing_finds_payloads_that_were_changed_removed_or_slipped_in(
    count: int, statement: str, words: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.ledger.writer.SCRUB_STEP", 3)

    def scrub_all(ledger: Ledger[Uses]) -> None:
        go_on = ledger.scrub(0, count)
        while go_on:
            go_on = ledger.scrub(go_on, count)

    with opened(place) as ledger:
        scrub_all(ledger)
        tamper(place, statement)
        with pytest.raises(LedgerBroken, match=words):
            scrub_all(ledger)
        every_call_fails(ledger, words)


SMUGGLED = [
    "CREATE TRIGGER evil AFTER INSERT ON entry BEGIN DELETE FROM payload WHERE seq = NEW.seq; END",
    "CREATE TABLE extra (x)",
    "CREATE VIEW entries AS SELECT * FROM entry",
    "DROP TRIGGER entry_remains",
    "DROP INDEX lookup_kind",
    "DROP TABLE lookup",
    "ALTER TABLE payload ADD COLUMN more BLOB",
]
each_smuggled = pytest.mark.parametrize("statement", SMUGGLED)


@each_smuggled
def test_a_definition_that_is_not_a_ledgers_keeps_it_from_being_opened(statement: str, place: Place) -> None:
    with raw(place) as db:
        db.execute(statement)
    for kind in (Ledger, Reader):
        with pytest.raises(LedgerBroken, match=r"is not part of a ledger|is missing; check with"):
            kind(place, Uses, surroundings())


@each_smuggled
def test_a_definition_that_is_changed_while_a_ledger_is_open_stops_it(statement: str, place: Place) -> None:
    with opened(place) as ledger:
        ledger.transact(use)
        with raw(place) as db:
            db.execute(statement)
        every_call_fails(ledger, r"is not part of a ledger|is missing; check with")


def test_a_trigger_that_takes_entries_back_never_lets_a_commit_be_acknowledged(place: Place) -> None:
    with opened(place) as ledger:
        ledger.transact(use)
        # Even where no definition in the file says so: here it acts on this connection alone.
        ledger._connection.execute("DROP TRIGGER entry_remains")
        ledger._connection.execute("DROP TRIGGER payload_remains")
        ledger._connection.execute(
            "CREATE TEMP TRIGGER evil AFTER INSERT ON main.entry BEGIN DELETE FROM entry WHERE seq = NEW.seq; END"
        )
        ledger._follower._schema = ledger._connection.execute("PRAGMA schema_version").fetchone()[0]
        every_call_fails(ledger, "entries from 14 on were not stored as they were appended")


def test_scrubbing_in_parts_checks_the_links_between_the_parts(place: Place) -> None:
    body = re.sub(rb'"prev":"[0-9a-f]{64}"', b'"prev":"%b"' % (b"0" * 64), body_at(place, LAST))
    with opened(place) as ledger:
        tamper(place, forged(place, body, LAST, entry_key(place)))
        assert ledger.scrub(0, LAST) == LAST
        with pytest.raises(LedgerBroken, match="entry 12 does not follow the one before"):
            ledger.scrub(LAST, LAST)


def test_what_another_process_appended_is_followed(place: Place) -> None:
    reader = Reader(place, Uses, surroundings())
    with opened(place) as ledger, opened(place) as other:
        assert used(ledger) == used(other) == 0
        assert other.transact(use).seq == LAST + 1
        assert ledger.transact(lambda tx: (tx.state.uses["claude"], use(tx).seq)) == (1, LAST + 2)
        assert used(other) == 2
        assert reader.look(lambda view: (view.state.uses["claude"], view.head.size)) == (2, LAST + 3)
    reader.close()


def test_an_entry_that_a_mistake_in_the_fold_cannot_take_is_never_skipped(place: Place) -> None:
    reader = Reader(place, Uses, surroundings())
    reader.look(lambda view: view.head)
    body = next_body(place).replace(b'"code":"limit"', b'"code":"bug"')
    tamper(place, forged(place, body, LAST + 1, entry_key(place)))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            reader.look(lambda view: view.head)
    reader.close()


def test_a_ledger_cut_back_to_an_earlier_copy_is_refused(place: Place, tmp_path: Path) -> None:
    copy = tmp_path / "earlier.db"
    shutil.copy(place.database, copy)
    with opened(place) as ledger:
        ledger.transact(use)
    assert not place.database.with_name("ledger.db-wal").exists()
    shutil.copy(copy, place.database)
    with opened(place) as ledger:
        every_call_fails(ledger, "the ledger went backwards: entry 13 was durable and is gone")


@pytest.mark.parametrize(
    "garbage",
    [b"", b"nothing", b"\xff" * 98, b"0000000000000013 abc abc\n", b"x" * 16 + b" " + b"0" * 64 + b" " + b"0" * 16],
)
def test_a_head_record_that_cannot_be_understood_is_refused_saying_what_to_do(garbage: bytes, place: Place) -> None:
    place.head.write_bytes(garbage)
    with opened(place) as ledger:
        every_call_fails(ledger, r"head cannot be understood; if `keyturn audit verify` passes .* --head`")
    assert remake_head(place, "tests") == read_head(place.head)
    with opened(place) as ledger:
        entry = ledger.transact(use)
    assert read_head(place.head) == HeadRecord(entry.seq + 1, entry.leaf)


def test_a_tail_that_was_cut_together_with_the_head_record_is_refused_until_somebody_answers_for_it(
    place: Place,
) -> None:
    delete_last(place)
    tamper(place, f"DELETE FROM lookup WHERE seq = {LAST}")
    place.head.unlink()
    words = r"head is missing: nothing says whether entries were cut off .* --head`"
    for kind in (Ledger, Reader):
        ledger = kind(place, Uses, surroundings())
        every_call_fails(ledger, words)
        ledger.close()
    leaf = verified(place)[-1].leaf
    assert remake_head(place, "tests") == read_head(place.head) == HeadRecord(LAST, leaf)
    with opened(place) as ledger:
        assert ledger.transact(use).seq == LAST


def test_a_head_record_is_not_made_again_over_a_ledger_that_was_edited(place: Place) -> None:
    edit_body(place)
    before = place.head.read_bytes()
    with pytest.raises(LedgerBroken, match="entry 5 was changed or removed"):
        remake_head(place, "tests")
    assert place.head.read_bytes() == before


def test_a_head_record_that_cannot_be_read_is_no_verdict_about_the_ledger(place: Place) -> None:
    kept = place.head.read_bytes()
    place.head.unlink()
    place.head.mkdir()
    with opened(place) as ledger:
        with pytest.raises(LedgerUnavailable, match="make it readable for this account"):
            ledger.transact(use)
        place.head.rmdir()
        place.head.write_bytes(kept)
        assert ledger.transact(use).seq == LAST + 1


def test_an_older_head_record_is_no_harm(place: Place) -> None:
    first = verified(place)[0]
    write_head(place.head, HeadRecord(1, first.leaf))
    with opened(place) as ledger:
        assert ledger.transact(use).seq == LAST + 1


def test_readers_that_open_while_others_write_never_take_a_new_entry_for_a_lost_one(place: Place) -> None:
    with running(append_for_ever, place, "busy") as (_, said):
        assert told(said) == "ready"
        for _ in range(60):
            seq, leaf = told(said)
            reader = Reader(place, Uses, surroundings())
            entries = reader.look(lambda view: view.entries(0))
            assert entries[seq].leaf == leaf
            reader.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE payload SET data = x'00' WHERE seq = 5",
        "UPDATE payload SET salt = zeroblob(32) WHERE seq = 5",
        "DELETE FROM payload WHERE seq = 5",
    ],
)
def test_a_payload_that_was_changed_or_removed_is_never_handed_out(statement: str, place: Place) -> None:
    tamper(place, statement)
    with opened(place) as ledger:
        assert ledger.look(lambda view: view.payload(view.entry(6), "argument.plan")) == b"kept apart"
        with pytest.raises(LedgerBroken, match=r"entry 5: payload argument.plan is missing or was changed"):
            ledger.look(lambda view: view.payload(view.entry(5), "argument.plan"))
        every_call_fails(ledger, "entry 5: payload argument.plan")


def test_triggers_keep_an_honest_hand_from_changing_entries_and_payloads(place: Place) -> None:
    statements = (
        "UPDATE entry SET body = x'00'",
        "DELETE FROM entry",
        "INSERT INTO entry SELECT seq + 5, body, sig, leaf FROM entry WHERE seq = 12",
        "UPDATE payload SET data = x'00'",
        "DELETE FROM payload",
    )
    with raw(place) as db:
        for statement in statements:
            with pytest.raises(sqlite3.IntegrityError, match=r"never|follows the last one"):
                db.execute(statement)


def test_another_program_that_keeps_the_database_locked_is_named_as_the_reason(place: Place) -> None:
    with opened(place) as ledger:
        ledger._connection.execute("PRAGMA busy_timeout = 20")
        with raw(place) as db:
            db.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerUnavailable, match="another program keeps the database locked"):
                ledger.transact(use)
            db.execute("ROLLBACK")
        assert ledger.transact(use).seq == LAST + 1
