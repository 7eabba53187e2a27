"""Whether a review counts: each refusal with its code, and the one moment it begins or ends at."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

import pytest

from keyturn.approvals.action import Action, Review
from keyturn.approvals.judgement import SKEW, Counts, DoesNotCount, judge_review, unmet
from keyturn.approvals.statement import ReviewStatement
from tests.approvals.world import (
    MICROSECOND,
    ORIGIN,
    REASON,
    SOON,
    START,
    TTL,
    action_id,
    held,
    key_of,
    obligation,
    review,
    seconds,
    with_reviews,
)

FOUR_EYES: Final = held(obligation("alice", "bob", quorum=2))


def statement(
    action: Action, reviewer: str = "alice", verdict: str = "approve", at: datetime = SOON
) -> ReviewStatement:
    return ReviewStatement(
        log=ORIGIN,
        action=action.id,
        digest=action.digest,
        verdict=verdict,
        reviewer=reviewer,
        reason=REASON,
        at=at,
    )


def code(
    action: Action,
    said: ReviewStatement,
    *,
    now: datetime = SOON,
    key: str | None = None,
    given: Review | None = None,
) -> str:
    """The code of the refusal, or "" when the review counts."""
    recorded = given or review(said.reviewer, said.verdict, at=said.at)
    judged = judge_review(action, said, recorded, key or key_of(said.reviewer), now)
    if isinstance(judged, DoesNotCount):
        assert judged.reason
        return judged.code
    assert judged == Counts()
    return ""


def test_a_review_by_a_listed_and_eligible_person_counts() -> None:
    assert code(FOUR_EYES, statement(FOUR_EYES)) == ""
    assert code(FOUR_EYES, statement(FOUR_EYES, verdict="reject")) == ""


def test_a_review_of_another_action_or_digest_is_refused() -> None:
    said = statement(FOUR_EYES)
    assert code(FOUR_EYES, replace(said, action=action_id(2))) == "other_action"
    assert code(FOUR_EYES, replace(said, digest="sha256:" + "f" * 64)) == "other_digest"


@pytest.mark.parametrize("ended", ["succeeded", "failed", "unknown", "cancelled", "stale"])
def test_what_is_over_cannot_be_reviewed(ended: str) -> None:
    action = replace(FOUR_EYES, ended=ended, ended_at=START)
    assert code(action, statement(action)) == "already_decided"


def test_a_rejected_action_cannot_be_saved_by_its_reviewer() -> None:
    action = with_reviews(FOUR_EYES, review("alice", "reject"))
    assert code(action, statement(action, at=SOON + seconds(1)), now=SOON + seconds(1)) == "already_decided"


def test_a_review_is_too_late_at_the_exact_microsecond_of_the_expiry() -> None:
    expiry = START + TTL
    late = statement(FOUR_EYES, at=expiry - MICROSECOND)
    assert code(FOUR_EYES, late, now=expiry - MICROSECOND) == ""
    assert code(FOUR_EYES, late, now=expiry) == "already_decided"


def test_an_approved_action_can_still_be_rejected_until_it_runs() -> None:
    action = with_reviews(held(obligation("alice", "bob")), review("alice"))
    assert code(action, statement(action, "bob", "reject")) == ""


def test_what_the_policy_let_run_is_not_reviewed() -> None:
    action = replace(FOUR_EYES, decision="permit", obligations=())
    assert code(action, statement(action)) == "nothing_to_review"


def test_the_clocks_of_people_may_be_five_minutes_off_and_no_more() -> None:
    early, late = START - SKEW, SOON + SKEW
    assert code(FOUR_EYES, statement(FOUR_EYES, at=early)) == ""
    assert code(FOUR_EYES, statement(FOUR_EYES, at=early - MICROSECOND)) == "before_the_request"
    assert code(FOUR_EYES, statement(FOUR_EYES, at=late)) == ""
    assert code(FOUR_EYES, statement(FOUR_EYES, at=late + MICROSECOND)) == "from_the_future"


def test_what_was_signed_until_the_ledger_was_restored_does_not_count() -> None:
    action = replace(FOUR_EYES, signed_after=SOON)
    assert code(action, statement(action, at=SOON - MICROSECOND)) == "before_the_restore"
    assert code(action, statement(action, at=SOON)) == "before_the_restore"
    assert code(action, statement(action, at=SOON + MICROSECOND)) == ""


def test_who_asks_for_it_may_not_review_it() -> None:
    action = replace(FOUR_EYES, asked_by="alice")
    assert code(action, statement(action, "alice")) == "asker_excluded"
    assert code(action, statement(action, "alice", "reject")) == "asker_excluded"
    assert code(action, statement(action, "bob")) == ""


def test_the_owner_may_not_review_even_if_listed() -> None:
    action = held(obligation("alice", "olga"), owner="olga", excluded=["olga"])
    assert code(action, statement(action, "olga")) == "owner_excluded"
    assert code(action, statement(action, "olga", "reject")) == "owner_excluded"


def test_strangers_and_other_peoples_keys_are_refused() -> None:
    assert code(FOUR_EYES, statement(FOUR_EYES, "mallory")) == "not_a_reviewer"
    assert code(FOUR_EYES, statement(FOUR_EYES), key=key_of("bob")) == "key_not_listed"
    assert code(FOUR_EYES, statement(FOUR_EYES), key=key_of("alice") + " comment") == "key_not_listed"


def test_a_second_review_must_be_newer_by_its_own_time() -> None:
    action = with_reviews(FOUR_EYES, review("alice"))
    assert code(action, statement(action, at=SOON)) == "not_newer"
    assert code(action, statement(action, at=SOON - MICROSECOND)) == "not_newer"
    assert code(action, statement(action, at=SOON + MICROSECOND)) == ""
    assert code(action, statement(action, "bob", at=SOON)) == ""


def test_a_word_from_between_two_earlier_ones_is_not_newer() -> None:
    action = held(obligation("alice", "bob", rejects=2))
    action = with_reviews(action, review("alice"), review("alice", "reject", at=SOON + seconds(9)))
    later = SOON + seconds(10)
    assert code(action, statement(action, at=SOON + seconds(5)), now=later) == "not_newer"
    assert code(action, statement(action, at=later), now=later) == ""


def test_who_becomes_eligible_later_is_refused_until_the_exact_moment() -> None:
    action = held(obligation("alice", later={1800: ["bob"]}))
    moment = START + seconds(1800)
    assert code(action, statement(action, "bob", at=moment), now=moment - MICROSECOND) == "not_eligible_yet"
    assert code(action, statement(action, "bob", at=moment), now=moment) == ""


# --- key classes ----------------------------------------------------------------------------------------------


def hardware(said: ReviewStatement, *, present: bool, pinned: bool) -> Review:
    return review(said.reviewer, said.verdict, at=said.at, present=present, pinned=pinned)


@pytest.mark.parametrize(
    ("keys", "present", "pinned", "expected"),
    [
        ("hardware", True, False, ""),
        ("hardware", False, True, "key_class"),
        ("hardware+pin", True, True, ""),
        ("hardware+pin", True, False, "key_class"),
        ("hardware+pin", False, True, "key_class"),
    ],
)
def test_an_approval_needs_what_its_key_class_asks(keys: str, present: bool, pinned: bool, expected: str) -> None:
    action = held(obligation("alice", keys=keys))
    said = statement(action)
    assert code(action, said, given=hardware(said, present=present, pinned=pinned)) == expected


@pytest.mark.parametrize("keys", ["hardware", "hardware+pin"])
def test_a_plain_key_may_reject_but_not_approve_where_hardware_is_asked_for(keys: str) -> None:
    action = held(obligation("alice", keys=keys))
    assert code(action, statement(action)) == "key_class"
    assert code(action, statement(action, verdict="reject")) == ""


def test_an_approval_that_fits_one_of_several_obligations_counts_for_that_one_alone() -> None:
    action = held(obligation("alice", rule="a"), obligation("alice", rule="b", keys="hardware"))
    assert code(action, statement(action)) == ""
    assert unmet(with_reviews(action, review("alice")), SOON) == ("b: 0 of 1 approvals",)


def test_an_approval_that_would_fit_only_after_an_escalation_is_refused_until_then() -> None:
    action = held(
        obligation("alice", rule="a", keys="hardware"), obligation("bob", rule="b", later={1800: ["alice"]})
    )
    moment = START + seconds(1800)
    assert code(action, statement(action)) == "key_class"
    assert code(action, statement(action, at=moment), now=moment) == ""


def test_obligations_of_other_people_do_not_lend_their_key_class() -> None:
    action = held(obligation("alice", rule="a", keys="hardware"), obligation("bob", rule="b"))
    assert code(action, statement(action)) == "key_class"
    assert code(action, statement(action, "bob")) == ""
