"""Recoveries: what counts no more after a restored copy, whose word it takes, and what a clock may be signed for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keyturn.approvals.action import status
from keyturn.canon import Json
from keyturn.fold.freezes import OVERRIDE, overriding
from keyturn.fold.recovery import CLOCK, RECOVER, RESTORED, recovery_digest
from keyturn.fold.state import State
from keyturn.fold.story import tell
from keyturn.log.entry import Entry
from keyturn.log.fold import STANDING, FoldError
from keyturn.model.time import format_timestamp
from tests.approvals.world import action_id, obligation, seconds
from tests.fold.people import ALICE, BOB, MALLORY, Person
from tests.fold.test_budgets import release, withhold
from tests.fold.test_state import restored
from tests.fold.world import WORDS, World

LOST: Json = {"size": 99, "leaf": "7" * 64}


def facts_of(world: World, reason: str, **changed: Json) -> dict[str, Json]:
    facts: dict[str, Json] = {
        "reason": reason,
        "size": len(world.entries),
        "leaf": world.entries[-1].leaf,
        "missing": LOST if reason == RESTORED else None,
        "clock": None if reason == RESTORED else clock(world),
    }
    return {**facts, **changed}


def clock(world: World, behind: timedelta = timedelta(), **changed: Json) -> dict[str, Json]:
    """A clock that is `behind` the entry to be appended next, read at the same moment."""
    up, wall = len(world.entries), format_timestamp(world.now - behind)
    return {"boot": "boot", "wall": wall, "up": up, **changed}


def sign_for(world: World, facts: dict[str, Json], by: Person = ALICE, /, **changed: Any) -> Entry:
    act = world.act(RECOVER, str(facts["reason"]), recovery_digest(facts, WORDS), by, **changed)
    return world.add("recovery", {**facts, "act": act}, data={"reason": WORDS})


def restore(world: World, by: Person = ALICE, /, **changed: Json) -> Entry:
    world.wait(seconds(1))
    entry = sign_for(world, facts_of(world, RESTORED, **changed), by)
    world.wait(seconds(1))
    return entry


@pytest.fixture
def world() -> World:
    return World().found()


def state_of(world: World, number: int = 1) -> str:
    return status(world.state.actions[action_id(number)], world.now)


# --- restored -----------------------------------------------------------------------------------------------------


def test_an_approved_action_waits_for_its_reviews_anew(world: World) -> None:
    world.ask()
    early = world.review(ALICE)
    assert state_of(world) == "approved"
    restore(world)
    assert state_of(world) == "pending"
    with pytest.raises(FoldError, match="the action is pending"):
        world.start(early.seq)
    again = world.review(ALICE)
    world.start(again.seq)
    assert state_of(world) == "running"


def test_a_review_from_before_cannot_be_handed_in_again(world: World) -> None:
    world.ask()
    early = world.review(ALICE)
    restore(world)
    with pytest.raises(FoldError, match="older than the restored ledger"):
        world.add("action.reviewed", early.facts, action_id(1), {"review.reason": WORDS})


def test_an_intent_cannot_name_a_review_from_before_beside_one_from_after(world: World) -> None:
    world.ask(1, obligation("alice", "bob", quorum=2))
    early = world.review(BOB)
    restore(world)
    late = world.review(ALICE)
    with pytest.raises(FoldError, match="pending"):
        world.start(early.seq, late.seq)


def test_a_rejection_from_before_stays(world: World) -> None:
    world.ask(1, obligation("alice", "bob", rejects=2))
    world.review(BOB, "reject")
    restore(world)
    world.review(ALICE, "reject")
    assert state_of(world) == "rejected"


def test_an_earlier_no_that_was_taken_back_does_not_come_back(world: World) -> None:
    world.ask(1, obligation("alice", "bob", rejects=2))
    world.review(BOB, "reject")
    world.wait(seconds(1))
    world.review(BOB)
    restore(world)
    assert world.state.actions[action_id(1)].reviews == ()
    assert state_of(world) == "pending"


def test_a_freeze_that_was_set_aside_is_on_again(world: World) -> None:
    until = format_timestamp(world.now + timedelta(hours=1))
    facts: dict[str, Json] = {"freeze": "nights", "until": until}
    act = world.act(OVERRIDE, "nights", overriding(facts, WORDS).digest)
    world.add("freeze.overridden", {**facts, "act": act}, data={"reason": WORDS})
    assert set(world.state.overrides) == {"nights"}
    restore(world)
    assert world.state.overrides == {}


def test_who_signed_for_an_execution_signs_anew(world: World) -> None:
    world.ask()
    withhold(world)
    world.review(ALICE)
    release(world)
    restore(world)
    again = world.review(ALICE)
    assert world.state.actions[action_id(1)].waits_for_a_hand
    with pytest.raises(FoldError, match="nobody has signed for it"):
        world.start(again.seq)
    release(world)
    world.start(again.seq)
    assert state_of(world) == "running"


def test_what_was_permitted_and_had_not_begun_never_begins(world: World) -> None:
    world.ask(1, decision="permit")
    restore(world)
    with pytest.raises(FoldError, match="permitted before the ledger was restored"):
        world.start()
    world.stale()
    assert state_of(world) == "stale"


def test_what_was_permitted_afterwards_begins(world: World) -> None:
    restore(world)
    world.ask_and_start()
    assert state_of(world) == "running"


def test_what_had_begun_is_settled_as_ever(world: World) -> None:
    world.ask_and_start()
    restore(world)
    world.finish("unknown", recovered=True)
    world.resolve("succeeded")
    assert state_of(world) == "succeeded"


def test_what_was_over_stays_over(world: World) -> None:
    world.ask(1)
    world.review(ALICE, "reject")
    world.ask(2)
    world.cancel(2)
    restore(world)
    assert (state_of(world, 1), state_of(world, 2)) == ("rejected", "cancelled")


def test_the_story_of_an_action_tells_the_restoration(world: World) -> None:
    world.ask(1, obligation("alice", "bob", quorum=2, rejects=2))
    world.review(BOB, "reject")
    world.review(ALICE)
    restore(world)
    mine = [entry for entry in world.entries if entry.action == action_id(1)]
    assert tell(mine, world.state.restored) == world.state.actions[action_id(1)]
    late = world.review(ALICE)
    present = world.state.actions[action_id(1)]
    places = {present.seq, late.seq, *(review.seq for review in present.reviews)}
    needed = [entry for entry in world.entries if entry.seq in places]
    assert tell(needed, world.state.restored) == present
    assert tell(needed) != present


def test_the_story_of_an_action_from_afterwards_is_told_without_it(world: World) -> None:
    restore(world)
    world.ask()
    world.review(ALICE)
    mine = [entry for entry in world.entries if entry.action == action_id(1)]
    assert tell(mine, world.state.restored) == tell(mine) == world.state.actions[action_id(1)]


def test_the_last_restoration_stands_in_snapshots_and_is_told_again(world: World) -> None:
    world.ask()
    world.review(ALICE)
    restore(world)
    restore(world)
    few = [entry for entry in world.entries if entry.kind in STANDING]
    assert State.standing_of(few, len(world.entries)) == world.state.standing()
    again = restored(world.state)
    assert again.restored == world.state.restored
    assert again.actions == world.state.actions
    assert world.state.restored is not None
    assert world.state.restored.seq == len(world.entries) - 1


def test_acts_signed_before_a_restore_count_no_more_after_it(world: World) -> None:
    """What is lost held signed acts as well: whoever kept one does not get its effect again."""
    act = world.act_issuing(2)
    restore(world)
    with pytest.raises(FoldError, match="signed before the ledger was restored"):
        world.issue(2, act)
    world.issue(2, world.act_issuing(2))


def test_an_act_counts_at_the_very_time_of_the_restore(world: World) -> None:
    """Where a clock is behind, time stands still after a restore: somebody must be able to sign for the clock."""
    world.wait(seconds(1))
    at = sign_for(world, facts_of(world, RESTORED)).at
    world.issue(2, world.act_issuing(2, at=at))


def test_somebody_not_listed_restores_nothing(world: World) -> None:
    with pytest.raises(FoldError, match="lists no reviewer 'mallory'"):
        restore(world, MALLORY)


@pytest.mark.parametrize("changed", [{"size": 3}, {"leaf": "0" * 64}])
def test_a_restoration_names_the_place_where_it_stands(world: World, changed: dict[str, Json]) -> None:
    with pytest.raises(FoldError, match="another last entry"):
        restore(world, **changed)


def test_a_signature_for_another_loss_does_not_count(world: World) -> None:
    facts = facts_of(world, RESTORED)
    act = world.act(RECOVER, RESTORED, recovery_digest(facts, WORDS))
    with pytest.raises(FoldError, match="the signed act says"):
        world.add("recovery", {**facts, "missing": None, "act": act}, data={"reason": WORDS})


def test_a_restoration_says_nothing_of_a_clock_and_a_clock_is_said(world: World) -> None:
    for facts in (facts_of(world, RESTORED, clock=clock(world)), facts_of(world, CLOCK, clock=None)):
        with pytest.raises(FoldError, match="says what the clock was"):
            sign_for(world, facts)


# --- the clock ----------------------------------------------------------------------------------------------------


def test_a_clock_signed_for_voids_no_review(world: World) -> None:
    world.ask()
    world.review(ALICE)
    sign_for(world, facts_of(world, CLOCK))
    assert state_of(world) == "approved"
    assert world.state.restored is None


def test_the_same_words_on_a_clock_may_stand_a_few_entries_later(world: World) -> None:
    facts = facts_of(world, CLOCK)
    act = world.act(RECOVER, CLOCK, recovery_digest(facts, WORDS))
    world.throttle()
    later = {**facts_of(world, CLOCK), "clock": facts["clock"], "act": act}
    world.add("recovery", later, data={"reason": WORDS})


@pytest.mark.parametrize("changed", [{"boot": "other"}, {"up": 2**52}])
def test_a_clock_of_another_boot_or_time_is_refused(world: World, changed: dict[str, Json]) -> None:
    with pytest.raises(FoldError, match="another boot, or too long ago"):
        sign_for(world, facts_of(world, CLOCK, clock=clock(world, timedelta(), **changed)))


@pytest.mark.parametrize("behind", [timedelta(seconds=-61), timedelta(days=36_526)])
def test_an_entry_far_from_the_clock_it_is_about_is_refused(world: World, behind: timedelta) -> None:
    with pytest.raises(FoldError, match="not that of the clock"):
        sign_for(world, facts_of(world, CLOCK, clock=clock(world, behind)))


def test_nothing_is_missing_because_of_a_clock(world: World) -> None:
    with pytest.raises(FoldError, match="nothing is missing"):
        sign_for(world, facts_of(world, CLOCK, missing=LOST))
