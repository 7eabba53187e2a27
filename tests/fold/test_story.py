"""Telling an action's story again: only its own entries, in their real order, tell it."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.approvals.action import Action, status
from keyturn.fold.story import StoryError, next_action, tell
from keyturn.log.entry import Entry
from tests.approvals.world import action_id, obligation, seconds
from tests.fold.people import ALICE, BOB
from tests.fold.world import World


def long_story() -> World:
    """Asked, approved by two, begun, unknown, settled by a person; one second apart."""
    made = World().found()
    made.wait(seconds(1))
    made.ask(1, obligation("alice", "bob", quorum=2))
    for person in (ALICE, BOB):
        made.wait(seconds(1))
        made.review(person)
    made.wait(seconds(1))
    made.start(*(given.seq for given in made.state.actions[action_id(1)].reviews))
    made.wait(seconds(1))
    made.finish("unknown")
    made.wait(seconds(1))
    settled = made.act_resolving("failed")
    made.add(
        "execution.resolved",
        {"outcome": "failed", "effect": False, "method": "operator", "act": settled},
        action_id(1),
        {"resolve.reason": "hmac-sha256:" + "5" * 64},
    )
    return made


MADE = long_story()
STORY = [entry for entry in MADE.entries if entry.action == action_id(1)]


def told(entries: list[Entry]) -> Action | None:
    """The action these entries tell, or None when they tell none."""
    try:
        return tell(entries)
    except StoryError:
        return None


def test_the_story_tells_the_action_that_the_fold_knows() -> None:
    action = tell(STORY)
    assert action == MADE.state.actions[action_id(1)]
    assert action is not None
    assert action.digest == STORY[0].digest
    assert [review.reviewer for review in action.reviews] == ["alice", "bob"]
    assert status(action, MADE.now) == "failed"


@pytest.mark.parametrize("length", range(1, len(STORY) + 1))
def test_of_all_orders_only_the_real_one_tells_it(length: int) -> None:
    start = STORY[:length]
    expected = tell(start)
    for order in permutations(start):
        assert told(list(order)) == (expected if list(order) == start else None)


@pytest.mark.parametrize("index", range(len(STORY)))
def test_an_entry_told_twice_spoils_the_story(index: int) -> None:
    again = [*STORY[: index + 1], STORY[index], *STORY[index + 1 :]]
    with pytest.raises(StoryError):
        tell(again)
    with pytest.raises(StoryError):
        tell([*STORY, STORY[index]])


@pytest.mark.parametrize("index", range(len(STORY) - 1))
def test_a_story_with_an_entry_missing_is_not_told(index: int) -> None:
    with pytest.raises(StoryError):
        tell([*STORY[:index], *STORY[index + 1 :]])


@settings(max_examples=100)
@given(st.lists(st.sampled_from(STORY), max_size=len(STORY) + 2))
def test_no_other_pick_of_the_entries_tells_more_than_a_beginning(picked: list[Entry]) -> None:
    action = told(picked)
    if picked and action is not None:
        assert action.digest == STORY[0].digest
        assert picked[0] is STORY[0]
        # What can be left out without a trace is a review that was not needed yet; the chain proves it is there.
        assert [entry.seq for entry in picked] == sorted({entry.seq for entry in picked})


def test_a_refusal_names_the_entry_that_does_not_follow() -> None:
    with pytest.raises(StoryError) as refused:
        tell([STORY[0], STORY[3]])
    assert refused.value.seq == STORY[3].seq
    assert "pending" in refused.value.reason
    assert str(refused.value.seq) in str(refused.value)


def test_no_entries_and_refused_requests_tell_no_action() -> None:
    made = World().found()
    assert tell([]) is None
    assert tell([made.deny()]) is None


def test_an_entry_of_another_action_does_not_belong_to_the_story() -> None:
    made = World().found()
    first, second = made.ask(1), made.ask(2)
    cancelled = made.cancel(2)
    assert tell([second, cancelled]) is not None
    with pytest.raises(StoryError, match="belongs to action"):
        tell([first, cancelled])


def test_an_entry_that_is_of_no_action_does_not_belong_to_the_story() -> None:
    made = World().found()
    first = made.ask(1)
    action = next_action(None, first)
    with pytest.raises(StoryError, match="belongs to action None"):
        next_action(action, made.throttle())
    with pytest.raises(StoryError, match="no entry of an action"):
        next_action(action, replace(made.throttle(), action=action_id(1)))


def test_a_request_does_not_follow_a_request() -> None:
    made = World().found()
    first = made.ask(1)
    with pytest.raises(StoryError, match="requested twice"):
        next_action(next_action(None, first), first)


def test_a_review_with_a_bad_signature_ends_the_story_there() -> None:
    made = World().found()
    asked = made.ask(1)
    given = made.review(ALICE)
    facts = dict(given.facts)
    facts["signature"] = made.review_facts(made.statement(ALICE, "reject"), ALICE)["signature"]
    with pytest.raises(StoryError, match="does not verify"):
        tell([asked, replace(given, facts=facts)])
