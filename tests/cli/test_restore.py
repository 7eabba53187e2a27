"""Backup and restore as operators meet them: what is printed, refused, kept, and signed for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from keyturn.ledger.copy import end_of
from keyturn.ledger.head import HeadRecord, read_head
from keyturn.log.entry import read_entry
from tests.cli.operator import Operator, Said
from tests.verifier.world import tamper


def backup(operator: Operator, name: str = "copy.db") -> Path:
    to = operator.home.parent / name
    said = operator.tell("audit", "backup", to)
    assert said.code == 0, said.err
    return to


def restore(operator: Operator, file: Path, *more: str | Path) -> Said:
    return operator.tell("audit", "restore", file, "-m", "the disk failed", "--key", operator.key, *more)


def write(operator: Operator, scope: str = "claude") -> None:
    """Make the ledger longer by an entry: suspensions take no signature."""
    said = operator.tell("suspend", "--principal", scope, "-m", "longer")
    assert said.code == 0, said.err


def database(operator: Operator) -> Path:
    return operator.home / "state" / "ledger.db"


def end(operator: Operator) -> HeadRecord:
    found = end_of(database(operator))
    assert found is not None
    return found


def kept(operator: Operator) -> list[Path]:
    return sorted((operator.home / "state").glob("re*ing-*")) + sorted((operator.home / "state").glob("replaced-*"))


def full(operator: Operator, seq: object) -> dict[str, object]:
    return dict(operator.tell("audit", "show", str(seq), "--json").json)


def verifies(operator: Operator) -> bool:
    return operator.tell("audit", "verify").code == 0


# --- backup -------------------------------------------------------------------------------------------------------


def test_a_backup_says_its_size_and_last_leaf_and_what_is_not_in_it(operator: Operator, tmp_path: Path) -> None:
    said = operator.tell("audit", "backup", tmp_path / "copy.db", "--json")
    assert said.code == 0
    here = end(operator)
    assert said.json == {
        "file": str(tmp_path / "copy.db"),
        "verdict": "PASS-UNANCHORED",
        "size": here.size,
        "leaf": here.leaf,
    }
    assert "state/keys" in said.err
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert operator.tell("audit", "verify", "--ledger", tmp_path / "copy.db").code == 0


def test_a_backup_replaces_no_file(operator: Operator) -> None:
    to = backup(operator)
    data = to.read_bytes()
    said = operator.tell("audit", "backup", to)
    assert (said.code, said.err) == (1, f"keyturn: {to} exists; name a new file\n")
    assert to.read_bytes() == data


def test_a_backup_into_a_folder_that_is_not_there_says_so(operator: Operator) -> None:
    said = operator.tell("audit", "backup", operator.home / "nowhere" / "copy.db")
    assert said.code == 1
    assert "No such file or directory" in said.err


def test_a_backup_of_a_damaged_ledger_fails_and_is_kept(operator: Operator, tmp_path: Path) -> None:
    tamper(database(operator), "UPDATE entry SET sig = zeroblob(64) WHERE seq = 2")
    said = operator.tell("audit", "backup", tmp_path / "copy.db")
    assert said.code == 7
    assert "FAIL" in said.err
    assert (tmp_path / "copy.db").exists()


def test_a_backup_of_a_ledger_that_was_cut_fails(operator: Operator, tmp_path: Path) -> None:
    write(operator)
    last = "(SELECT max(seq) FROM entry)"
    tamper(database(operator), f"DELETE FROM payload WHERE seq = {last}", f"DELETE FROM entry WHERE seq = {last}")
    assert operator.tell("audit", "backup", tmp_path / "copy.db").code == 7


def test_entries_still_in_the_log_of_an_open_ledger_are_in_the_backup(operator: Operator, tmp_path: Path) -> None:
    with server(operator):
        write(operator)
        backup(operator)
        assert end_of(operator.home.parent / "copy.db") == end(operator)


# --- restore ------------------------------------------------------------------------------------------------------


def test_a_restore_names_what_is_lost_in_a_signed_entry_and_keeps_the_old_ledger(operator: Operator) -> None:
    copy = backup(operator)
    write(operator)
    lost = end(operator)
    said = restore(operator, copy, "--json")
    assert said.code == 0, said.err
    answer = said.json
    assert answer["missing"] == {"size": lost.size, "leaf": lost.leaf}
    assert end_of(Path(answer["kept"]) / "ledger.db") == lost
    entry = full(operator, answer["entry"])
    facts = entry["facts"]
    assert isinstance(facts, dict)
    assert (facts["reason"], facts["missing"], facts["size"]) == ("restored", answer["missing"], lost.size - 1)
    assert entry["payloads"] == {"reason": "the disk failed"}
    assert read_head(operator.home / "state" / "head") == end(operator)
    assert verifies(operator)
    assert [path.name.split("-")[0] for path in kept(operator)] == ["replaced"]
    assert operator.tell("status").code == 0


def test_where_the_copy_holds_all_there_was_nothing_is_missing(operator: Operator) -> None:
    said = restore(operator, backup(operator))
    assert said.code == 0
    assert "nothing is known to be missing" in said.err
    assert verifies(operator)


def test_the_report_of_a_verification_lists_the_recovery(operator: Operator) -> None:
    copy = backup(operator)
    write(operator)
    lost = end(operator)
    restore(operator, copy)
    said = operator.tell("audit", "verify")
    assert f"a ledger of {lost.size} entries that ended with {lost.leaf} is lost" in said.out
    assert "signed by alice" in said.out


def test_a_copy_that_does_not_verify_changes_nothing(operator: Operator) -> None:
    copy = backup(operator)
    tamper(copy, "UPDATE entry SET sig = zeroblob(64) WHERE seq = 2")
    before = end(operator)
    said = restore(operator, copy)
    assert said.code == 7
    assert "FAIL" in said.err
    assert said.err.endswith("nothing was changed\n")
    assert end(operator) == before
    assert kept(operator) == []


def test_a_copy_of_another_log_is_refused(operator: Operator, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert operator.tell("init", other, "--reviewer", f"alice={operator.key}.pub").code == 0
    said = restore(operator, other / "state" / "ledger.db")
    assert said.code == 7
    assert kept(operator) == []


def test_what_is_no_ledger_is_refused(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a ledger")
    said = restore(operator, tmp_path / "notes.txt")
    assert said.code == 7
    assert "no sound SQLite database" in said.err
    assert kept(operator) == []


def test_a_copy_with_a_trigger_of_its_own_does_not_verify(operator: Operator) -> None:
    copy = backup(operator)
    with closing(sqlite3.connect(copy)) as db:
        db.execute("CREATE TRIGGER more AFTER INSERT ON entry BEGIN DELETE FROM lookup; END")
    said = restore(operator, copy)
    assert said.code == 7
    assert "the trigger 'more' is not part of a ledger" in said.err
    assert kept(operator) == []


def test_a_key_that_is_not_listed_restores_nothing(operator: Operator, mallory: Path) -> None:
    copy = backup(operator)
    write(operator)
    before = end(operator)
    said = operator.tell("audit", "restore", copy, "-m", "mine", "--key", mallory)
    assert said.code == 6
    assert end(operator) == before
    assert kept(operator) == []


def test_a_bare_copy_put_in_place_by_hand_starts_nothing_until_it_is_signed_for(operator: Operator) -> None:
    copy = backup(operator)
    write(operator)
    lost = end(operator)
    shutil.copy(copy, database(operator))
    for suffix in ("-wal", "-shm"):
        database(operator).with_name(f"ledger.db{suffix}").unlink(missing_ok=True)
    said = operator.tell("status")
    assert said.code == 1
    assert "went backwards" in said.err
    assert "keyturn audit restore FILE" in said.err
    said = restore(operator, database(operator), "--json")
    assert said.json["missing"] == {"size": lost.size, "leaf": lost.leaf}
    assert operator.tell("status").code == 0


def test_a_ledger_that_is_lost_altogether_is_restored_from_copy_and_keys(operator: Operator) -> None:
    copy = backup(operator)
    write(operator)
    newest = end(operator)
    state = operator.home / "state"
    for path in (database(operator), state / "head", state / "ledger.lock"):
        path.unlink()
    said = restore(operator, copy, "--expect", f"{newest.size}:{newest.leaf}", "--json")
    assert said.code == 0, said.err
    assert said.json["missing"] == {"size": newest.size, "leaf": newest.leaf}
    assert said.json["kept"] is None
    assert verifies(operator)


def test_a_receipt_names_what_is_lost_as_well(operator: Operator, tmp_path: Path) -> None:
    copy = backup(operator)
    write(operator)
    with closing(sqlite3.connect(database(operator))) as db:
        body, sig = db.execute("SELECT body, sig FROM entry ORDER BY seq DESC LIMIT 1").fetchone()
    entry = read_entry(body, sig)
    (tmp_path / "receipt.json").write_text(json.dumps(entry.envelope.to_json()))
    database(operator).unlink()
    (operator.home / "state" / "head").unlink()
    said = restore(operator, copy, "--expect", tmp_path / "receipt.json", "--json")
    assert said.json["missing"] == {"size": entry.seq + 1, "leaf": entry.leaf}


def test_a_receipt_that_this_log_did_not_sign_names_nothing(operator: Operator, tmp_path: Path) -> None:
    """The reviewer signs for what is lost: a forged receipt must not choose it."""
    copy = backup(operator)
    with closing(sqlite3.connect(database(operator))) as db:
        body, sig = db.execute("SELECT body, sig FROM entry ORDER BY seq DESC LIMIT 1").fetchone()
    more = bytes(body).replace(b'"seq":', b'"seq":9')
    for forged in (read_entry(more, bytes(sig)), read_entry(bytes(body), bytes(64))):
        (tmp_path / "receipt.json").write_text(json.dumps(forged.envelope.to_json()))
        said = restore(operator, copy, "--expect", tmp_path / "receipt.json")
        assert said.code == 1
        assert "it is no receipt of the log of the copy" in said.err
    assert kept(operator) == []


@pytest.mark.parametrize("size", ["0", "9" * 20, "9" * 5000], ids=len)
def test_a_size_that_no_ledger_has_is_refused(operator: Operator, size: str) -> None:
    said = restore(operator, backup(operator), "--expect", f"{size}:{'a' * 64}")
    assert said.code == 1
    assert "a ledger had from 1 to 15 digits" in said.err
    assert kept(operator) == []


@pytest.mark.parametrize("expected", ["17", "x:y", "9:" + "A" * 64, "no-such-file"])
def test_what_is_neither_an_end_nor_a_receipt_is_refused(operator: Operator, expected: str) -> None:
    said = restore(operator, backup(operator), "--expect", expected)
    assert said.code == 1
    assert "neither SIZE:LEAF (64 hex digits) nor a file with a receipt" in said.err
    assert "Errno" not in said.err
    assert kept(operator) == []


def test_without_its_keys_a_home_is_not_restored(operator: Operator) -> None:
    copy = backup(operator)
    shutil.rmtree(operator.home / "state" / "keys")
    said = restore(operator, copy)
    assert said.code == 1
    assert "a backup of the ledger holds no keys" in said.err


def test_a_damaged_ledger_is_replaced_and_kept_with_what_is_beside_it(operator: Operator) -> None:
    copy = backup(operator)
    database(operator).write_bytes(b"nothing of it is left" * 500)
    database(operator).with_name("ledger.db-wal").write_bytes(b"a stray log")
    said = restore(operator, copy, "--json")
    assert said.code == 0, said.err
    aside = Path(said.json["kept"])
    assert (aside / "ledger.db").read_bytes().startswith(b"nothing of it")
    assert (aside / "ledger.db-wal").read_bytes() == b"a stray log"
    assert not database(operator).with_name("ledger.db-wal").exists()
    assert verifies(operator)


def test_the_head_is_not_made_again_over_entries_that_are_gone(operator: Operator) -> None:
    copy = backup(operator)
    write(operator)
    shutil.copy(copy, database(operator))
    said = operator.tell("audit", "rebuild", "--head")
    assert said.code == 1
    assert "keyturn audit restore" in said.err


# --- while somebody uses it ---------------------------------------------------------------------------------------


@contextmanager
def server(operator: Operator) -> Iterator[subprocess.Popen[bytes]]:
    """A stdio server of the home, which has the ledger open; it is killed at the end."""
    command = [sys.executable, "-m", "keyturn", "--home", str(operator.home), "serve"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "KEYTURN_TOKEN": operator.token},
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        hello = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "tests", "version": "1"},
            },
        }
        process.stdin.write(json.dumps(hello).encode() + b"\n")
        process.stdin.flush()
        assert b"serverInfo" in process.stdout.readline()
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_nothing_is_restored_under_a_server_and_after_its_death_it_is(operator: Operator) -> None:
    copy = backup(operator)
    with server(operator):
        said = restore(operator, copy)
        assert said.code == 1
        assert "end the servers" in said.err
        assert kept(operator) == []
    assert restore(operator, copy).code == 0
    assert verifies(operator)
