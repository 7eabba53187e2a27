"""Attacks on the file by somebody who holds no key."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keyturn.log.keys import LogVerifier, parse_verifier
from keyturn.verifier import Report, in_words, verify_ledger
from tests.verifier.world import World, entries, raw, tamper

COLUMNS = ("body", "sig", "leaf")


def bad(report: Report) -> tuple[int | None, int]:
    """The entry and the proof that failed."""
    assert report.verdict == "FAIL"
    assert report.first_bad is not None
    assert report.first_bad.reason
    assert report.first_bad.advice
    return report.first_bad.seq, report.first_bad.proof


def flip(world: World, table: str, column: str, where: str, at: int) -> None:
    with raw(world.database) as db:
        (value,) = db.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()
    at %= len(value)
    changed = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
    tamper(world.database, (f"UPDATE {table} SET {column} = ? WHERE {where}", (changed,)))


@pytest.mark.parametrize("column", COLUMNS)
def test_one_flipped_bit_in_any_entry_is_named(good: World, tmp_path: Path, column: str) -> None:
    for seq in range(0, len(entries(good.database)), 3):
        world = good.copied(tmp_path)
        flip(world, "entry", column, f"seq = {seq}", seq * 37 + 5)
        assert bad(world.verify())[0] == seq, (seq, column)


@pytest.mark.parametrize("at", [0, 1, 60, 200, -1])
def test_one_flipped_bit_anywhere_in_a_body_is_named(world: World, at: int) -> None:
    flip(world, "entry", "body", "seq = 13", at)
    assert bad(world.verify())[0] == 13


@pytest.mark.parametrize("column", ["salt", "data"])
def test_one_flipped_bit_in_any_payload_is_named(good: World, tmp_path: Path, column: str) -> None:
    with raw(good.database) as db:
        fields = db.execute("SELECT seq, field FROM payload").fetchall()
    for seq, field in fields[::5]:
        world = good.copied(tmp_path)
        with raw(world.database) as db:
            where = f"seq = {seq} AND field = '{field}'"
            empty = db.execute(f"SELECT length({column}) FROM payload WHERE {where}").fetchone()[0] == 0
        if not empty:
            flip(world, "payload", column, where, 3)
            assert bad(world.verify()) == (seq, 6)


def test_a_deleted_entry_is_named(world: World) -> None:
    tamper(world.database, "DELETE FROM entry WHERE seq = 20")
    assert bad(world.verify()) == (20, 2)


def test_a_deleted_entry_with_later_ones_moved_up_is_named(world: World) -> None:
    last = len(entries(world.database)) - 1
    tamper(world.database, f"DELETE FROM entry WHERE seq = {last}", f"DELETE FROM payload WHERE seq = {last}")
    assert world.verify().verdict == "PASS-UNANCHORED"  # cut at the end: only an anchor can tell
    tamper(world.database, "DELETE FROM entry WHERE seq = 20", "UPDATE entry SET seq = seq - 1 WHERE seq > 20")
    assert bad(world.verify())[0] == 20


def test_entries_removed_with_their_payloads_left_behind_are_named(world: World) -> None:
    last = len(entries(world.database)) - 1
    tamper(world.database, f"DELETE FROM entry WHERE seq = {last}")
    assert bad(world.verify()) == (last, 6)


def test_a_report_that_failed_does_not_take_the_files_word_for_how_many_entries_there_are(world: World) -> None:
    far = 2**62
    with raw(world.database) as db:
        follows = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'entry_follows'").fetchone()[0]
        db.execute("DROP TRIGGER entry_follows")
        db.execute("INSERT INTO entry VALUES (?, x'', zeroblob(64), zeroblob(32))", (far,))
        db.execute(follows)
    report = world.verify()
    assert bad(report) == (53, 2)
    assert any(
        line.startswith(f"{far + 1} entries, as the file says; the last proved is 52") for line in in_words(report)
    )


def test_two_swapped_entries_are_named(world: World) -> None:
    tamper(
        world.database,
        "UPDATE entry SET seq = 1000 WHERE seq = 9",
        "UPDATE entry SET seq = 9 WHERE seq = 10",
        "UPDATE entry SET seq = 10 WHERE seq = 1000",
    )
    assert bad(world.verify()) == (9, 2)


def test_an_entry_put_twice_is_named(world: World) -> None:
    size = len(entries(world.database))
    tamper(world.database, f"INSERT INTO entry SELECT {size}, body, sig, leaf FROM entry WHERE seq = 10")
    assert bad(world.verify()) == (size, 2)


def test_a_replaced_leaf_hash_is_named(world: World) -> None:
    tamper(world.database, ("UPDATE entry SET leaf = ? WHERE seq = 30", (bytes(32),)))
    assert bad(world.verify()) == (30, 7)


def test_a_removed_payload_is_named(world: World) -> None:
    tamper(world.database, "DELETE FROM payload WHERE seq = 13 AND field = 'diff'")
    assert bad(world.verify()) == (13, 6)


def test_a_payload_that_no_entry_commits_to_is_named(world: World) -> None:
    tamper(world.database, ("INSERT INTO payload VALUES (9, 'extra', ?, ?)", (bytes(32), b"x")))
    assert bad(world.verify()) == (9, 6)


@pytest.mark.parametrize("seq", [-5, 5000])
def test_a_payload_of_no_entry_is_named(world: World, seq: int) -> None:
    tamper(world.database, ("INSERT INTO payload VALUES (?, 'extra', ?, ?)", (seq, bytes(32), b"x")))
    assert bad(world.verify()) == (seq, 6)


@pytest.mark.parametrize("salt", [bytes(32), b"\xff" * 32])
def test_a_payload_that_is_stored_twice_is_named_whichever_comes_first(world: World, salt: bytes) -> None:
    """Where the table was filled under another key than it has now, one could be read and the other be proved."""
    own, wider = "PRIMARY KEY (seq, field)", "PRIMARY KEY (seq, field, salt)"
    change = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 'payload'"
    for more, (old, new) in ((False, (own, wider)), (True, (wider, own))):
        with raw(world.database) as db:
            if more:
                db.execute("INSERT INTO payload VALUES (13, 'diff', ?, ?)", (salt, b"-nothing\n"))
            db.execute("PRAGMA writable_schema = ON")
            db.execute(change, (old, new))
    report = world.verify()
    assert bad(report) == (13, 6)
    assert report.first_bad is not None
    assert report.first_bad.reason == "payload 'diff' is stored twice"


def test_more_payloads_than_an_entry_can_commit_to_are_not_held_all_at_once(world: World) -> None:
    rows = [(9, f"extra{place}", bytes(32), b"") for place in range(200)]
    with raw(world.database) as db:
        db.executemany("INSERT INTO payload VALUES (?, ?, ?, ?)", rows)
    report = world.verify()
    assert bad(report) == (9, 6)
    assert report.first_bad is not None
    assert "more than 64 payloads" in report.first_bad.reason


def test_a_ledger_without_entries_fails(world: World) -> None:
    tamper(world.database, "DELETE FROM payload", "DELETE FROM entry")
    assert bad(world.verify()) == (0, 2)


@pytest.mark.parametrize("size", [0, 10, 100, 1000, 4096, 20_000])
def test_a_truncated_file_fails(world: World, size: int) -> None:
    os.truncate(world.database, size)
    bad(world.verify())


def test_a_file_truncated_in_the_middle_of_its_entries_fails(world: World) -> None:
    os.truncate(world.database, world.database.stat().st_size - 8192)
    assert bad(world.verify())[1] in {6, 8}


def test_a_file_that_is_no_database_fails(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"nothing like it" * 1000)
    report = verify_ledger(tmp_path / "ledger.db")
    assert bad(report) == (None, 8)
    assert "nothing of a log was proved" in in_words(report)[0]
    assert not any("entries" in line for line in in_words(report))


def test_another_application_id_fails(world: World) -> None:
    with raw(world.database) as db:
        db.execute("PRAGMA application_id = 7")
    assert bad(world.verify()) == (None, 8)


def test_another_layout_fails(world: World) -> None:
    with raw(world.database) as db:
        db.execute("PRAGMA user_version = 3")
    assert bad(world.verify()) == (None, 8)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER mine AFTER INSERT ON lookup BEGIN SELECT 1; END",
        "CREATE VIEW mine AS SELECT * FROM entry",
        "CREATE TABLE mine (a)",
        "CREATE INDEX mine ON entry (leaf)",
        "DROP TRIGGER entry_stays",
        "DROP TABLE snapshot",
        "ANALYZE",
    ],
)
def test_anything_more_or_less_in_the_schema_fails(world: World, statement: str) -> None:
    with raw(world.database) as db:
        db.execute(statement)
    assert bad(world.verify()) == (None, 8)


def test_a_view_in_place_of_the_entries_fails(world: World) -> None:
    with raw(world.database) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        triggers = db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            db.execute(f"DROP TRIGGER {name}")
        db.execute("ALTER TABLE entry RENAME TO kept")
        db.execute("CREATE VIEW entry AS SELECT * FROM kept")
    assert bad(world.verify()) == (None, 8)


def rewrite_schema(world: World, table: str, old: str, new: str) -> None:
    with closing(sqlite3.connect(world.database, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = ?", (old, new, table))
    with closing(sqlite3.connect(world.database, isolation_level=None)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_a_changed_check_fails(world: World) -> None:
    rewrite_schema(world, "entry", "length(sig) = 64", "length(sig) > 0")
    assert bad(world.verify()) == (None, 8)


def test_a_table_that_is_not_strict_fails(world: World) -> None:
    rewrite_schema(world, "entry", ") STRICT", ")")
    assert bad(world.verify()) == (None, 8)


@pytest.mark.parametrize(
    ("table", "change", "where", "seq"),
    [
        ("entry", "body = CAST(body AS TEXT)", "seq = 12", 12),
        ("entry", f"leaf = '{'a' * 32}'", "seq = 12", 12),
        ("payload", "data = CAST(data AS TEXT)", "seq = 13 AND field = 'plan'", 13),
    ],
)
def test_text_where_bytes_must_be_is_named(world: World, table: str, change: str, where: str, seq: int) -> None:
    rewrite_schema(world, table, ") STRICT", ")")
    tamper(world.database, f"UPDATE {table} SET {change} WHERE {where}")
    rewrite_schema(world, table, "\n)", "\n) STRICT")
    assert bad(world.verify()) == (seq, 7)


def test_text_that_is_not_utf_8_is_no_crash(world: World) -> None:
    tamper(world.database, "UPDATE payload SET field = CAST(x'ff80' AS TEXT) WHERE seq = 13 AND field = 'plan'")
    assert bad(world.verify())[0] == 13


def test_a_definition_whose_name_is_no_text_is_no_crash(world: World) -> None:
    """SQLite's own message about it is no text either."""
    name = "cast(x'74ff62' AS TEXT)"
    with raw(world.database) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(f"INSERT INTO sqlite_schema VALUES ({name}, {name}, 'entry', 0, NULL)")
    assert bad(world.verify()) == (None, 8)


