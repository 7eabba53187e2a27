"""Attacks by who holds every key of a log, or edits its file: what is noticed, by whom, and what never says PASS."""

from __future__ import annotations

import base64
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.ledger.keys import SigningKey, make_key
from keyturn.log.chain import key_proof
from keyturn.log.envelope import ENTRY_TYPE, pae
from keyturn.log.keys import LogVerifier
from keyturn.log.note import COSIGNATURE, Note, NoteKey, NoteSignature, signature_of, to_sign
from keyturn.log.tree import leaf_hash
from keyturn.model.errors import ConfigurationError
from keyturn.verifier import Report, Tail, in_words
from tests.verifier.outside import (
    NOON,
    Witness,
    cut,
    drop_checkpoints,
    fill,
    keep,
    less,
    log_signature,
    note,
    origin,
    proof,
    receipt,
    record_anchor,
    rewrite,
    root,
    text_of,
    throttle,
)
from tests.verifier.test_file import bad
from tests.verifier.world import Thief, World, entries, raw, tamper

WITNESS = Witness()
START = 53
"""Entries of the good ledger; what follows here is what somebody would like to hide."""
SIZE = 59


@pytest.fixture(scope="session")
def told(good: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A ledger that ends with six entries of how often somebody was turned away, and keeps three checkpoints."""
    thief = Thief(good.copied(tmp_path_factory.mktemp("told")))
    assert len(thief.all) == START
    while len(thief.all) < SIZE:
        throttle(thief)
    for size in (20, START, SIZE):
        keep(thief.world, size, note(thief.world, size))
    assert thief.world.verify(pinned=thief.world.verifier).verdict == "PASS-UNANCHORED"
    return thief.world


@pytest.fixture
def story(told: World, tmp_path: Path) -> World:
    """A copy of it, to attack."""
    return told.copied(tmp_path)


def against(world: World, *data: bytes, **more: object) -> Report:
    """Verify against what was kept, with the log pinned."""
    brought = [(f"kept-{place}", item) for place, item in enumerate(data)]
    return world.verify(pinned=world.verifier, against=brought, **more)


def reason(report: Report) -> str:
    assert report.first_bad is not None
    return report.first_bad.reason


# --- a thief of all keys rewrites an entry ------------------------------------------------------------------------


@pytest.mark.parametrize("k", [53, 55, 58])
@pytest.mark.parametrize("kind", [receipt, lambda world, seq: note(world, seq + 1)], ids=["receipt", "checkpoint"])
def test_an_entry_rewritten_and_signed_anew_fails_against_anything_kept_at_or_after_it(
    story: World, k: int, kind: Callable[[World, int], bytes]
) -> None:
    kept = {seq: kind(story, seq) for seq in range(START - 1, SIZE)}
    drop_checkpoints(story)
    rewrite(story, {k: less})
    for seq, data in kept.items():
        report = against(story, data)
        if seq >= k:
            assert bad(report) == (seq, 15), seq
            assert "rewritten" in reason(report)
        else:
            assert (report.verdict, report.witnessed_size) == ("PASS-UNANCHORED", seq + 1)
            assert report.unwitnessed_tail == Tail(seq + 1, SIZE - 1)


def test_an_entry_rewritten_with_nothing_kept_elsewhere_is_never_pass(story: World) -> None:
    drop_checkpoints(story)
    rewrite(story, {55: less})
    report = story.verify(pinned=story.verifier, witnesses=[WITNESS.vkey])
    assert (report.verdict, report.witnessed_size, report.first_bad) == ("PASS-UNANCHORED", 0, None)
    assert report.unwitnessed_tail == Tail(0, SIZE - 1)


def test_several_things_kept_say_from_where_on_entries_were_rewritten(story: World) -> None:
    kept = [note(story, 40), receipt(story, 53), note(story, SIZE)]
    drop_checkpoints(story)
    rewrite(story, {56: less})
    report = against(story, *kept)
    assert bad(report) == (SIZE - 1, 15)
    assert "from entry 54 to entry 58 was rewritten" in reason(report)
    assert "the first 54 are as they were brought" in reason(report)


def test_a_rewritten_entry_fails_by_the_checkpoints_that_were_forgotten_in_the_ledger(story: World) -> None:
    rewrite(story, {55: less})
    report = story.verify()
    assert bad(report) == (SIZE - 1, 14)
    assert f"the checkpoint of {SIZE}" in reason(report)


def test_a_rewritten_entry_fails_by_the_anchors_that_were_recorded_after_it(thief: Thief) -> None:
    throttle(thief)
    anchored = record_anchor(thief, 54, note(thief.world, 54))
    rewrite(thief.world, {53: less})
    assert bad(thief.world.verify()) == (anchored.seq, 14)


def test_an_entry_before_a_review_cannot_be_rewritten_at_all(story: World) -> None:
    asked = next(entry for entry in entries(story.database) if entry.kind == "action.requested").seq
    drop_checkpoints(story)
    rewrite(story, {asked - 1: lambda fields: fields.update(up=fields["up"] + 1)})
    assert bad(story.verify())[1] == 9  # who reviewed signed the digest of what was asked


def test_a_cosigned_checkpoint_names_the_exact_end_that_nobody_saw(story: World) -> None:
    report = against(story, note(story, 56, WITNESS), witnesses=[WITNESS.vkey])
    assert (report.verdict, report.witnessed_size) == ("PASS-UNANCHORED", 56)
    assert report.unwitnessed_tail == Tail(56, 58)


# --- the end is cut off -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [30, 54, 58])
def test_a_cut_end_fails_against_one_receipt_checkpoint_or_proof(story: World, left: int) -> None:
    kept = [receipt(story, 58), note(story, SIZE), proof(story, 10, SIZE)]
    cut(story, left)
    assert story.verify(pinned=story.verifier).verdict == "PASS-UNANCHORED"
    for data in kept:
        report = against(story, data)
        assert bad(report) == (left, 15)
        assert f"entries {left} to 58 were cut off or rolled back" in reason(report)


def test_a_cut_end_with_an_older_anchor_leaves_exactly_what_nobody_saw(story: World) -> None:
    older = note(story, 40)
    cut(story, 55)
    report = against(story, older)
    assert (report.verdict, report.unwitnessed_tail) == ("PASS-UNANCHORED", Tail(40, 54))


def test_a_cut_end_fails_by_a_checkpoint_that_was_forgotten_in_the_ledger(story: World) -> None:
    last = note(story, SIZE)
    cut(story, 57)
    keep(story, SIZE, last)
    report = story.verify()
    assert bad(report) == (57, 14)
    assert f"a checkpoint of {SIZE} entries is kept" in reason(report)


def test_a_ledger_rolled_back_and_continued_past_the_anchor_fails_against_it(story: World) -> None:
    kept = [note(story, 57), receipt(story, 57), note(story, SIZE)]
    older = note(story, 54)
    cut(story, 55)
    thief = Thief(story)
    while len(thief.all) < SIZE + 5:
        throttle(thief, count=1)
    for data in kept:
        assert bad(against(story, data))[1] == 15
        assert "rolled back" in reason(against(story, data, older))
    report = against(story, older)
    assert (report.verdict, report.unwitnessed_tail) == ("PASS-UNANCHORED", Tail(54, SIZE + 4))


# --- everything replaced under the same name ----------------------------------------------------------------------


@pytest.fixture
def replaced(story: World) -> tuple[World, list[bytes]]:
    """A ledger founded anew by somebody else under the same origin, and what was kept of the true one."""
    kept = [note(story, 5, WITNESS), receipt(story, 3), proof(story, 2, 5)]
    cut(story, 4)
    log_key, entry_key = make_key(bytes([1]) * 32), make_key(bytes([2]) * 32)
    forged = World(
        database=story.database, verifier=story.verifier, people=story.people, entry_key=entry_key, log_key=log_key,
        catalog=story.catalog,
    )  # fmt: skip
    name = origin(story)
    changes: dict[int, Callable[[dict[str, object]], object]] = {
        0: lambda f: f.update(verifier=str(LogVerifier(name, log_key.public)), kid=log_key.public.kid),
        1: lambda f: f.update(added(f, name, log_key, entry_key)),
        **{seq: (lambda f: f.update(kid=entry_key.public.kid)) for seq in (2, 3)},
    }
    rewrite(forged, changes)
    return forged, kept


def added(fields: dict[str, object], name: str, log_key: SigningKey, entry_key: SigningKey) -> dict[str, object]:
    possession = entry_key.sign(key_proof(name, 1, str(fields["prev"]), entry_key.public.raw))
    text = {"key": entry_key.public.raw, "proof": possession}
    return {**{part: base64.b64encode(data).decode() for part, data in text.items()}, "kid": log_key.public.kid}


def test_a_ledger_replaced_under_its_origin_fails_against_the_pinned_key(replaced: tuple[World, list[bytes]]) -> None:
    forged, _ = replaced
    report = forged.verify(witnesses=[WITNESS.vkey])
    assert (report.verdict, report.pinned, report.witnessed_size) == ("PASS-UNANCHORED", False, 0), report.first_bad
    assert bad(forged.verify(pinned=forged.verifier)) == (0, 12)


@pytest.mark.parametrize(("which", "seq"), [(0, 0), (1, 3), (2, 0)])
def test_a_ledger_replaced_under_its_origin_fails_against_anything_kept(
    replaced: tuple[World, list[bytes]], which: int, seq: int
) -> None:
    forged, kept = replaced
    report = forged.verify(against=[("mine", kept[which])])
    assert bad(report) == (seq, 15)
    assert "replaced" in reason(report)


# --- notes that pretend -------------------------------------------------------------------------------------------


def with_line(world: World, line: NoteSignature, size: int = SIZE) -> bytes:
    text = text_of(world, size)
    return bytes(Note(text, (log_signature(world, text), line)))


def test_a_cosignature_under_a_known_name_by_another_key_vouches_for_nothing(story: World) -> None:
    other = Witness(seed=bytes([8]) * 32)
    report = against(story, witnesses=[WITNESS.vkey])
    drop_checkpoints(story)
    keep(story, SIZE, note(story, SIZE, other))
    assert against(story, witnesses=[WITNESS.vkey]) == replace(report, checkpoints=1)
    assert against(story, witnesses=[other.vkey]).verdict == "PASS"


def test_a_checkpoint_under_the_logs_name_by_another_key_fails(story: World) -> None:
    text = text_of(story, SIZE)
    forged = bytes(Note(text, (log_signature(story, text, key=make_key(bytes(32))),)))
    assert bad(against(story, forged)) == (0, 15)
    drop_checkpoints(story)
    keep(story, SIZE, forged)
    report = story.verify()
    assert bad(report) == (SIZE - 1, 14)
    assert "by another key" in reason(report)


def test_a_checkpoint_that_only_a_witness_signed_is_not_the_logs(story: World) -> None:
    text = text_of(story, SIZE)
    forged = bytes(Note(text, (WITNESS.cosign(text),)))
    assert bad(against(story, forged, witnesses=[WITNESS.vkey])) == (0, 15)
    drop_checkpoints(story)
    keep(story, SIZE, forged)
    report = against(story, witnesses=[WITNESS.vkey])
    assert bad(report) == (SIZE - 1, 14)
    assert "the log key has not signed it" in reason(report)


def test_one_key_under_two_names_is_not_two_witnesses(story: World) -> None:
    with pytest.raises(ConfigurationError, match="have one key"):
        story.verify(witnesses=[WITNESS.vkey, Witness(name="witness.example/two").vkey])


def test_two_witnesses_whose_key_ids_collide_are_refused(story: World) -> None:
    # Found by trying: two seeds whose keys have one four-byte id under this name.
    pair = [Witness(seed=seed.to_bytes(32, "big")) for seed in (98_955, 123_298)]
    assert (pair[0].key.id, pair[0].key.key) == (pair[1].key.id, pair[0].key.key)
    with pytest.raises(ConfigurationError, match="two witnesses answer to"):
        story.verify(witnesses=[one.vkey for one in pair])


def test_a_colliding_key_id_lends_nobody_a_signature(story: World) -> None:
    true, false = (Witness(seed=seed.to_bytes(32, "big")) for seed in (98_955, 123_298))
    report = against(story, note(story, SIZE, false), witnesses=[true.vkey])
    assert bad(report) == (0, 15)
    assert "does not verify" in reason(report)


def test_a_signature_of_the_log_posing_as_a_cosignature_vouches_for_nothing(story: World) -> None:
    text = text_of(story, SIZE)
    own = NoteKey(WITNESS.name, story.log_key.public, COSIGNATURE)
    posing = signature_of(own, story.log_key.sign(to_sign(text, NOON)), NOON)
    drop_checkpoints(story)
    keep(story, SIZE, with_line(story, posing))
    assert against(story, witnesses=[WITNESS.vkey]).verdict == "PASS-UNANCHORED"


def test_a_log_signature_under_a_witnesss_key_id_fails(story: World) -> None:
    text = text_of(story, SIZE)
    line = NoteSignature(WITNESS.name, WITNESS.key.id, NOON.to_bytes(8, "big") + story.log_key.sign(to_sign(text)))
    assert bad(against(story, with_line(story, line), witnesses=[WITNESS.vkey])) == (0, 15)
    drop_checkpoints(story)
    keep(story, SIZE, with_line(story, line))
    assert bad(against(story, witnesses=[WITNESS.vkey])) == (SIZE - 1, 14)


@pytest.mark.parametrize("key", ["log_key", "entry_key"])
def test_a_key_of_the_log_is_no_witness_of_it(story: World, key: str) -> None:
    own = NoteKey("witness.example/own", getattr(story, key).public, COSIGNATURE)
    with pytest.raises(ConfigurationError, match="is a key of this log"):
        story.verify(witnesses=[str(own)])


def test_a_log_key_given_as_a_witness_is_refused(story: World) -> None:
    with pytest.raises(ConfigurationError, match="not the key of a witness"):
        story.verify(witnesses=[story.verifier])


@pytest.mark.parametrize("time", [2**63, 2**64 - 1])
def test_a_cosignature_of_a_time_beyond_2_to_the_63_fails(story: World, time: int) -> None:
    message = f"cosignature/v1\ntime {time}\n{text_of(story, SIZE)}".encode()
    blob = time.to_bytes(8, "big") + WITNESS.secret.sign(message)
    data = with_line(story, NoteSignature(WITNESS.name, WITNESS.key.id, blob))
    report = against(story, data, witnesses=[WITNESS.vkey])
    assert bad(report) == (0, 15)
    assert "beyond 2**63" in reason(report)


def test_a_cosignature_of_a_time_in_no_calendar_bounds_nothing(story: World) -> None:
    report = against(story, note(story, SIZE, WITNESS, time=2**62), witnesses=[WITNESS.vkey])
    assert report.verdict == "PASS"
    assert [(one.seconds, one.at) for one in report.vouched if one.how == "cosignature"] == [(2**62, None)]
    assert any("gives no time of this calendar" in line for line in in_words(report))


def test_a_cosignature_moved_to_another_time_or_tree_fails(story: World) -> None:
    line = WITNESS.cosign(text_of(story, SIZE))
    later = NoteSignature(line.name, line.key_id, (NOON + 1).to_bytes(8, "big") + line.blob[8:])
    assert bad(against(story, with_line(story, later), witnesses=[WITNESS.vkey])) == (0, 15)
    assert bad(against(story, with_line(story, line, size=58), witnesses=[WITNESS.vkey])) == (0, 15)


def test_a_checkpoint_kept_as_one_of_another_size_fails(story: World) -> None:
    drop_checkpoints(story)
    keep(story, 30, note(story, 31))
    report = story.verify()
    assert bad(report) == (29, 14)
    assert "31 entries is kept as the one of 30" in reason(report)


def test_a_checkpoint_of_no_entries_fails_at_the_first_entry(story: World) -> None:
    drop_checkpoints(story)
    with raw(story.database) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute("INSERT INTO checkpoint VALUES (0, ?)", (note(story, 0, of=bytes(32)),))
    assert bad(story.verify()) == (0, 14)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(b"\n59\n", b"\n059\n"),
        lambda data: data.replace(b"=\n\n", b"\n\n"),
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: b"",
        lambda data: data.split("\N{EM DASH}".encode())[0],
    ],
    ids=["zero before the size", "root cut", "newline cut", "line more", "nothing", "nobody signed"],
)
def test_a_checkpoint_written_in_another_way_fails(story: World, spoil: Callable[[bytes], bytes]) -> None:
    drop_checkpoints(story)
    data = spoil(note(story, SIZE))
    keep(story, SIZE, data)
    assert bad(story.verify()) == (SIZE - 1, 14)
    with pytest.raises(ConfigurationError, match="kept-0"):
        against(story, data)


def test_a_checkpoint_of_another_log_fails(story: World) -> None:
    other = note(story, SIZE).replace(origin(story).encode(), b"other/" + b"0" * 32)
    assert bad(against(story, other)) == (0, 15)
    assert "another log" in reason(against(story, other))


def test_a_receipt_of_another_log_fails(story: World) -> None:
    thief = Thief(story)
    forged = thief.append("requests.throttled", entries(story.database)[-1].facts, log="other/" + "0" * 32)
    data = receipt(story, forged.seq)
    tamper(story.database, ("DELETE FROM entry WHERE seq = ?", (forged.seq,)))
    report = against(story, data)
    assert bad(report) == (0, 15)
    assert "a receipt of another log" in reason(report)


def test_a_forged_receipt_says_so(story: World) -> None:
    thief = Thief(story)
    thief.key = make_key(bytes([3]) * 32)
    throttle(thief)
    data = receipt(story, SIZE)
    tamper(story.database, ("DELETE FROM entry WHERE seq = ?", (SIZE,)))
    thief.key = story.entry_key
    throttle(thief)
    report = against(story, data)
    assert bad(report) == (SIZE, 15)
    assert "no key of this ledger made its signature" in reason(report)


# --- chain and tree fed different bytes ---------------------------------------------------------------------------


def test_a_checkpoint_over_other_bytes_than_the_chains_fails(story: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = story.copied(tmp_path / "other")
    drop_checkpoints(other)
    rewrite(other, {56: less})
    drop_checkpoints(story)
    keep(story, SIZE, note(story, SIZE, of=root(other, SIZE)))
    assert bad(story.verify()) == (SIZE - 1, 14)


def test_a_stored_subtree_over_other_bytes_fails(world: World) -> None:
    fill(world, 600)
    assert world.verify().verdict == "PASS-UNANCHORED"
    tamper(world.database, ("UPDATE subtree SET hash = ? WHERE idx = 1", (bytes(32),)))
    report = world.verify()
    assert bad(report) == (511, 14)
    assert "entries 256 to 511 is not theirs" in reason(report)


def test_a_missing_subtree_and_one_of_nothing_fail(world: World) -> None:
    fill(world, 300)
    tamper(world.database, ("INSERT INTO subtree VALUES (8, 1, ?)", (bytes(32),)))
    assert bad(world.verify()) == (300, 14)
    tamper(world.database, "DELETE FROM subtree")
    report = world.verify()
    assert bad(report) == (255, 14)
    assert "is missing" in reason(report)


# --- another spelling, signed by who holds the key ----------------------------------------------------------------


SPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "duplicate key": lambda body: body.replace(b'"v":1', b'"v":1,"v":1'),
    "1.0": lambda body: body.replace(b'"count":500', b'"count":500.0'),
    "1e0": lambda body: body.replace(b'"count":500', b'"count":500e0'),
    "minus zero": lambda body: body.replace(b'"count":500', b'"count":-0'),
    "NaN": lambda body: body.replace(b'"count":500', b'"count":NaN'),
    "2^53": lambda body: body.replace(b'"count":500', b'"count":9007199254740992'),
    "byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "overlong UTF-8": lambda body: body.replace(b'"limit"', b'"\xc1\xaclimit"'),
    "lone surrogate": lambda body: body.replace(b'"limit"', b'"\\ud83dlimit"'),
    "surrogate in UTF-8": lambda body: body.replace(b'"limit"', b'"\xed\xa0\xbdlimit"'),
    "needless escape": lambda body: body.replace(b'"limit"', b'"\\u006cimit"'),
    "escaped slash": lambda body: body.replace(b"keyturn/", b"keyturn\\/"),
    "key order": lambda body: body.replace(b',"v":1}', b"}").replace(b"{", b'{"v":1,', 1),
    "trailing byte": lambda body: body + b"\x00",
    "line feed": lambda body: body + b"\n",
    "CRLF": lambda body: body + b"\r\n",
    "CRLF inside": lambda body: body.replace(b",", b",\r\n", 1),
    "space": lambda body: body.replace(b":", b": ", 1),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_another_spelling_signed_by_a_key_holder_fails(thief: Thief, spelling: str) -> None:
    body = throttle(thief).body
    changed = SPELLINGS[spelling](body)
    assert changed != body
    tamper(thief.world.database, ("DELETE FROM entry WHERE seq = ?", (START,)))
    with raw(thief.world.database) as db:
        signature = thief.key.sign(pae(ENTRY_TYPE, changed))
        db.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", (START, changed, signature, leaf_hash(changed)))
    assert bad(thief.world.verify()) == (START, 1)


# --- hostile files ------------------------------------------------------------------------------------------------


def plain(world: World, *statements: str) -> None:
    """Run statements as any program could, foreign keys on, seat belts in place."""
    with closing(sqlite3.connect(world.database, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        for statement in statements:
            db.execute(statement)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR REPLACE INTO entry SELECT 20, body, sig, leaf FROM entry WHERE seq = 21",
        "REPLACE INTO entry SELECT 20, body, sig, leaf FROM entry WHERE seq = 21",
        "UPDATE OR REPLACE entry SET seq = 20 WHERE seq = 21",
        """INSERT INTO entry SELECT 20, body, sig, leaf FROM entry WHERE seq = 21
        ON CONFLICT (seq) DO UPDATE SET body = excluded.body""",
        """INSERT INTO payload SELECT seq, field, salt, x'00' FROM payload WHERE seq = 13
        ON CONFLICT (seq, field) DO UPDATE SET data = excluded.data""",
        "DELETE FROM entry WHERE seq = 20",
        "UPDATE payload SET data = x'00' WHERE seq = 13",
    ],
)
def test_replace_upsert_and_delete_stop_at_the_seat_belts_and_leave_a_good_ledger(
    world: World, statement: str
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        plain(world, statement)
    assert world.verify().verdict == "PASS-UNANCHORED"


def test_a_payload_replaced_past_the_seat_belts_is_named(world: World) -> None:
    # REPLACE deletes the row before it without asking a trigger (SQLite: recursive_triggers is off).
    plain(world, "REPLACE INTO payload SELECT seq, field, salt, x'00' FROM payload WHERE seq = 13 AND field = 'plan'")
    assert bad(world.verify()) == (13, 6)


def rewritten_schema(world: World, sql: str, *values: str) -> None:
    with closing(sqlite3.connect(world.database, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(sql, values)
    with closing(sqlite3.connect(world.database, isolation_level=None)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_a_cascade_written_into_the_schema_fails_and_so_does_what_it_took(world: World) -> None:
    cascade = "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = 'payload'"
    rewritten_schema(world, cascade, "REFERENCES entry (seq)", "REFERENCES entry (seq) ON DELETE CASCADE")
    assert bad(world.verify()) == (None, 8)
    tamper(world.database, "DELETE FROM payload WHERE seq = 52", "DELETE FROM entry WHERE seq = 52")
    rewritten_schema(world, cascade, "REFERENCES entry (seq) ON DELETE CASCADE", "REFERENCES entry (seq)")
    with raw(world.database) as db:
        assert db.execute("SELECT max(seq) FROM entry").fetchone() == (51,)
    assert world.verify().verdict == "PASS-UNANCHORED"  # the end is cut: only what was kept elsewhere can tell


def test_a_table_pointed_at_another_ones_rows_by_hand_fails(world: World) -> None:
    rewritten_schema(
        world,
        "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'lookup') "
        "WHERE name = 'entry'",
    )
    assert bad(world.verify())[1] in {2, 6, 7, 8}


def test_a_write_ahead_log_that_changes_an_entry_is_read_and_named(world: World, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    with closing(sqlite3.connect(world.database, isolation_level=None)) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        (trigger,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'entry_stays'").fetchone()
        db.execute("DROP TRIGGER entry_stays")
        db.execute("UPDATE entry SET leaf = zeroblob(32) WHERE seq = 30")
        db.execute(trigger)
        for file in world.database.parent.glob("ledger.db*"):
            shutil.copy(file, away / file.name)
    assert bad(replace(world, database=away / "ledger.db").verify()) == (30, 7)


def test_a_write_ahead_log_of_another_database_fails(world: World, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE entry (a)")
        shutil.copy(tmp_path / "other.db-wal", world.database.with_name("ledger.db-wal"))
    # SQLite takes its pages for the ledger's: nothing ties a log to its database but its name.
    assert bad(world.verify()) == (None, 8)


@pytest.mark.parametrize(
    ("table", "strict", "change"),
    [
        ("checkpoint", "\n) STRICT", "note = CAST(note AS TEXT)"),
        ("subtree", "\n) STRICT, WITHOUT", f"hash = '{'a' * 32}'"),
    ],
)
def test_text_in_place_of_a_checkpoint_or_subtree_fails(world: World, table: str, strict: str, change: str) -> None:
    fill(world, 256)
    keep(world, 256, note(world, 256))
    schema = "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = ?"
    loose = "\n) WITHOUT" if "WITHOUT" in strict else "\n)"
    rewritten_schema(world, schema, strict, loose, table)
    tamper(world.database, f"UPDATE {table} SET {change}")
    rewritten_schema(world, schema, loose, strict, table)
    assert bad(world.verify()) == (None if table == "checkpoint" else 256, 7)


# --- outcomes that belong to nothing ------------------------------------------------------------------------------


def test_an_outcome_of_another_log_is_named(thief: Thief) -> None:
    thief.start("approved")
    facts = {"instance": "1" * 32, "outcome": "succeeded", "effect": True, "recovered": False}
    action = thief.world.actions["approved"]
    forged = thief.append("execution.finished", facts, action=action, log="other/" + "0" * 32)
    assert bad(thief.world.verify()) == (forged.seq, 2)


@pytest.mark.parametrize("begun", [False, True], ids=["without an intent", "a second time"])
def test_an_outcome_without_an_intent_or_a_second_time_is_named(thief: Thief, begun: bool) -> None:
    if begun:
        thief.start("approved")
        thief.finish("approved")
    forged = thief.finish("approved")
    assert bad(thief.world.verify()) == (forged.seq, 9)
