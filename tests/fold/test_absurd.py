"""Entries whose fields are all as defined, and absurd: the fold takes them or says so, and never breaks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn import canon
from keyturn.approvals.action import ended_at, status
from keyturn.canon import MAX_INTEGER
from keyturn.contracts.document import MAX_DUPLICATE_WINDOW
from keyturn.fold.remembered import REMEMBER
from keyturn.fold.state import State
from keyturn.log.fold import FoldError
from keyturn.model.time import format_timestamp
from keyturn.policy.usage import Scope
from tests.approvals.world import SOON, START, action_id, obligation
from tests.fold.people import ALICE, BOB
from tests.fold.world import World

FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
NOBODY_IN_PARTICULAR = Scope()


def restored(state: State) -> State:
    return State.from_json(canon.decode(canon.encode(state.to_json())))


@pytest.mark.parametrize("after", [86_400 * 999_999_999 + 86_400, 2**52, MAX_INTEGER])
def test_an_escalation_after_longer_than_there_is_time_never_comes(after: int) -> None:
    world = World().found()
    world.ask(1, obligation("alice", later={after: ["bob"]}))
    assert status(world.state.actions[action_id(1)], SOON) == "pending"
    world.review(ALICE, "reject")
    action = world.state.actions[action_id(1)]
    assert ended_at(action, LAST) == action.reviews[-1].recorded_at
    with pytest.raises(FoldError, match="rejected"):
        world.review(BOB)


def test_a_rejection_that_an_escalation_let_count_is_dated_by_it_beside_one_that_never_comes() -> None:
    world = World().found()
    due = obligation("alice", rejects=1, later={60: ["bob"], MAX_INTEGER: ["carol"]})
    world.ask(1, due, obligation("bob", rule="other", quorum=2, rejects=2))
    world.review(BOB, "reject")
    action = world.state.actions[action_id(1)]
    assert ended_at(action, LAST) == action.requested_at + timedelta(seconds=60)


@pytest.mark.parametrize("at", [FIRST, LAST - timedelta(seconds=1)])
def test_a_log_at_the_end_of_the_calendar_is_folded_tidied_and_restored(at: datetime) -> None:
    world = World(now=at).found()
    world.ask(1, expires_at=format_timestamp(at))
    world.deny()
    world.read()
    world.ask_and_start(2, target="forge:other/main", expires_at=format_timestamp(LAST))
    world.finish("succeeded", 2)
    world.pad(130)
    assert world.state.denials_since("claude", at) == 1
    assert world.state.actions[action_id(2)].ended == "succeeded"
    used = world.state.usage.used("calls", NOBODY_IN_PARTICULAR, timedelta(days=7), at)
    assert used.amount == 3
    assert used.frees_at == min(LAST - timedelta(days=7), at) + timedelta(days=7)
    assert restored(world.state).to_json() == world.state.to_json()


@pytest.mark.parametrize("at", [FIRST, LAST])
def test_words_signed_at_the_end_of_the_calendar_are_judged(at: datetime) -> None:
    world = World(now=at).found()
    world.ask(1, expires_at=format_timestamp(LAST))
    if at == LAST:
        with pytest.raises(FoldError, match="expired"):
            world.review(ALICE)
    else:
        world.review(ALICE)
        assert status(world.state.actions[action_id(1)], at) == "approved"
    world.issue(2, act=world.act_issuing(2))


def test_a_time_between_the_ends_of_the_calendar_settles_nothing_wrongly() -> None:
    world = World(now=FIRST).found()
    world.ask(1, expires_at=format_timestamp(LAST))
    world.now = LAST
    world.pad()
    assert status(world.state.actions[action_id(1)], LAST) == "expired"


moments = st.sampled_from([FIRST, START, LAST - timedelta(minutes=1), LAST])
numbers = st.sampled_from([0, 1, 2**31, 2**52, MAX_INTEGER])


@settings(max_examples=60, deadline=None)
@given(moments, moments, numbers, numbers, st.integers(1, MAX_INTEGER))
def test_no_valid_request_breaks_the_fold(
    at: datetime, until: datetime, amount: int, after: int, quorum: int
) -> None:
    world = World(now=at).found()
    effects = {"calls": amount, "files_changed": amount, "lines_changed": amount, "recipients": amount}
    due = obligation("alice", quorum=quorum, rejects=quorum, later={after: ["bob"]})
    try:
        world.ask(1, due, expires_at=format_timestamp(until), effects=effects)
        world.review(ALICE, "reject")
        world.cancel()
    except FoldError:
        pass  # it may be refused, in the one way that readers expect
    world.pad()
    assert restored(world.state).to_json() == world.state.to_json()


def test_what_is_over_is_remembered_as_long_as_any_contract_looks_for_repeats() -> None:
    assert timedelta(seconds=MAX_DUPLICATE_WINDOW) <= REMEMBER
