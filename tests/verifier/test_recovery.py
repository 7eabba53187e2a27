"""Recoveries in a ledger: proved, listed, and what a holder of the entry key would make of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keyturn import canon
from keyturn.canon import Json
from keyturn.fold.recovery import CLOCK, RECOVER, RESTORED, recovery_digest
from keyturn.log.commitment import commit
from keyturn.log.entry import Entry
from keyturn.model.time import format_timestamp
from keyturn.verifier import in_words
from tests.verifier.test_suspensions import act, passes
from tests.verifier.test_thief import named
from tests.verifier.world import Thief

WORDS = canon.encode("the disk failed")


def recover(thief: Thief, reason: str = RESTORED, signer: str = "alice", **changed: Json) -> Entry:
    last = thief.all[-1]
    wall = format_timestamp(last.at + timedelta(seconds=1))
    clock: Json = {"boot": last.boot, "wall": wall, "up": last.up + 1_000_000} if reason == CLOCK else None
    facts: dict[str, Any] = {
        "reason": reason,
        "size": last.seq + 1,
        "leaf": last.leaf,
        "missing": None,
        "clock": clock,
    }
    facts |= changed
    meant = recovery_digest(facts, commit(bytes([7]) * 32, "reason", WORDS))
    signed = act(thief, RECOVER, reason, meant, signer)
    return thief.append("recovery", {**facts, "act": signed}, data={"reason": WORDS})


def test_new_reviews_after_a_restore_pass_and_the_report_says_what_is_lost(thief: Thief) -> None:
    lost: Json = {"size": 999, "leaf": "7" * 64}
    entry = recover(thief, missing=lost)
    thief.finish_begun()
    thief.review("approved", "alice")
    late = thief.all[-1].seq
    thief.start("approved", reviews=[late])
    thief.finish("approved")
    report = thief.world.verify()
    assert report.verdict == "PASS-UNANCHORED", report.first_bad
    [listed] = report.recoveries
    assert (listed.seq, listed.reason, listed.by, listed.missing) == (entry.seq, RESTORED, "alice", (999, "7" * 64))
    assert any("a ledger of 999 entries" in line for line in in_words(report))
    assert report.to_json()["recoveries"][0]["missing"] == [999, "7" * 64]


def test_who_remembers_the_end_that_was_signed_for_as_lost_finds_it_named(thief: Thief) -> None:
    lost = (999, "7" * 64)
    recover(thief, missing={"size": lost[0], "leaf": lost[1]})
    assert thief.world.verify(head=lost).verdict == "PASS-UNANCHORED"
    for other in ((998, "7" * 64), (999, "8" * 64)):
        failed = thief.world.verify(head=other).first_bad
        assert failed is not None
        assert failed.proof == 13


def test_a_lost_end_in_the_place_of_an_entry_that_came_since_is_named_too(thief: Thief) -> None:
    size = len(thief.all)
    recover(thief, missing={"size": size + 2, "leaf": "7" * 64})
    thief.finish_begun()
    assert len(thief.all) >= size + 2
    assert thief.world.verify(head=(size + 2, "7" * 64)).verdict == "PASS-UNANCHORED"
    assert thief.world.verify(head=(size + 2, "8" * 64)).verdict == "FAIL"


def test_an_intent_that_rests_on_reviews_from_before_is_named(thief: Thief) -> None:
    recover(thief)
    named(thief, thief.start("approved").seq)


def test_an_intent_by_a_permission_from_before_is_named(thief: Thief) -> None:
    recover(thief)
    named(thief, thief.start("permitted").seq)


def test_a_review_from_before_that_is_handed_in_again_is_named(thief: Thief) -> None:
    early = thief.review("waiting", "alice")
    recover(thief)
    again = thief.append("action.reviewed", early.facts, action=early.action, data={"review.reason": b'"yes"'})
    report = named(thief, again.seq)
    assert report.refused_reviews[0].seq == again.seq


def test_what_had_begun_before_is_finished(thief: Thief) -> None:
    recover(thief)
    thief.finish_begun()
    assert passes(thief)


@pytest.mark.parametrize("reason", [RESTORED, CLOCK])
def test_a_recovery_by_nobody_listed_is_named(thief: Thief, reason: str) -> None:
    named(thief, recover(thief, reason, "mallory").seq)


def test_a_recovery_of_another_place_is_named(thief: Thief) -> None:
    named(thief, recover(thief, size=2).seq)


def test_a_clock_taken_for_right_is_listed_with_what_the_log_is_ahead(thief: Thief) -> None:
    last = thief.all[-1]
    hour = format_timestamp(last.at + timedelta(seconds=1) - timedelta(hours=1))
    recover(thief, CLOCK, clock={"boot": last.boot, "wall": hour, "up": last.up + 1_000_000})
    thief.start("approved")
    thief.finish("approved")
    report = thief.world.verify()
    assert report.verdict == "PASS-UNANCHORED", report.first_bad
    assert [(item.reason, item.ahead) for item in report.recoveries] == [(CLOCK, 3600)]
    assert any("3600 s ahead of the wall clock" in line for line in in_words(report))


def test_a_clock_without_a_signature_for_it_is_named(thief: Thief) -> None:
    named(thief, recover(thief, CLOCK, clock=None).seq)
