"""Checkpoints and anchors as operators meet them, and what an anchor keeps a rolled back or forked home from."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.ledger.keys import VERIFIER, load_key
from keyturn.log.checkpoint import Checkpoint, parse_checkpoint
from keyturn.log.keys import parse_verifier
from keyturn.log.note import Note, NoteKey, parse_note, parse_note_key, signature_of, to_sign, verify_note
from keyturn.witness.answering import Cosigner, Witness
from keyturn.witness.store import Store, create_store
from tests.cli.operator import Operator, Said
from tests.cli.test_restore import backup, end, restore
from tests.connectors.http.server import Heard, Saying, Server
from tests.connectors.http.server import said as answered
from tests.witness.test_witness import KEY

COSIGNER = Cosigner(KEY.key, KEY.private.sign)
TOOLS = ("create_ticket", "update_ticket", "open_pull_request", "update_pull_request", "close_pull_request")


@pytest.fixture
def mount(operator: Operator) -> Path:
    """A folder that the home names as its anchor."""
    path = operator.home.parent / "mount"
    path.mkdir()
    declare(operator, f'[anchors.mount]\nkind = "file"\npath = "{path}"\nsame_filesystem = true\n')
    return path


def declare(operator: Operator, text: str) -> None:
    with (operator.home / "keyturn.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n{text}")


def anchor(operator: Operator) -> list[dict[str, Any]]:
    said = operator.tell("audit", "anchor", "--json")
    assert said.code == 0, said.err
    return list(said.json)


def copied(operator: Operator, name: str) -> Operator:
    """Copy a home as it lies, with keys and all."""
    to = operator.home.parent / name
    shutil.copytree(operator.home, to, symlinks=True)
    return replace(operator, home=to)


def roll_back(operator: Operator, to: Operator) -> None:
    """Put another home's state in the place of this one's."""
    shutil.rmtree(operator.home / "state")
    shutil.copytree(to.home / "state", operator.home / "state", symlinks=True)


def checkpoint_of(operator: Operator, note: bytes) -> Checkpoint:
    verifier = parse_verifier((operator.home / "state" / "keys" / VERIFIER).read_text().strip())
    read = parse_note(note)
    verify_note(read, [NoteKey(verifier.origin, verifier.key)])
    return parse_checkpoint(read.text)


def suspend(operator: Operator, tool: str = "rollback_deployment") -> Said:
    return operator.tell("suspend", "--tool", tool, "-m", "x")


def write(operator: Operator, tool: str = "create_ticket") -> None:
    """Make the ledger longer by an entry: suspensions take no signature."""
    said = suspend(operator, tool)
    assert said.code == 0, said.err


# --- checkpoints ------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_signed_now_and_printed_as_a_note(operator: Operator, tmp_path: Path) -> None:
    first = operator.tell("audit", "checkpoint")
    assert first.code == 0, first.err
    assert checkpoint_of(operator, first.out.encode()).size == end(operator).size
    write(operator)
    said = operator.tell("audit", "checkpoint", "--out", tmp_path / "note")
    assert (said.code, said.out) == (0, "")
    assert checkpoint_of(operator, (tmp_path / "note").read_bytes()).size == end(operator).size
    again = operator.tell("audit", "checkpoint", "--out", tmp_path / "note")
    assert (again.code, again.err) == (1, f"keyturn: {tmp_path / 'note'}: File exists\n")


def test_what_a_command_wrote_has_a_checkpoint_when_it_ends(operator: Operator) -> None:
    write(operator)
    (operator.home / "state" / "keys" / "log.key").rename(operator.home / "log.key")
    said = operator.tell("audit", "checkpoint")
    assert checkpoint_of(operator, said.out.encode()).size == end(operator).size
    write(operator, "update_ticket")
    assert operator.tell("audit", "checkpoint").out == said.out


def test_without_the_log_key_and_any_checkpoint_there_is_none_to_print(operator: Operator) -> None:
    (operator.home / "state" / "keys" / "log.key").rename(operator.home / "log.key")
    said = operator.tell("audit", "checkpoint")
    assert said.code == 1
    assert "no checkpoint was signed yet" in said.err


@pytest.mark.parametrize("harm", ["open", "other"])
def test_a_log_key_that_cannot_be_used_stops_no_command_and_is_told(
    operator: Operator, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    key = operator.home / "state" / "keys" / "log.key"
    if harm == "open":
        key.chmod(0o644)
    else:
        shutil.copyfile(key.with_name("entry.key"), key)
    write(operator)
    assert "no checkpoint was signed at the end" in caplog.text
    assert operator.tell("audit", "checkpoint").code == 1


# --- bringing them somewhere ------------------------------------------------------------------------------------


def test_an_anchor_gets_the_newest_checkpoint_and_the_ledger_says_so(operator: Operator, mount: Path) -> None:
    (row,) = anchor(operator)
    assert (row["name"], row["type"], row["size"], row["problem"]) == ("mount", "file", 5, "")
    (note,) = mount.glob("*/checkpoint")
    assert checkpoint_of(operator, note.read_bytes()).size == 5
    shown = operator.tell("audit", "show", "5", "--json").json
    assert shown["facts"] == {
        "anchor": "mount",
        "type": "file",
        "size": 5,
        "root": checkpoint_of(operator, note.read_bytes()).root.hex(),
    }
    assert shown["payloads"]["anchor.note"] == note.read_text()
    assert "mount (file) keeps the checkpoint of 5 entries" in operator.tell("audit", "log").out
    assert operator.tell("audit", "verify").code == 0


def test_that_an_anchor_got_one_is_no_news(operator: Operator, mount: Path) -> None:
    first = anchor(operator)
    assert anchor(operator) == first
    assert end(operator).size == 6
    write(operator)
    assert anchor(operator)[0]["size"] == 7


def test_an_anchor_that_cannot_be_had_is_told_and_stops_nothing(
    operator: Operator, mount: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mount.rmdir()
    write(operator)
    assert "anchor mount (file) cannot be asked how far the ledger was" in caplog.text
    said = operator.tell("audit", "anchor", "--json")
    assert said.code == 1
    assert said.json[0]["size"] == 0
    assert "is missing" in said.json[0]["problem"]


def test_garbage_where_the_note_should_be_is_told_and_stays(
    operator: Operator, mount: Path, caplog: pytest.LogCaptureFixture
) -> None:
    anchor(operator)
    (note,) = mount.glob("*/checkpoint")
    note.write_bytes(b"garbage\n")
    write(operator)
    assert "what is kept there is no checkpoint" in caplog.text
    assert operator.tell("audit", "anchor").code == 1
    assert note.read_bytes() == b"garbage\n"


def test_names_that_are_no_anchor_and_a_home_without_any_are_refused(operator: Operator) -> None:
    assert "declares no anchor" in operator.tell("audit", "anchor").err
    declare(operator, '[anchors.mount]\nkind = "file"\npath = "x"\n')
    said = operator.tell("audit", "anchor", "nowhere")
    assert (said.code, "nowhere: no such anchor; there are: mount" in said.err) == (5, True)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ('kind = "floppy"', "anchors.a.kind: must be one of: file, git, rfc3161, witness"),
        ('kind = "file"', "anchors.a.path: is missing"),
        ('kind = "file"\npath = "x"\nevery = "soon"', "anchors.a.every"),
        ('kind = "file"\npath = "x"\nevery = "2d"', "anchors.a.every: must be from 1 s to 24 h"),
        ('kind = "file"\npath = "x"\nevry = "1m"', "anchors.a.evry: is not known (did you mean every?)"),
        ('kind = "witness"\nurl = "https://w.example.org"', "anchors.a.verifier: is missing"),
    ],
)
def test_an_anchor_that_is_declared_wrongly_is_refused_before_anything_is_written(
    operator: Operator, table: str, why: str
) -> None:
    declare(operator, f"[anchors.a]\n{table}\n")
    said = suspend(operator)
    assert said.code == 1
    assert why in said.err


# --- rollback and forks -----------------------------------------------------------------------------------------


def test_a_home_that_was_rolled_back_writes_nothing_more(operator: Operator, mount: Path) -> None:
    old = copied(operator, "old")
    write(operator)
    anchor(operator)
    roll_back(operator, old)
    before = end(operator)
    for words in (
        ("suspend", "--all", "-m", "x"),
        ("audit", "anchor"),
        ("token", "revoke", "claude"),
        ("worker", "--on-demand"),
    ):
        said = operator.tell(*words)
        assert said.code == 1, words
        assert "anchor mount (file): it saw 6 entries and here are 5: the ledger went backwards" in said.err
        assert "keyturn audit restore FILE" in said.err
    assert end(operator) == before
    assert operator.tell("audit", "log").code == 0


def test_a_rollback_that_went_on_past_the_anchor_is_found_out(operator: Operator, mount: Path) -> None:
    old = copied(operator, "old")
    write(operator)
    anchor(operator)
    roll_back(operator, old)
    (operator.home / "keyturn.toml").rename(operator.home / "aside")
    for name in TOOLS[:3]:
        write(operator, name)
    (operator.home / "aside").rename(operator.home / "keyturn.toml")
    said = suspend(operator)
    assert said.code == 1
    assert "the first 6 entries here are not those it saw" in said.err


def test_of_two_copies_that_both_go_on_the_second_is_refused(operator: Operator, mount: Path) -> None:
    anchor(operator)
    other = copied(operator, "other")
    write(operator, "update_ticket")
    write(other, "create_ticket")
    anchor(operator)
    said = other.tell("audit", "anchor")
    assert said.code == 1
    assert "the first 7 entries here are not those it saw: the ledger was rewritten, or forked" in said.err
    assert suspend(other).code == 1
    assert suspend(operator).code == 0


def test_a_git_repository_finds_a_rollback_too(operator: Operator) -> None:
    notes = operator.home.parent / "notes.git"
    subprocess.run(["git", "init", "-q", "--bare", str(notes)], check=True, env={"PATH": os.environ["PATH"]})
    declare(operator, f'[anchors.notes]\nkind = "git"\npath = "{notes}"\n')
    old = copied(operator, "old")
    write(operator)
    assert anchor(operator)[0]["size"] == 6
    roll_back(operator, old)
    assert "anchor notes (git): it saw 6 entries and here are 5" in suspend(operator).err


def test_a_ledger_and_keys_replaced_under_the_same_name_are_found_out(operator: Operator, mount: Path) -> None:
    anchor(operator)
    (note,) = mount.glob("*/checkpoint")
    said = checkpoint_of(operator, note.read_bytes())
    stranger = load_key(operator.home / "state" / "keys" / "entry.key")
    line = signature_of(NoteKey(said.origin, stranger.public), stranger.sign(to_sign(said.text)))
    note.write_bytes(bytes(Note(said.text, (line,))))
    refused = suspend(operator)
    assert refused.code == 1
    assert "bears this log's name and another key" in refused.err


# --- signed recoveries ------------------------------------------------------------------------------------------


def test_a_loss_that_somebody_signed_for_goes_on_and_the_anchor_follows(operator: Operator, mount: Path) -> None:
    copy = backup(operator)
    old = copied(operator, "old")
    for name in TOOLS[:3]:
        write(operator, name)
    anchor(operator)
    roll_back(operator, old)
    assert suspend(operator).code == 1
    said = restore(operator, copy, "--json")
    assert said.code == 0, said.err
    assert said.json["missing"] == {"size": 8, "leaf": "0" * 64}
    write(operator, "merge_pull_request")
    (row,) = anchor(operator)
    assert (row["size"], row["problem"]) == (7, "")
    assert operator.tell("audit", "verify").code == 0
    history = sorted(path.name[:12] for path in mount.glob("*/history/*/*[0-9a-f]") if "." not in path.name)
    assert history == ["000000000007", "000000000008"]


def test_a_recovery_explains_one_step_back_and_no_second(operator: Operator, mount: Path) -> None:
    copy = backup(operator)
    old = copied(operator, "old")
    for name in TOOLS:
        write(operator, name)
    anchor(operator)
    roll_back(operator, old)
    assert restore(operator, copy).code == 0
    restored = copied(operator, "restored")
    write(operator, "merge_pull_request")
    anchor(operator)
    roll_back(operator, restored)
    said = suspend(operator)
    assert said.code == 1
    assert "it saw 7 entries and here are 6" in said.err


def test_a_recovery_from_before_an_anchor_explains_nothing_to_it(operator: Operator, tmp_path: Path) -> None:
    copy = backup(operator)
    for name in TOOLS:
        write(operator, name)
    assert restore(operator, copy).code == 0
    (tmp_path / "late").mkdir()
    declare(operator, f'[anchors.late]\nkind = "file"\npath = "{tmp_path / "late"}"\nsame_filesystem = true\n')
    old = copied(operator, "old")
    write(operator, "merge_pull_request")
    anchor(operator)
    roll_back(operator, old)
    said = suspend(operator)
    assert said.code == 1
    assert "it saw 7 entries and here are 6" in said.err


def test_a_backup_that_holds_all_the_anchor_saw_names_nothing_as_lost(operator: Operator, mount: Path) -> None:
    old = copied(operator, "old")
    write(operator)
    anchor(operator)
    copy = backup(operator)
    roll_back(operator, old)
    said = restore(operator, copy, "--json")
    assert said.code == 0, said.err
    assert said.json["missing"] is None
    assert suspend(operator).code == 0


def test_a_restore_passes_over_anchors_that_say_nothing(
    operator: Operator, mount: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = "witness.example/w+00000000+none"
    declare(operator, f'[anchors.w]\nkind = "witness"\nurl = "https://w.example.org"\nverifier = "{key}"\n')
    copy = backup(operator)
    said = restore(operator, copy)
    assert said.code == 1
    assert "anchors.w.verifier" in said.err
    text = (operator.home / "keyturn.toml").read_text()
    (operator.home / "keyturn.toml").write_text(text.replace(key, str(KEY.key)))
    declare(operator, '[anchors.gone]\nkind = "file"\npath = "nowhere"\n')
    assert restore(operator, copy, "--json").json["missing"] is None
    assert "anchor gone (file) cannot be asked" in caplog.text
    assert list(mount.iterdir()) == []


# --- the doctor -------------------------------------------------------------------------------------------------


def found(operator: Operator) -> list[tuple[str, str]]:
    rows = operator.tell("doctor", "--json").json
    return [(row["level"], row["told"]) for row in rows if row["check"] == "anchors"]


def test_the_doctor_says_how_far_each_anchor_is(operator: Operator, mount: Path) -> None:
    assert found(operator) == [("warn", "mount (file) has no checkpoint yet")]
    anchor(operator)
    ((level, told),) = found(operator)
    assert (level, told.startswith("mount (file) has the checkpoint of 5 entries since ")) == ("ok", True)
    mount.rename(mount.with_name("away"))
    write(operator)
    assert [level for level, _ in found(operator)] == ["ok"]


def test_the_doctor_says_that_there_is_no_anchor_and_passes_over_a_wrong_one(operator: Operator) -> None:
    ((level, told),) = found(operator)
    assert level == "ok"
    assert "none is declared" in told
    declare(operator, '[anchors.a]\nkind = "floppy"\n')
    assert found(operator) == []


def test_the_doctor_names_a_witness_that_a_restore_left_behind(operator: Operator, tmp_path: Path) -> None:
    log = parse_note_key((operator.home / "state" / "keys" / VERIFIER).read_text().strip())
    create_store(tmp_path / "witness.db")
    witness = Witness(Store(tmp_path / "witness.db"), {log.name: [log]}, [COSIGNER], time.time)

    def answers(heard: Heard) -> Saying:
        reply = witness.add_checkpoint(heard.body)
        return answered(reply.status, raw=reply.body, Content_Type=reply.content_type)

    copy = backup(operator)
    write(operator)
    with Server(answers) as server:
        declare(
            operator, f'[anchors.w]\nkind = "witness"\nurl = "{server.url}"\nprivate = true\nverifier = "{KEY.key}"\n'
        )
        assert anchor(operator)[0]["size"] == 6
        assert [level for level, _ in found(operator)] == ["ok"]
        assert restore(operator, copy).code == 0
        for tool in TOOLS[:2]:
            problem = operator.tell("audit", "anchor", "--json").json[0]["problem"]
            assert "another tree of 6 entries" in problem or "takes the proof of growth for none" in problem
            ((level, told),) = found(operator)
            assert level == "warn"
            assert told == "w (witness) has cosigned nothing since entry 5, by which a ledger of 7 entries was lost"
            write(operator, tool)


def test_without_the_log_key_an_anchor_is_not_said_to_be_up_to_date(operator: Operator, mount: Path) -> None:
    key = operator.home / "state" / "keys" / "log.key"
    key.rename(operator.home / "log.key")
    for size in (0, 5):
        told = operator.tell("audit", "anchor", "--json")
        assert (told.code, told.json[0]["size"]) == (1, size)
        assert "the log key is not at hand (file:state/keys/log.key)" in told.json[0]["problem"]
        (operator.home / "log.key").rename(key)
        assert anchor(operator)[0]["problem"] == ""
        key.rename(operator.home / "log.key")
        write(operator)