def test_derived_tables_are_not_believed(world: World) -> None:
    tamper(world.database, "DELETE FROM lookup", "INSERT INTO lookup VALUES (1, 'x', NULL, NULL, NULL, 'x')")
    with raw(world.database) as db:
        db.execute("INSERT OR REPLACE INTO snapshot VALUES (3, x'00', zeroblob(64))")
    assert world.verify().verdict == "PASS-UNANCHORED"


def test_a_stray_write_ahead_log_is_part_of_what_is_verified(world: World) -> None:
    world.database.with_name("ledger.db-wal").write_bytes(b"\x37\x7f\x06\x82" + bytes(60))
    report = world.verify()
    assert report.verdict == "PASS-UNANCHORED"
    assert "together with its write-ahead log" in report.opened


def test_a_link_to_a_ledger_is_read_with_the_write_ahead_log_beside_what_it_leads_to(
    world: World, tmp_path: Path
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(world.database)
    with closing(sqlite3.connect(world.database, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("INSERT INTO entry VALUES (53, x'', zeroblob(64), zeroblob(32))")
        report = verify_ledger(link)
    assert "together with its write-ahead log" in report.opened
    assert bad(report) == (53, 1)


def test_another_log_than_the_pinned_one_fails(world: World, good: World) -> None:
    known = parse_verifier(good.verifier)
    other = LogVerifier("keyturn/" + "0" * 32, known.key)
    report = world.verify(pinned=str(other))
    assert bad(report) == (0, 12)
    assert not report.pinned
    told = in_words(report, "the one given with --key")
    assert told[0] == "FAIL: nothing of a log was proved"
    assert "no log key was believed" in told
    assert not any("compare the verifier string" in line for line in told)
