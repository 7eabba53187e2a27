"""What state an action is in at a given moment, and who has agreed by then."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from keyturn.approvals.action import (
    OPEN,
    TERMINAL,
    Action,
    Started,
    eligible,
    ended_at,
    key_shortfall,
    status,
    tallies,
    tally,
)
from keyturn.approvals.judgement import unmet
from tests.approvals.world import INSTANCE, MICROSECOND, START, TTL, held, obligation, review, seconds, with_reviews

EXPIRY = START + TTL
HOUR = seconds(3600)


def started(action: Action, at: datetime) -> Action:
    return replace(action, started=Started(seq=9, instance=INSTANCE, at=at))


def test_it_waits_until_the_quorum_is_there() -> None:
    action = held(obligation("alice", "bob", quorum=2))
    assert status(action, START) == "pending"
    action = with_reviews(action, review("alice"))
    assert status(action, START + HOUR) == "pending"
    action = with_reviews(action, review("bob"))
    assert status(action, START + HOUR) == "approved"


def test_expiry_is_a_no_at_the_exact_microsecond() -> None:
    action = held(obligation("alice"))
    assert status(action, EXPIRY - MICROSECOND) == "pending"
    assert status(action, EXPIRY) == "expired"
    assert ended_at(action, EXPIRY - MICROSECOND) is None
    assert ended_at(action, EXPIRY + HOUR) == EXPIRY


def test_what_was_approved_and_not_begun_in_time_has_expired() -> None:
    action = with_reviews(held(obligation("alice")), review("alice"))
    assert status(action, EXPIRY - MICROSECOND) == "approved"
    assert status(action, EXPIRY) == "expired"


def test_what_began_before_its_expiry_stays_running_after_it() -> None:
    action = started(with_reviews(held(obligation("alice")), review("alice")), EXPIRY - MICROSECOND)
    assert status(action, EXPIRY + HOUR) == "running"
    assert ended_at(action, EXPIRY + HOUR) is None


def test_one_rejection_ends_it_even_when_the_quorum_is_there() -> None:
    action = held(obligation("alice", "bob", "carol", quorum=2))
    action = with_reviews(action, review("alice"), review("bob"), review("carol", "reject", at=START + HOUR))
    assert status(action, START + HOUR) == "rejected"
    assert status(action, EXPIRY + HOUR) == "rejected"
    assert ended_at(action, EXPIRY) == START + HOUR


def test_rejections_below_the_threshold_end_nothing() -> None:
    action = held(obligation("alice", "bob", "carol", rejects=2))
    action = with_reviews(action, review("alice", "reject"))
    assert status(action, START + HOUR) == "pending"
    assert status(with_reviews(action, review("carol")), START + HOUR) == "approved"
    assert status(with_reviews(action, review("bob", "reject")), START + HOUR) == "rejected"


def test_a_threshold_counts_people_who_reject_not_their_rejections() -> None:
    action = held(obligation("alice", "bob", rejects=2))
    action = with_reviews(action, review("alice", "reject"), review("alice", "reject", at=START + HOUR))
    assert status(action, START + HOUR) == "pending"


def test_a_quorum_counts_people_not_keys_or_reviews() -> None:
    action = held(obligation("alice", "bob", quorum=2))
    other_key = replace(review("alice", at=START + HOUR), key="SHA256:another")
    action = with_reviews(action, review("alice"), other_key)
    assert status(action, START + HOUR) == "pending"
    assert unmet(action, START + HOUR) == ("pull requests: 1 of 2 approvals",)


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        (["approve"], "approved"),
        (["approve", "reject"], "pending"),
        (["approve", "reject", "approve"], "approved"),
        (["reject", "approve"], "approved"),
        (["reject", "approve", "reject"], "pending"),
    ],
)
def test_the_newest_word_of_a_person_counts(verdicts: list[str], state: str) -> None:
    action = held(obligation("alice", "bob", rejects=2))
    for step, verdict in enumerate(verdicts):
        action = with_reviews(action, review("alice", verdict, at=START + seconds(step + 1)))
    assert status(action, START + HOUR) == state


def test_one_review_counts_for_every_obligation_of_its_reviewer() -> None:
    action = held(obligation("alice", rule="a"), obligation("alice", "bob", rule="b", quorum=2))
    action = with_reviews(action, review("alice"))
    assert [count.approved for count in tallies(action, START + HOUR)] == [("alice",), ("alice",)]
    assert [count.missing for count in tallies(action, START + HOUR)] == [0, 1]
    assert status(action, START + HOUR) == "pending"
    assert status(with_reviews(action, review("bob")), START + HOUR) == "approved"


def test_a_rejection_within_one_obligation_ends_the_action() -> None:
    action = held(obligation("alice", rule="a"), obligation("bob", rule="b", rejects=2))
    action = with_reviews(action, review("bob", "reject"))
    assert status(action, START + HOUR) == "pending"
    assert status(with_reviews(action, review("alice", "reject")), START + HOUR) == "rejected"


def test_a_permitted_action_is_approved_until_it_expires() -> None:
    action = replace(held(obligation("alice")), decision="permit", obligations=())
    assert status(action, EXPIRY - MICROSECOND) == "approved"
    assert status(action, EXPIRY) == "expired"


def test_a_shadowed_action_is_over_with_its_request_and_never_approved() -> None:
    action = replace(held(obligation("alice")), decision="shadow", obligations=())
    for moment in (START, EXPIRY - MICROSECOND, EXPIRY):
        assert status(action, moment) == "shadowed"
        assert ended_at(action, moment) == START
    assert ended_at(replace(action, ended="shadowed", ended_at=START + HOUR), EXPIRY) == START + HOUR


@pytest.mark.parametrize("ended", sorted(TERMINAL - {"denied", "rejected", "expired"}))
def test_what_an_entry_ended_stays_so_whatever_the_time(ended: str) -> None:
    action = replace(held(obligation("alice")), ended=ended, ended_at=START + HOUR)
    for moment in (START, EXPIRY, EXPIRY + HOUR):
        assert status(action, moment) == ended
        assert ended_at(action, moment) == START + HOUR


def test_unknown_is_open_and_has_not_ended() -> None:
    action = replace(held(obligation("alice")), ended="unknown", ended_at=START + HOUR)
    assert status(action, EXPIRY) == "unknown"
    assert "unknown" in OPEN
    assert not OPEN & TERMINAL
    assert ended_at(action, EXPIRY) is None


# --- who may review -------------------------------------------------------------------------------------------


def test_an_escalation_lets_others_review_from_its_exact_moment_on() -> None:
    due = obligation("alice", later={1800: ["oncall"], 3600: ["boss", "alice"]})
    action = held(due)
    assert eligible(action, due, START + seconds(1800) - MICROSECOND) == ("alice",)
    assert eligible(action, due, START + seconds(1800)) == ("alice", "oncall")
    assert eligible(action, due, START + seconds(3600)) == ("alice", "oncall", "boss")


def test_the_owner_is_excluded_wherever_the_names_come_from() -> None:
    due = obligation("olga", "alice", later={60: ["olga", "bob"]})
    action = held(due, owner="olga", excluded=["olga"])
    assert eligible(action, due, START + HOUR) == ("alice", "bob")
    action = with_reviews(action, review("olga"))
    assert status(action, START + HOUR) == "pending"


def test_an_early_approval_counts_for_an_obligation_once_it_has_escalated_to_its_reviewer() -> None:
    action = held(obligation("bob", rule="a"), obligation("alice", rule="b", later={3600: ["bob"]}))
    action = with_reviews(action, review("bob"))
    assert status(action, START + HOUR - MICROSECOND) == "pending"
    assert status(action, START + HOUR) == "approved"


def test_an_early_rejection_ends_it_once_an_escalation_lets_it_count_and_from_that_moment() -> None:
    due = (
        obligation("bob", rule="a", rejects=2),
        obligation("alice", rule="b", later={60: ["carol"], 3600: ["bob"]}),
    )
    action = with_reviews(held(*due), review("bob", "reject", at=START + seconds(30)))
    assert status(action, START + HOUR - MICROSECOND) == "pending"
    assert status(action, START + HOUR) == "rejected"
    assert ended_at(action, EXPIRY) == START + HOUR


def test_nobody_becomes_eligible_after_the_expiry() -> None:
    due = (obligation("bob", rule="a", rejects=2), obligation("alice", rule="b", later={4 * 3600 + 1: ["bob"]}))
    action = with_reviews(held(*due), review("bob", "reject"))
    assert status(action, EXPIRY + HOUR) == "expired"


# --- keys -----------------------------------------------------------------------------------------------------

KEYS = {
    "plain": (None, None),
    "untouched": (False, False),
    "untouched with pin": (False, True),
    "touched": (True, False),
    "touched with pin": (True, True),
}


@pytest.mark.parametrize(
    ("asked", "fit"),
    [
        ("any", set(KEYS)),
        ("hardware", {"touched", "touched with pin"}),
        ("hardware+pin", {"touched with pin"}),
        ("a class of tomorrow", set()),
    ],
)
def test_an_approval_counts_only_by_a_key_of_the_class_asked_for(asked: str, fit: set[str]) -> None:
    due = obligation("alice", keys=asked)
    for name, (present, pinned) in KEYS.items():
        given = review("alice", present=present, pinned=pinned)
        count = tally(with_reviews(held(replace(due, keys="any")), given), due, START + HOUR)
        assert (count.approved == ("alice",)) == (name in fit)
        assert (key_shortfall(asked, given) is None) == (name in fit)


@pytest.mark.parametrize("keys", ["any", "hardware", "hardware+pin"])
def test_a_rejection_counts_by_any_key(keys: str) -> None:
    action = with_reviews(held(obligation("alice", keys=keys)), review("alice", "reject"))
    assert status(action, START + HOUR) == "rejected"


def test_a_later_approval_by_a_lesser_key_takes_the_earlier_ones_place() -> None:
    action = held(obligation("alice", rule="a"), obligation("alice", rule="b", keys="hardware"))
    action = with_reviews(action, review("alice", present=True))
    assert status(action, START + HOUR) == "approved"
    action = with_reviews(action, review("alice", at=START + seconds(120)))
    assert status(action, START + HOUR) == "pending"
    assert unmet(action, START + HOUR) == ("b: 0 of 1 approvals",)
