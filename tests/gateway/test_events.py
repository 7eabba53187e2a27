"""News for people: each told once, whoever looks when, and late news together."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.approvals.action import status
from keyturn.gateway.events import EVENTS, MISSED, Event, Told, news
from keyturn.log.entry import EntryError
from keyturn.log.fold import FoldError
from keyturn.model.decision import Escalation, Obligation
from keyturn.model.time import format_timestamp
from tests.approvals.world import action_id, obligation, seconds
from tests.fold.people import ALICE, BOB, CAROL
from tests.fold.world import World

PEOPLE = {person.name: person for person in (ALICE, BOB, CAROL)}
REMINDERS = {"half", "nine-tenths", "escalated"}


@dataclass
class Listener:
    """Looks at a world and keeps what it was told."""

    world: World
    told: Told = field(default_factory=lambda: Told(0))
    heard: list[Event] = field(default_factory=list)

    def look(self, *, most: int = 10_000, crash_after: int | None = None) -> list[Event]:
        """Look at no more than so many entries; with `crash_after`, keep no more than the first few events."""
        state = self.world.state
        entries = self.world.entries[self.told.seq : self.told.seq + most]
        caught_up = self.told.seq + len(entries) == len(self.world.entries)
        waiting = list(state.actions.values()) if caught_up else None
        events, after = news(state.actions.get, waiting, entries, self.world.now, self.told)
        if crash_after is not None and crash_after < len(events):
            events = events[:crash_after]
            for event in events:
                self.told = self.told.after(event)
        else:
            self.told = after
        self.heard += events
        return events


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


@pytest.fixture
def world() -> World:
    return World().found()


@pytest.fixture
def listener(world: World) -> Listener:
    return Listener(world, Told(len(world.entries)))


def test_an_action_is_followed_from_its_request_to_its_end(world: World, listener: Listener) -> None:
    world.ask(1)
    assert kinds(listener.look()) == ["held"]
    world.wait(seconds(5))
    review = world.review(ALICE)
    assert kinds(listener.look()) == ["approved"]
    world.start(review.seq)
    assert listener.look() == []
    world.finish("unknown")
    world.resolve("succeeded")
    assert kinds(listener.look()) == ["unknown", "resolved"]
    assert listener.look() == []
    assert {event.action for event in listener.heard} == {action_id(1)}
    assert [event.entry for event in listener.heard] == [5, 6, 8, 9]


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "stale"])
def test_how_an_action_that_people_let_run_came_out_is_news(world: World, listener: Listener, outcome: str) -> None:
    world.ask(1)
    world.wait(seconds(5))
    world.start(world.review(ALICE).seq)
    world.finish(outcome)
    assert kinds(listener.look()) == ["held", "approved", outcome]


def test_a_review_that_decides_nothing_is_no_news(world: World, listener: Listener) -> None:
    world.ask(1, obligation("alice", "bob", quorum=2))
    world.wait(seconds(5))
    world.review(ALICE)
    assert kinds(listener.look()) == ["held"]
    world.review(BOB, "reject")
    assert kinds(listener.look()) == ["rejected"]


def test_what_ran_without_people_is_news_only_when_it_needs_somebody(world: World, listener: Listener) -> None:
    world.ask_and_start(1)
    world.finish("succeeded")
    world.ask_and_start(2)
    world.finish("unknown", number=2)
    world.deny()
    world.read()
    assert [(event.kind, event.action) for event in listener.look()] == [("unknown", action_id(2))]


def test_what_is_stopped_before_it_ran_is_news(world: World, listener: Listener) -> None:
    world.ask(1)
    world.cancel(1)
    world.ask(2)
    world.stale(2)
    assert kinds(listener.look()) == ["held", "cancelled", "held", "stale"]


def test_half_and_nine_tenths_of_the_time_to_live_are_told_once_each(world: World, listener: Listener) -> None:
    asked = world.ask(1, expires_at=format_timestamp(world.now + timedelta(minutes=20)))
    listener.look()
    heard = []
    for minute in range(1, 20):
        world.wait(timedelta(minutes=1))
        heard += [(event.kind, minute, event.at - asked.at) for event in listener.look()]
    assert heard == [
        ("half", 10, timedelta(minutes=10)),
        ("nine-tenths", 18, timedelta(minutes=18)),
    ]


def test_of_two_reminders_in_one_breath_the_later_is_told(world: World, listener: Listener) -> None:
    world.ask(1, expires_at=format_timestamp(world.now + timedelta(minutes=20)))
    listener.look()
    world.wait(timedelta(minutes=19))
    assert kinds(listener.look()) == ["nine-tenths"]
    assert listener.look() == []


def test_news_that_an_action_is_held_makes_reminders_of_it_needless(world: World, listener: Listener) -> None:
    world.ask(1, expires_at=format_timestamp(world.now + timedelta(minutes=20)))
    world.wait(timedelta(minutes=19))
    assert kinds(listener.look()) == ["held"]
    assert listener.look() == []


def test_an_approved_action_is_reminded_of_nobody(world: World, listener: Listener) -> None:
    world.ask(1)
    world.wait(seconds(5))
    world.review(ALICE)
    listener.look()
    world.wait(timedelta(hours=3))
    assert listener.look() == []


def test_an_expiry_is_told_by_time_and_not_again_by_its_entry(world: World, listener: Listener) -> None:
    world.ask(1, expires_at=format_timestamp(world.now + timedelta(minutes=20)))
    listener.look()
    world.wait(timedelta(minutes=21))
    (expired,) = listener.look()
    assert (expired.kind, expired.entry, world.now - expired.at) == ("expired", None, timedelta(minutes=1))
    assert listener.told.moments == {(action_id(1), "expired", expired.at)}
    world.expire(1)
    assert listener.look() == []
    assert listener.told.moments == frozenset()


def test_an_escalation_is_told_when_it_counts(world: World, listener: Listener) -> None:
    world.ask(1, obligation("alice", later={600: ["bob"]}))
    listener.look()
    world.wait(timedelta(minutes=9))
    assert listener.look() == []
    world.wait(timedelta(minutes=1))
    assert kinds(listener.look()) == ["escalated"]
    assert listener.look() == []


def test_a_decision_that_an_escalation_makes_is_told_though_no_entry_says_it(
    world: World, listener: Listener
) -> None:
    due = (obligation("alice", rule="a"), obligation("bob", rule="b", later={600: ["alice"]}))
    world.ask(1, *due)
    world.wait(seconds(5))
    review = world.review(ALICE)
    assert kinds(listener.look()) == ["held"]
    world.wait(timedelta(minutes=10))
    assert status(world.state.actions[action_id(1)], world.now) == "approved"
    world.start(review.seq)
    (approved,) = listener.look()
    assert (approved.kind, approved.entry) == ("approved", None)


def test_an_escalation_that_no_time_holds_frightens_nobody(world: World, listener: Listener) -> None:
    world.ask(1, obligation("alice", later={2**53 - 1: ["bob"]}))
    assert kinds(listener.look()) == ["held"]


def test_what_is_older_than_an_hour_comes_as_one_event_before_the_rest(world: World, listener: Listener) -> None:
    for number in (1, 2, 3):
        world.ask(number)
    world.cancel(2)
    world.wait(timedelta(hours=1, seconds=1))
    world.ask(4)
    missed, fresh = listener.look()
    assert (missed.kind, fresh.kind, fresh.action) == (MISSED, "held", action_id(4))
    assert Counter(event.kind for event in missed.late) == {"held": 3, "cancelled": 1}
    assert listener.look() == []


def test_after_the_late_news_the_fresh_ones_are_still_to_come(world: World, listener: Listener) -> None:
    world.ask(1)
    world.wait(timedelta(hours=2, minutes=10))  # the reminder at half is fresh, the request is not
    missed, half = listener.look(crash_after=1) + listener.look()
    assert (missed.kind, half.kind) == (MISSED, "half")
    assert listener.look() == []


# --- for any story and any looks ----------------------------------------------------------------------------------

groups = st.lists(st.sampled_from(sorted(PEOPLE)), max_size=3, unique=True).map(tuple)
obligations = st.builds(
    Obligation,
    rule=st.sampled_from(["a", "b"]),
    quorum=st.integers(1, 2),
    sources=st.just(("group:sre",)),
    reviewers=groups,
    keys=st.just("any"),
    rejects=st.integers(1, 2),
    escalations=st.lists(st.builds(Escalation, st.integers(0, 500), groups), max_size=2).map(tuple),
)
numbers = st.integers(1, 3)
outcomes = st.sampled_from(["succeeded", "failed", "stale", "unknown"])
steps = st.one_of(
    st.tuples(st.just("ask"), numbers, st.integers(1, 600), st.lists(obligations, min_size=1, max_size=2)),
    st.tuples(st.just("permit"), numbers),
    st.tuples(st.just("review"), numbers, st.sampled_from(sorted(PEOPLE)), st.sampled_from(["approve", "reject"])),
    st.tuples(st.sampled_from(["start", "cancel", "stale", "expire"]), numbers),
    st.tuples(st.just("finish"), numbers, outcomes),
    st.tuples(st.just("resolve"), numbers, st.sampled_from(["succeeded", "failed"])),
    st.tuples(st.just("wait"), st.integers(0, 150)),
    st.tuples(st.just("look")),
    st.tuples(st.just("look at some"), st.integers(0, 2)),
    st.tuples(st.just("crash"), st.integers(0, 2)),
)


def take(world: World, step: tuple[Any, ...]) -> None:
    """Let a step happen, where the fold lets it."""
    with suppress(FoldError, EntryError, KeyError, StopIteration):
        match step:
            case ("ask", number, ttl, due):
                world.ask(number, *due, expires_at=format_timestamp(world.now + seconds(ttl)))
            case ("permit", number):
                world.ask(number, decision="permit")
            case ("review", number, who, verdict):
                world.review(PEOPLE[who], verdict, number)
            case ("start", number):
                action = world.state.actions[action_id(number)]
                world.start(*(review.seq for review in action.reviews), number=number)
            case ("cancel" | "stale" | "expire" as what, number):
                getattr(world, what)(number)
            case ("finish" | "resolve" as what, number, outcome):
                getattr(world, what)(outcome, number=number)
            case ("wait", time):
                world.wait(seconds(time))


@settings(max_examples=150, deadline=None)
@given(story=st.lists(steps, min_size=5, max_size=40))
def test_whoever_looks_when_every_event_is_told_once(story: list[tuple[Any, ...]]) -> None:
    world = World().found()
    often = Listener(world)
    for step in story:
        match step:
            case ("look",):
                often.look()
            case ("look at some", most):
                often.look(most=most)
            case ("crash", count):
                often.look(crash_after=count)
            case _:
                take(world, step)
        world.wait(seconds(1))
    often.look()
    often.look()
    once = Listener(world)
    once.look()

    heard = Counter((event.kind, event.action, event.at, event.entry) for event in often.heard)
    assert set(heard.values()) <= {1}
    assert {event[0] for event in heard} <= set(EVENTS)
    lasting = {event for event in heard if event[0] not in REMINDERS}
    assert lasting == {(e.kind, e.action, e.at, e.entry) for e in once.heard if e.kind not in REMINDERS}
    assert often.told.seq == once.told.seq == len(world.entries)
