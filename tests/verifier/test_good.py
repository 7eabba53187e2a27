"""What an honest ledger gets, and what its report tells."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import keyturn.verifier as room
from keyturn.ledger import schema as written
from keyturn.log import chain
from keyturn.model.errors import ConfigurationError, LedgerError
from keyturn.verifier import Report, in_words
from keyturn.verifier.findings import Listing
from keyturn.verifier.proofs import ADVICE
from keyturn.verifier.report import LISTED, FirstBad
from keyturn.verifier.schema import APPLICATION_ID, EXPECTED, USER_VERSION
from tests.verifier.world import Thief, World, entries, raw


def test_an_honest_ledger_passes_unanchored(good: World) -> None:
    report = good.verify(pinned=good.verifier)
    assert (report.verdict, report.first_bad) == ("PASS-UNANCHORED", None)
    assert (report.log, report.pinned) == (good.verifier, True)


def test_everything_is_unwitnessed_while_there_are_no_anchors(good: World) -> None:
    report = good.verify()
    stored = entries(good.database)
    assert report.size == report.unwitnessed == len(stored)
    assert (report.last_seq, report.last_at) == (stored[-1].seq, stored[-1].at)
    assert sum(report.counts.values()) == len(stored)


def test_without_a_pinned_verifier_the_report_says_whose_key_it_believed(good: World) -> None:
    report = good.verify()
    assert not report.pinned
    assert any("what the file itself says" in line for line in in_words(report))


def test_the_report_names_what_is_open_and_unknown(good: World) -> None:
    report = good.verify()
    assert [item.action for item in report.open_intents] == [good.actions["begun"]]
    assert [item.action for item in report.unknown_outcomes] == [good.actions["unknown"]]
    assert report.open_intents[0].target == "deployments:web/staging"


def test_the_report_names_every_activation_with_who_signed_it(good: World) -> None:
    first, second = good.verify().activations
    assert (first.by, second.by) == (None, "alice")
    assert sorted(first.added) == ["alice", "bob", "carol", "dave"]
    assert not second.added
    assert not second.removed


def test_the_report_names_every_token_with_who_signed_it(good: World) -> None:
    assert [(item.principal, item.by) for item in good.verify().tokens] == [
        ("claude", None),
        ("tester", None),
        ("claude", "alice"),
    ]


def test_another_boot_is_reported_as_a_step_of_the_clock(good: World) -> None:
    (step,) = good.verify().clock_steps
    assert (step.kind, step.seconds) == ("boot", None)


def test_a_wall_clock_that_left_the_machines_own_is_reported(thief: Thief) -> None:
    last = thief.all[-1]
    facts = {"principal": "claude", "count": 1, "code": "x", "since": _ts(last), "until": _ts(last)}
    thief.append("requests.throttled", facts, up=last.up + 100_000_000)
    report = thief.world.verify()
    assert report.verdict == "PASS-UNANCHORED"
    assert [step.seconds for step in report.clock_steps if step.kind == "step"] == [-99]
    assert any("jumped by -99 s" in line for line in in_words(report))


def _ts(entry: object) -> str:
    return re.search(rb'"ts":"([^"]+)"', entry.body)[1].decode()  # type: ignore[attr-defined,index]  # an entry's body


def test_verifying_leaves_the_file_and_its_folder_as_they_are(world: World) -> None:
    before = (world.database.read_bytes(), world.database.stat().st_mtime_ns)
    report = world.verify()
    assert (world.database.read_bytes(), world.database.stat().st_mtime_ns) == before
    assert list(world.database.parent.iterdir()) == [world.database]
    assert "no write-ahead log" in report.opened


def test_entries_in_the_write_ahead_log_are_verified_too(world: World, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    before = len(entries(world.database))
    with raw(world.database) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        thief = Thief(world)
        body = thief.append("requests.throttled", _throttled(thief)).body
        thief_rows = db.execute("SELECT count(*) FROM entry").fetchone()[0]
        assert thief_rows == before + 1
        db.execute("INSERT INTO lookup VALUES (10001, 'x', NULL, NULL, NULL, 'x')")
        for file in world.database.parent.glob("ledger.db*"):
            shutil.copy(file, away / file.name)
    copy = replace(world, database=away / "ledger.db")
    report = copy.verify()
    assert report.verdict == "PASS-UNANCHORED"
    assert "together with its write-ahead log" in report.opened
    assert entries(copy.database)[-1].body == body


def _throttled(thief: Thief) -> dict[str, object]:
    at = _ts(thief.all[-1])
    return {"principal": "claude", "count": 1, "code": "limit", "since": at, "until": at}


def test_a_running_server_does_not_disturb_a_verification(world: World) -> None:
    with raw(world.database) as db:
        db.execute("INSERT INTO lookup VALUES (10001, 'x', NULL, NULL, NULL, 'x')")
        assert world.verify().verdict == "PASS-UNANCHORED"


def test_a_file_that_does_not_hold_still_gets_no_verdict(world: World) -> None:
    calls: list[int] = []

    def touch(done: int, total: int) -> None:
        calls.append(done)
        os.utime(world.database, ns=(1, len(calls)))

    with pytest.raises(LedgerError, match="being written"):
        world.verify(progress=touch)


def test_a_file_that_moved_once_is_read_again(world: World) -> None:
    calls: list[int] = []

    def once(done: int, total: int) -> None:
        if not calls:
            os.utime(world.database, ns=(1, 1))
        calls.append(done)

    assert world.verify(progress=once).verdict == "PASS-UNANCHORED"
    assert len(calls) == 4


def test_progress_ends_at_the_size(good: World) -> None:
    told: list[tuple[int, int]] = []
    report = good.verify(progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (report.size, report.size)


def test_a_missing_file_gets_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="is no file"):
        room.verify_ledger(tmp_path / "nothing.db")


def test_a_file_that_cannot_be_opened_gets_no_verdict(world: World) -> None:
    world.database.with_name("ledger.db-wal").mkdir()
    with pytest.raises(LedgerError, match="no verdict"):
        world.verify()


def test_a_pinned_text_that_is_no_verifier_string_is_refused(good: World) -> None:
    with pytest.raises(ConfigurationError, match="verifier string"):
        good.verify(pinned="not one")


def test_the_report_as_json_has_the_promised_members(good: World) -> None:
    value = json.loads(json.dumps(good.verify().to_json()))
    assert value["verdict"] == "PASS-UNANCHORED"
    assert value["first_bad"] is None
    assert value["size"] == value["last_seq"] + 1
    assert re.fullmatch(r"\d{4}-.*Z", value["last_at"])


def test_lines_carry_no_control_characters() -> None:
    report = Report(
        verdict="FAIL",
        size=0,
        last_seq=None,
        last_at=None,
        first_bad=FirstBad(None, 8, "bad \x1b[2J\u202e", "advice"),
        log=None,
        pinned=False,
        opened="",
        unwitnessed=0,
        counts={},
        omitted={"tokens": 3},
    )
    lines = in_words(report)
    assert all(line.isprintable() for line in lines)
    assert "and 3 more in tokens" in lines
    assert report.to_json()["first_bad"]["seq"] is None


def test_a_list_stops_growing_and_counts_the_rest() -> None:
    listing: Listing[int] = Listing()
    for number in range(LISTED + 5):
        listing.add(lambda number=number: number)  # type: ignore[misc]  # the number of this round
    assert (len(listing.items), listing.omitted) == (LISTED, 5)


def test_the_verifiers_schema_is_the_writers(tmp_path: Path) -> None:
    written.create(tmp_path / "new.db")
    with raw(tmp_path / "new.db") as db:
        rows = set(db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
    assert rows == EXPECTED
    assert (written.APPLICATION_ID, written.USER_VERSION) == (APPLICATION_ID, USER_VERSION)


def proofs(text: str) -> dict[int, str]:
    """The numbered proofs of a text: number → sentence."""
    items = re.findall(r"^ ?(\d+)\. (.*?)(?=^ ?\d+\. |^\n|\Z|^$)", text, re.MULTILINE | re.DOTALL)
    return {int(number): " ".join(item.split()).rstrip(";.") for number, item in items}


def test_every_proof_listed_has_advice_and_no_other() -> None:
    assert list(proofs(room.__doc__ or "")) == sorted(ADVICE)


def test_the_proofs_listed_are_those_of_the_format_page_and_of_the_chain() -> None:
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text("utf-8")
    of_the_page = page[page.index("## What a verifier proves") : page.index("## Bytes")]
    listed = proofs(room.__doc__ or "")
    assert listed == proofs(of_the_page)
    of_the_chain = proofs((chain.__doc__ or "").replace("No IO", "\nNo IO"))
    assert {number: listed[number] for number in of_the_chain} == of_the_chain
    assert len(of_the_chain) == 5
