"""Erasing in a home whose gate did one of everything: what is left in its files, what is proved, what still works."""

from __future__ import annotations

import dataclasses
import os
import resource
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keyturn.assembly.erasing import Erased, erase_payloads
from keyturn.assembly.home import Home
from keyturn.assembly.standing import open_reader
from keyturn.canon import Json
from keyturn.fold.erasure import erasure
from keyturn.gateway.earlier import earlier_action
from keyturn.gateway.finding import find
from keyturn.gateway.journal import full, row
from keyturn.gateway.show import details, show
from keyturn.gateway.undone import way_back
from keyturn.model.errors import Refused
from keyturn.sshsig.signing import sign
from keyturn.verifier import in_words
from tests.cli.operator import tell
from tests.verifier.world import ACT, Thief, World, b64, raw, tamper

SECRET = b"this is resolved"
BASIS = "GDPR article 17, request 12"
ALL = ("argument.comment", "argument.ticket", "plan", "diff", "reason", "resolve.reason", "outcome")


@dataclasses.dataclass
class Case:
    """A home of its own, to erase from."""

    home: Home
    world: World

    @property
    def action(self) -> str:
        return self.world.actions["resolved"]

    def signer(self, name: str = "alice") -> Callable[..., Any]:
        def choose(people: Mapping[str, Sequence[str]]) -> tuple[str, Callable[[bytes, str], bytes]]:
            file = self.world.people.files[name]
            return name, lambda data, space: sign(data, key=file, namespace=space, environment=os.environ)

        return choose

    def erase(self, named: str = "", *fields: str, basis: str = BASIS, by: str = "alice") -> Erased:
        wanted = fields or ("argument.comment",)
        return erase_payloads(self.home, named or self.action, wanted, basis=basis, signer=self.signer(by))

    def payloads(self) -> list[tuple[int, str, bytes, bytes]]:
        with raw(self.world.database) as db:
            return db.execute("SELECT seq, field, salt, data FROM payload").fetchall()

    def look(self, job: Callable[[Any], Any]) -> Any:
        with closing(open_reader(self.home, "tests")) as reader:
            return reader.look(job)


@pytest.fixture
def case(good: World, tmp_path: Path) -> Case:
    shutil.copytree(good.database.parents[1], tmp_path / "home", symlinks=True)
    home = Home(tmp_path / "home")
    return Case(home, dataclasses.replace(good, database=home.place.database))


def found_in(folder: Path, needle: bytes) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def test_what_was_erased_is_in_no_file_of_the_home_and_the_verdict_stands(case: Case) -> None:
    carrying = {(seq, field): salt for seq, field, salt, data in case.payloads() if SECRET in data}
    assert {field for _, field in carrying} >= {"argument.comment", "plan"}
    done = case.erase("", *sorted({field for _, field in carrying}))
    assert set(done.what) == set(carrying)
    assert done.cleaned.left == ()
    for needle in (SECRET, *carrying.values()):
        assert found_in(case.home.place.folder, needle) == []
    report = case.world.verify(pinned=case.world.verifier)
    assert report.first_bad is None
    assert report.verdict == "PASS-UNANCHORED"
    assert {(item.entry, item.field) for item in report.erased} == set(carrying)
    assert {(item.by, item.basis) for item in report.erased} == {("alice", BASIS)}
    # The request and its beginning are not derived again without the plan; everything else is.
    assert {item.kind for item in report.underivable} == {"action.requested", "execution.started"}
    assert any("not derived again" in line for line in in_words(report))


def test_a_copy_made_afterwards_holds_nothing_of_it_and_one_made_before_is_named(case: Case, tmp_path: Path) -> None:
    copy = case.home.place.folder / "replaced-1.db"
    shutil.copy(case.world.database, copy)
    done = case.erase("", "argument.comment", "plan", "diff")
    assert done.cleaned.left == (copy,)
    assert tell("--home", case.home.folder, "audit", "backup", tmp_path / "after.db").code == 0
    assert SECRET not in (tmp_path / "after.db").read_bytes()


