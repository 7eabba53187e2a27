"""What actions take from limits, what gives it back, and that forgetting an action never does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from keyturn import canon
from keyturn.approvals.action import status
from keyturn.fold.remembered import REMEMBER
from keyturn.fold.state import State
from keyturn.policy.usage import DIMENSIONS, PENDING, Scope
from tests.approvals.world import MICROSECOND, START, TTL, action_id, obligation, seconds
from tests.fold.people import ALICE, BOB
from tests.fold.world import World, token

EVERYTHING = Scope()
WEEK = timedelta(days=7)


def taken(made: World, unit: str = "files_changed", scope: Scope = EVERYTHING) -> int:
    window = None if unit == PENDING else WEEK
    return made.state.usage.used(unit, scope, window, made.now).amount


def counts(made: World) -> tuple[int, int, int]:
    """Calls, changed files and waiting requests, as limits count them now."""
    return taken(made, "calls"), taken(made), taken(made, PENDING)


def asked(*rejecting: int) -> World:
    made = World().found()
    made.ask(1, obligation("alice", "bob", rejects=rejecting[0] if rejecting else 1))
    made.wait(seconds(60))
    return made


def running() -> World:
    made = World().found()
    made.ask_and_start(1)
    return made


def ended(outcome: str, **changed: Any) -> World:
    made = running()
    made.finish(outcome, **changed)
    return made


def settled(outcome: str, **changed: Any) -> World:
    made = ended("unknown")
    made.resolve(outcome, **changed)
    return made


def rejected() -> World:
    made = asked()
    made.review(ALICE, "reject")
    return made


def approved() -> World:
    made = asked()
    made.review(ALICE)
    return made


def stopped(kind: str) -> World:
    made = asked()
    (made.cancel if kind == "cancelled" else made.stale)()
    return made


def expired() -> World:
    made = asked()
    made.now = START + TTL
    made.expire()
    return made


def shadowed() -> World:
    made = World().found()
    made.ask(1, decision="shadow")
    made.finish("shadowed")
    return made


def read() -> World:
    made = World().found()
    made.read()
    return made


KEPT, GIVEN_BACK = (1, 2, 0), (0, 0, 0)
LIVES: dict[str, tuple[Callable[[], World], tuple[int, int, int]]] = {
    "a held request": (asked, (1, 2, 1)),
    "an approved one": (approved, KEPT),
    "a running one": (running, KEPT),
    "success": (lambda: ended("succeeded"), KEPT),
    "an unknown outcome": (lambda: ended("unknown"), KEPT),
    "a failure that changed something": (lambda: ended("failed", effect=True), KEPT),
    "a failure that changed nothing": (lambda: ended("failed"), GIVEN_BACK),
    "a stale world found at execution": (lambda: ended("stale"), GIVEN_BACK),
    "unknown, settled as done": (lambda: settled("succeeded"), KEPT),
    "unknown, settled as failed with effect": (lambda: settled("failed", effect=True), KEPT),
    "unknown, settled as not done": (lambda: settled("failed"), GIVEN_BACK),
    "a rejection": (rejected, GIVEN_BACK),
    "a cancellation": (lambda: stopped("cancelled"), GIVEN_BACK),
    "a stale request": (lambda: stopped("stale"), GIVEN_BACK),
    "an expiry": (expired, GIVEN_BACK),
    "a shadowed request": (shadowed, GIVEN_BACK),
    "a read": (read, (1, 0, 0)),
}


@pytest.mark.parametrize("life", LIVES)
def test_limits_count_what_the_life_of_an_action_leaves(life: str) -> None:
    make, expected = LIVES[life]
    assert counts(make()) == expected


def test_a_refusal_takes_nothing() -> None:
    made = World().found()
    made.deny()
    assert counts(made) == GIVEN_BACK


def test_uses_are_counted_under_all_that_limits_count_per() -> None:
    made = asked()
    request = made.state.actions[action_id(1)]
    for dimension in DIMENSIONS:
        value = getattr(request, dimension)
        assert taken(made, scope=Scope(**{dimension: frozenset({value})})) == 2
        assert taken(made, scope=Scope(**{dimension: frozenset({"other"})})) == 0


def test_an_expiry_keeps_its_reservation_until_it_is_written_down() -> None:
    made = asked()
    made.now = START + TTL
    assert counts(made) == (1, 2, 1)
    assert [action.id for action in made.state.overdue(made.now)] == [action_id(1)]
    made.expire()
    assert made.state.overdue(made.now) == []


def test_a_quorum_that_is_not_there_yet_keeps_it_waiting_once() -> None:
    made = World().found()
    made.ask(1, obligation("alice", "bob", quorum=2))
    made.wait(seconds(1))
    made.review(ALICE)
    assert counts(made) == (1, 2, 1)


def test_a_changed_mind_makes_it_count_as_waiting_again_from_its_request_on() -> None:
    made = asked(2)
    made.review(ALICE)
    assert counts(made) == KEPT
    made.wait(seconds(10))
    made.review(ALICE, "reject")
    assert counts(made) == (1, 2, 1)
    uses: Any = made.state.usage.to_json()["open"]
    assert [use[6] for use in uses] == ["2026-11-21T09:00:00.000000Z"]
    made.wait(seconds(10))
    made.review(BOB, "reject")
    assert counts(made) == GIVEN_BACK


# --- forgetting -----------------------------------------------------------------------------------------------


def long_after(made: World, time: timedelta = REMEMBER + MICROSECOND) -> World:
    made.wait(time)
    made.pad()
    return made


OVER = (
    "success",
    "a failure that changed nothing",
    "a rejection",
    "a cancellation",
    "a shadowed request",
    "an expiry",
)


@pytest.mark.parametrize("life", OVER)
def test_what_is_over_is_remembered_for_an_hour_and_then_forgotten(life: str) -> None:
    make, expected = LIVES[life]
    made = make()
    assert action_id(1) in long_after(made, REMEMBER).state.actions
    assert action_id(1) not in long_after(made, MICROSECOND).state.actions
    assert counts(made) == expected


def test_a_shadowed_request_whose_end_was_never_written_is_forgotten_too() -> None:
    made = World().found()
    made.ask(1, decision="shadow")
    assert action_id(1) not in long_after(made).state.actions


def test_a_shadowed_request_is_remembered_for_an_hour_from_its_written_end() -> None:
    made = World().found()
    made.ask(1, decision="shadow")
    made.wait(REMEMBER / 2)
    made.finish("shadowed")
    assert action_id(1) in long_after(made, REMEMBER).state.actions
    assert action_id(1) not in long_after(made, MICROSECOND).state.actions


def test_a_request_that_has_expired_when_it_is_made_waits_for_its_expiry_like_any_other() -> None:
    made = World().found()
    made.ask(1, expires_at="2026-11-21T09:00:00.000000Z")
    long_after(made, timedelta(days=1))
    assert [action.id for action in made.state.overdue(made.now)] == [action_id(1)]
    made.expire()
    assert counts(made) == GIVEN_BACK


@pytest.mark.parametrize("life", ["a running one", "an unknown outcome"])
def test_what_is_not_settled_is_never_forgotten_nor_given_back(life: str) -> None:
    made = long_after(LIVES[life][0](), timedelta(days=3))
    assert [action.id for action, _ in made.state.open_actions(made.now)] == [action_id(1)]
    assert counts(made) == KEPT


@pytest.mark.parametrize("life", ["a held request", "an approved one"])
def test_what_waits_is_not_forgotten_however_long_it_may_wait(life: str) -> None:
    made = World().found()
    made.ask(1, expires_at="2026-11-27T09:00:00.000000Z")
    if life == "an approved one":
        made.review(ALICE)
    long_after(made, timedelta(days=5))
    assert [action.id for action, _ in made.state.open_actions(made.now)] == [action_id(1)]
    assert counts(made) == LIVES[life][1]


def test_a_pending_request_counts_even_after_the_longest_window() -> None:
    made = World().found()
    made.ask(1, expires_at="2026-12-21T09:00:00.000000Z")
    long_after(made, timedelta(days=20))
    made.read()
    assert taken(made, PENDING) == 1


def test_expiries_can_be_written_however_late_and_however_many() -> None:
    made = World().found()
    for number in range(100):
        made.ask(number)
    made.wait(timedelta(days=2))
    overdue = made.state.overdue(made.now)
    assert len(overdue) == 100
    for action in overdue:  # as the sweep does, in one transaction
        made.add("action.expired", {}, action.id)
    assert counts(made) == GIVEN_BACK
    made.pad()
    assert made.state.actions == {}


def test_a_rejection_that_time_let_count_is_given_back_and_forgotten() -> None:
    made = World().found()
    made.ask(1, obligation("bob", rule="a", rejects=2), obligation("alice", rule="b", later={3600: ["bob"]}))
    made.wait(seconds(60))
    made.review(BOB, "reject")
    assert counts(made) == (1, 2, 1)
    made.now = START + seconds(3600)
    assert status(made.state.actions[action_id(1)], made.now) == "rejected"
    made.pad()
    assert counts(made) == GIVEN_BACK
    assert action_id(1) in long_after(made, REMEMBER).state.actions
    assert action_id(1) not in long_after(made, MICROSECOND).state.actions


def test_of_one_principal_only_its_newest_actions_that_are_over_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.fold.remembered.MOST", 3)
    made = World().found()
    _leave(made, 1)
    for number in range(2, 8):
        _run(made, number)
    made.pad()
    assert list(made.state.actions) == [action_id(number) for number in (1, 5, 6, 7)]
    copy = State.from_json(canon.decode(canon.encode(made.state.to_json())))
    _run(made, 8)
    made.pad()
    for entry in made.entries[-67:]:
        copy.apply(entry)
    assert list(copy.actions) == list(made.state.actions) == [action_id(number) for number in (1, 6, 7, 8)]


def test_forgetting_looks_at_the_time_of_entries_alone() -> None:
    made = LIVES["success"][0]()
    made.pad(200)
    assert action_id(1) in made.state.actions


# --- snapshots ------------------------------------------------------------------------------------------------


def busy_day() -> World:
    """Ninety lives of every kind over two days, some of them unsettled."""
    made = World().found()
    number = 1
    for _ in range(6):
        for make in (_reject, _run, _leave, _cancel, _shadow, _wait_again, _leave_unknown, _escalate):
            make(made, number)
            number += 1
            made.wait(timedelta(minutes=17))
            for action in made.state.overdue(made.now)[:1]:
                made.add("action.expired", {}, action.id)
            made.read()
            made.deny(number=4000 + number)
    return made


def _reject(made: World, number: int) -> None:
    made.ask(number)
    made.review(BOB, "reject", number)


def _run(made: World, number: int) -> None:
    made.ask_and_start(number, target=f"forge:shop/{number}")
    made.finish("succeeded", number)


def _leave(made: World, number: int) -> None:
    made.ask(number)


def _cancel(made: World, number: int) -> None:
    made.ask(number)
    made.cancel(number)


def _shadow(made: World, number: int) -> None:
    made.ask(number, decision="shadow")
    made.finish("shadowed", number)


def _wait_again(made: World, number: int) -> None:
    made.ask(number, obligation("alice", "bob", rejects=2))
    made.review(ALICE, "approve", number)
    made.wait(MICROSECOND)
    made.review(ALICE, "reject", number)


def _leave_unknown(made: World, number: int) -> None:
    made.ask_and_start(number, target=f"forge:shop/{number}")
    made.finish("unknown", number)


def _escalate(made: World, number: int) -> None:
    due = obligation("bob", rule="a", rejects=2), obligation("alice", rule="b", later={3600: ["bob"]})
    made.ask(number, *due)
    made.review(BOB, "reject", number)


def test_a_restored_snapshot_counts_forgets_and_answers_as_its_maker_at_every_later_entry() -> None:
    entries = busy_day().entries
    assert len(entries) > 200
    states = [State.empty()]
    for seq, entry in enumerate(entries):
        for state in states:
            state.apply(entry)
        written = [canon.encode(state.to_json()) for state in states]
        assert len(set(written)) == 1
        opened = [[*state.open_actions(entry.at)] for state in states]
        assert all(found == opened[0] for found in opened)
        assert all(state.overdue(entry.at) == states[0].overdue(entry.at) for state in states)
        if seq % 23 == 0:
            states = [*states[:4], State.from_json(canon.decode(written[0]))]
    assert {token(1)} == set(states[-1].tokens)
