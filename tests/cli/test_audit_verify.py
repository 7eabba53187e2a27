"""`keyturn audit verify` with what auditors bring: notes, receipts, witnesses, lists of signers."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path

import pytest

from keyturn.assembly.home import Home
from keyturn.cli.progress import LONG, bar
from keyturn.cli.verbs.audit.verify import MOST
from keyturn.ledger.keys import LOG_KEY, SigningKey, load_key, make_key
from keyturn.log.checkpoint import parse_checkpoint
from keyturn.log.note import COSIGNATURE, Note, NoteKey, parse_note, signature_of, to_sign
from tests.assembly.people import public
from tests.cli.operator import Operator, tell

NOON = 1_795_262_400
SECRET = make_key(bytes([9]) * 32)
WITNESS = NoteKey("witness.example/one", SECRET.public, COSIGNATURE)


@pytest.fixture
def kept(operator: Operator, tmp_path: Path) -> Path:
    """A checkpoint of the whole ledger."""
    said = operator.tell("audit", "checkpoint", "--out", tmp_path / "kept.txt")
    assert said.code == 0, said.err
    return tmp_path / "kept.txt"


def cosign(kept: Path) -> None:
    note = parse_note(kept.read_bytes())
    line = signature_of(WITNESS, SECRET.sign(to_sign(note.text, NOON)), NOON)
    kept.write_bytes(bytes(Note(note.text, (*note.signatures, line))))


def contradicting(kept: Path, key: SigningKey) -> None:
    """Make the note say another root, signed by the log key: what a second history would leave."""
    checkpoint = parse_checkpoint(parse_note(kept.read_bytes()).text)
    text = checkpoint.text.replace(checkpoint.text.splitlines()[2], "A" * 43 + "=")
    own = NoteKey(checkpoint.origin, key.public)
    kept.write_bytes(bytes(Note(text, (signature_of(own, key.sign(to_sign(text))),))))


def test_a_checkpoint_that_was_kept_makes_it_pass(operator: Operator, kept: Path) -> None:
    said = operator.tell("audit", "verify", "--against", kept, "--require-anchor")
    assert (said.code, said.out.startswith("PASS: keyturn/")) == (0, True), said.err
    assert f"as {kept} has them, a checkpoint that was brought" in said.out


def test_a_copy_elsewhere_passes_against_what_was_kept_and_a_witness(
    operator: Operator, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(operator.home / "state" / "ledger.db", tmp_path / "copy.db")
    cosign(kept)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEYTURN_HOME", raising=False)
    said = tell("audit", "verify", "--ledger", "copy.db", "--against", kept, "--witness", str(WITNESS), "--json")
    assert (said.code, said.json["verdict"]) == (0, "PASS")
    cosigned = next(one for one in said.json["vouched"] if one["how"] == "cosignature")
    assert (cosigned["at"], cosigned["by"]) == (
        "2026-11-21T12:00:00.000000Z",
        f"witness.example/one+{WITNESS.id.hex()}",
    )


def test_a_checkpoint_of_another_history_fails(operator: Operator, kept: Path) -> None:
    contradicting(kept, load_key(Home(operator.home).place.keys / LOG_KEY))
    said = operator.tell("audit", "verify", "--against", kept, "--json")
    assert (said.code, said.json["first_bad"]["proof"]) == (7, 15)
    assert "rewritten" in said.json["first_bad"]["reason"]


def test_reviewers_are_held_against_a_list_of_ones_own(operator: Operator, tmp_path: Path) -> None:
    people = tmp_path / "signers"
    people.write_text(f"alice {public(operator.key).read_text()}")
    assert operator.tell("audit", "verify", "--signers", people).code == 0
    people.write_text(f"carol {public(operator.key).read_text()}")
    said = operator.tell("audit", "verify", "--signers", people, "--json")
    assert (said.code, said.json["first_bad"]["proof"]) == (7, 16)
    assert [one["reviewer"] for one in said.json["strangers"]] == ["alice"]


def test_files_that_cannot_be_read_get_no_verdict(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"#" * (MOST + 1))
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    for option, name, words in (
        ("--signers", "long", "has more than"),
        ("--signers", "odd", "is not UTF-8 at byte 0"),
        ("--against", "long", "at most"),
    ):
        said = operator.tell("audit", "verify", option, tmp_path / name)
        assert (said.code, said.out, words in said.err) == (1, "", True), said.err


class Terminal(io.StringIO):
    """A stderr that somebody watches."""

    def isatty(self) -> bool:
        return True


def test_long_work_draws_how_far_it_is_and_short_work_does_not() -> None:
    screen = Terminal()
    with contextlib.redirect_stderr(screen), bar("verifying") as progress:
        assert progress is not None
        progress(0, LONG - 1)
        assert screen.getvalue() == ""
        progress(256, LONG)
        progress(LONG, LONG)
    assert f"{LONG}/{LONG}" in screen.getvalue()


def test_nothing_is_drawn_where_nobody_watches() -> None:
    with contextlib.redirect_stderr(io.StringIO()), bar("verifying") as progress:
        assert progress is None