def test_where_the_files_cannot_be_swept_that_is_told_with_all_that_was_done(case: Case) -> None:
    copy = case.home.place.folder / "replaced-1.db"
    shutil.copy(case.world.database, copy)
    more = ("--field", "plan", "--basis", BASIS, "--key", case.world.people.files["alice"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file grows as long as the ledger is: there is room to record the erasure, and none to write the file anew.
    resource.setrlimit(resource.RLIMIT_FSIZE, (copy.stat().st_size // 2, before[1]))
    try:
        said = tell("--home", case.home.folder, "audit", "erase", case.action, *more)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert said.code == 1
    assert "plan" in said.out
    assert "what was erased is deleted and recorded, but its bytes may still be in the ledger's files" in said.err
    assert said.err.count("still in /") == 1
    assert f"still in {copy}" in said.err
    again = tell("--home", case.home.folder, "audit", "erase", case.action, *more)
    assert (again.code, again.out) == (0, "")
    assert "old ledgers below state/ could be searched for it only then" in again.err


def test_everything_that_is_shown_copes_with_an_action_of_which_nothing_is_left(case: Case) -> None:
    case.erase("", *(field for field in ALL if field in {name for _, name, _, _ in case.payloads()}))

    def show_all(view: Any) -> None:
        for entry in view.entries(0):
            row(view, entry)
            assert full(view, entry)["payloads"] is not None
        shown = details(show(view, case.action))
        assert "(erased)" in str(shown)
        assert earlier_action(view, "claude", case.action) is None
        assert find(view, case.action) is not None
        with pytest.raises(Refused, match="was erased: undo it by hand"):
            way_back(view, case.action)

    case.look(show_all)
    for words in (["audit", "show"], ["action", "show"]):
        said = tell("--home", case.home.folder, *words, case.action)
        assert said.code == 0, said.err
        assert SECRET.decode() not in said.out
    for verb in (["action", "list"], ["audit", "log"], ["inbox"], ["status"]):
        assert tell("--home", case.home.folder, *verb).code in {0, 1}
    assert tell("--home", case.home.folder, "action", "export", case.action).code != 0


def test_a_served_read_is_erased_by_its_place_in_the_log(case: Case) -> None:
    seq = case.look(lambda view: view.newest("read.served")[0].seq)
    case.erase(str(seq), "result", "argument.ticket")
    report = case.world.verify()
    assert report.verdict == "PASS-UNANCHORED"
    [lost] = report.underivable
    assert (lost.seq, lost.kind, lost.missing) == (seq, "read.served", (f"argument.ticket of entry {seq}",))


def test_what_was_erased_before_is_swept_again_and_nothing_is_recorded_twice(case: Case) -> None:
    case.erase()
    assert case.erase().entries == ()
    assert len(case.world.verify().erased) == 1


@pytest.mark.parametrize(
    ("named", "fields", "options", "code"),
    [
        ("waiting", ("reason",), {}, "not_over"),
        ("approved", ("review.reason",), {}, "not_over"),
        ("begun", ("plan",), {}, "not_over"),
        ("unknown", ("outcome",), {}, "not_over"),
        ("resolved", ("argument.never",), {}, "not_found"),
        ("resolved", ("argument.comment",), {"by": "mallory"}, "not_a_reviewer"),
        ("resolved", ("argument.comment",), {"basis": ""}, "usage"),
        ("2", ("policy.files",), {}, "structural"),
        ("3", ("catalog.files",), {}, "structural"),
        ("019aa5b2-7d80-7000-8000-00000000dead", ("reason",), {}, "not_found"),
    ],
)
def test_what_may_not_be_erased_stays(
    case: Case, named: str, fields: tuple[str, ...], options: dict[str, str], code: str
) -> None:
    before = case.payloads()
    with pytest.raises(Refused) as caught:
        case.erase(case.world.actions.get(named, named), *fields, **options)
    assert caught.value.code == code
    assert case.payloads() == before


def test_one_of_several_that_may_not_be_erased_keeps_all(case: Case) -> None:
    before = case.payloads()
    with pytest.raises(Refused):
        case.erase("", "argument.comment", "argument.never")
    assert case.payloads() == before


def test_an_absence_that_no_entry_records_fails_beside_one_that_is_recorded(case: Case) -> None:
    case.erase()
    seq = case.look(lambda view: view.newest("action.reviewed")[0].seq)
    tamper(case.world.database, ("DELETE FROM payload WHERE seq = ? AND field = 'review.reason'", (seq,)))
    bad = case.world.verify().first_bad
    assert bad is not None
    assert (bad.seq, bad.proof) == (seq, 6)
    assert "no entry says that it was erased" in bad.reason


def test_a_payload_that_was_erased_and_is_there_fails(case: Case) -> None:
    [mine] = [payload for payload in case.payloads() if payload[1] == "argument.comment" and SECRET in payload[3]]
    case.erase()
    tamper(case.world.database, ("INSERT INTO payload VALUES (?, ?, ?, ?)", mine))
    bad = case.world.verify().first_bad
    assert bad is not None
    assert (bad.seq, bad.proof) == (mine[0], 6)


def facts_of(case: Case, seq: int, field: str, act: Json) -> dict[str, Json]:
    return {"entry": seq, "field": field, "basis": BASIS, "act": act}


def act_of(case: Case, seq: int, field: str, by: str = "alice") -> dict[str, Json]:
    """An act of erasure as a person may sign it, whatever the gate would say to it."""
    meant = erasure({"entry": seq, "field": field, "basis": BASIS})

    def look(view: Any) -> dict[str, Json]:
        return {
            "type": "keyturn.act/v1", "log": view.head.verifier.origin, "after": view.state.policy.seq,
            "verb": meant.verb, "object": meant.object, "digest": meant.digest, "by": by,
            "at": view.entry(view.head.size - 1).at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }  # fmt: skip

    statement = case.look(look)
    return {"statement": statement, "signature": b64(case.world.people.sign(by, statement, ACT))}


@pytest.mark.parametrize(
    ("action", "kind", "field", "words"),
    [
        ("resolved", "action.requested", "argument.never", "commits to no payload"),
        ("unknown", "execution.finished", "outcome", "which is not over"),
        ("begun", "action.requested", "plan", "is not over"),
    ],
)
def test_a_key_holder_with_a_persons_word_erases_nothing_that_must_stay(
    case: Case, action: str, kind: str, field: str, words: str
) -> None:
    thief = Thief(case.world)
    seq = thief.find(kind, action).seq
    forged = thief.append("payload.erased", facts_of(case, seq, field, act_of(case, seq, field)))
    if field != "argument.never":
        tamper(case.world.database, ("DELETE FROM payload WHERE seq = ? AND field = ?", (seq, field)))
    bad = case.world.verify().first_bad
    assert bad is not None
    assert (bad.seq, bad.proof) == (forged.seq, 9)
    assert words in bad.reason


def test_a_key_holder_alone_erases_nothing(case: Case) -> None:
    thief = Thief(case.world)
    seq = thief.find("action.requested", "resolved").seq
    thief.append("payload.erased", facts_of(case, seq, "reason", act_of(case, seq, "reason", "mallory")))
    tamper(case.world.database, ("DELETE FROM payload WHERE seq = ? AND field = 'reason'", (seq,)))
    bad = case.world.verify().first_bad
    assert bad is not None
    assert bad.proof == 9
    assert "lists no reviewer" in bad.reason


def test_nothing_is_erased_twice(case: Case) -> None:
    thief = Thief(case.world)
    seq = thief.find("action.requested", "resolved").seq
    for _ in range(2):
        thief.append("payload.erased", facts_of(case, seq, "reason", act_of(case, seq, "reason")))
    tamper(case.world.database, ("DELETE FROM payload WHERE seq = ? AND field = 'reason'", (seq,)))
    bad = case.world.verify().first_bad
    assert bad is not None
    assert (bad.proof, "was erased before" in bad.reason) == (9, True)


def test_an_undo_of_what_was_erased_is_not_derived_and_all_else_of_it_is_proved(case: Case) -> None:
    case.erase(case.world.actions["reviewed"], "plan", "diff")
    report = case.world.verify()
    assert report.verdict == "PASS-UNANCHORED"
    assert {item.kind for item in report.underivable} == {"action.requested", "execution.started", "action.undoing"}


def test_a_person_erases_at_the_command_line(case: Case) -> None:
    more = ("--field", "argument.comment", "--basis", BASIS, "--key", case.world.people.files["alice"])
    said = tell("--home", case.home.folder, "audit", "erase", case.action[-8:], *more)
    assert said.code == 0, said.err
    assert "argument.comment" in said.out
    assert "backups and exports made before keep what they have" in said.err
    assert "alice erased argument.comment of entry" in tell("--home", case.home.folder, "audit", "log").out
    again = tell("--home", case.home.folder, "audit", "erase", case.action, *more)
    assert (again.code, again.out) == (0, "")
    assert "swept again" in again.err
