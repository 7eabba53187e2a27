"""What entries add up to: counted from the moment counting began, whoever wrote them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keyturn.canon import Json
from keyturn.fold.suspensions import Scope
from keyturn.telemetry.counts import Counts
from keyturn.telemetry.tallies import Counter, Histogram
from tests.approvals.world import action_id, obligation
from tests.fold.people import ALICE, BOB
from tests.fold.world import World


@pytest.fixture
def world() -> World:
    return World().found()


def counted(world: World, since: int = 0) -> Counts:
    """Count what the world has written from entry `since` on."""
    counts = Counts(world.entries[0].at)
    for entry in world.entries[since:]:
        counts.take(entry)
    return counts


def numbers(counter: Counter) -> dict[tuple[str, ...], int]:
    return dict(counter.items())


def spans(histogram: Histogram) -> dict[tuple[str, ...], tuple[int, float]]:
    """Label set → how many, and how long together."""
    return {labels: (int(buckets[-1][1]), total) for labels, buckets, total in histogram.items()}


def test_a_held_action_is_counted_from_its_request_to_its_outcome(world: World) -> None:
    world.ask()
    world.wait(timedelta(seconds=90))
    review = world.review(ALICE)
    world.wait(timedelta(seconds=1))
    world.start(review.seq)
    world.wait(timedelta(seconds=4))
    world.finish("succeeded")
    counts = counted(world)
    assert numbers(counts.decisions) == {("open_pull_request", "hold", "pull requests"): 1}
    assert numbers(counts.reviews) == {("approve",): 1}
    assert numbers(counts.outcomes) == {("open_pull_request", "succeeded"): 1}
    assert spans(counts.deciding) == {("approved",): (1, 90.0)}
    assert spans(counts.executing) == {("open_pull_request",): (1, 4.0)}
    assert counts.open(world.now).states == {"approved": 0, "pending": 0, "running": 0, "unknown": 0}


def test_half_a_quorum_is_no_decision(world: World) -> None:
    world.ask(1, obligation("alice", "bob", quorum=2))
    world.wait(timedelta(seconds=10))
    world.review(ALICE)
    assert spans(counted(world).deciding) == {}
    world.wait(timedelta(seconds=10))
    world.review(BOB)
    assert spans(counted(world).deciding) == {("approved",): (1, 20.0)}


def test_a_rejection_is_counted_once_and_the_action_let_go(world: World) -> None:
    world.ask()
    world.wait(timedelta(seconds=30))
    world.review(BOB, "reject")
    counts = counted(world)
    assert spans(counts.deciding) == {("rejected",): (1, 30.0)}
    assert counts.open(world.now).states["pending"] == 0


def test_an_expiry_took_as_long_as_the_action_lived_however_late_it_is_written_down(world: World) -> None:
    world.ask()
    world.wait(timedelta(hours=7))
    counts = counted(world)
    counts.settle(world.now)
    counts.take(world.expire())
    assert spans(counts.deciding) == {("expired",): (1, 4 * 3600.0)}


def test_an_approved_action_that_expires_was_decided_when_it_was_approved(world: World) -> None:
    world.ask()
    world.wait(timedelta(seconds=5))
    world.review(ALICE)
    world.wait(timedelta(hours=5))
    world.expire()
    assert spans(counted(world).deciding) == {("approved",): (1, 5.0)}


def test_a_rejection_that_only_time_made_count_is_counted_without_an_entry(world: World) -> None:
    world.ask(1, obligation("bob", rule="a", rejects=2), obligation("alice", rule="b", later={600: ["bob"]}))
    world.wait(timedelta(minutes=1))
    world.review(BOB, "reject")
    counts = counted(world)
    counts.settle(world.now)
    assert spans(counts.deciding) == {}
    world.wait(timedelta(hours=1))
    counts.settle(world.now)
    counts.settle(world.now)
    assert spans(counts.deciding) == {("rejected",): (1, 600.0)}


def test_what_people_are_not_asked_has_no_time_to_decision(world: World) -> None:
    world.ask_and_start()
    world.finish("failed")
    counts = counted(world)
    assert spans(counts.deciding) == {}
    assert numbers(counts.decisions) == {("open_pull_request", "permit", "pull requests"): 1}
    assert numbers(counts.outcomes) == {("open_pull_request", "failed"): 1}


def test_a_shadowed_action_leaves_nothing_open(world: World) -> None:
    world.request(1, decision="shadow", obligations=[], reviewers={}, excluded=[])
    world.finish("shadowed", instance="0" * 32)
    counts = counted(world)
    assert numbers(counts.decisions) == {("open_pull_request", "shadow", "pull requests"): 1}
    assert numbers(counts.outcomes) == {("open_pull_request", "shadowed"): 1}
    assert counts._actions == {}


def test_an_unknown_outcome_stays_open_until_it_is_settled(world: World) -> None:
    world.ask_and_start()
    world.finish("unknown")
    assert counted(world).open(world.now).states["unknown"] == 1
    world.resolve("succeeded")
    counts = counted(world)
    assert counts.open(world.now).states["unknown"] == 0
    assert numbers(counts.resolutions) == {("probe", "succeeded"): 1}


def test_reads_refusals_and_throttled_calls_are_counted(world: World) -> None:
    world.read()
    codes = [{"code": "environment", "rule": None}, {"code": "frozen", "rule": "winter"}]
    first = world.deny()
    world.add("action.denied", {**first.facts, "codes": codes, "stage": "screen", "tool": None}, action_id(2))
    world.add("action.denied", {**first.facts, "codes": codes[:1], "stage": "contract"}, action_id(3))
    world.throttle()
    counts = counted(world)
    assert numbers(counts.refusals) == {("none",): 1, ("environment",): 2, ("x",): 3}
    assert numbers(counts.decisions) == {
        ("none", "deny", "winter"): 1,
        ("open_pull_request", "deny", "none"): 1,
        ("open_pull_request", "permit", "pull requests"): 1,
    }


def test_counting_begins_with_what_is_open_and_leaves_out_what_was_decided_before(world: World) -> None:
    world.ask(1)
    world.ask(2)
    approved = world.review(ALICE, number=1)
    begun = Counts(world.now, world.state.actions.values(), [Scope("all")])
    assert begun.open(world.wait(timedelta(seconds=20))).states["pending"] == 1
    assert begun.open(world.now).oldest == 20.0
    begun.take(world.review(BOB, number=1))
    begun.take(world.review(BOB, number=2))
    begun.take(world.start(approved.seq, number=1))
    assert spans(begun.deciding) == {("approved",): (1, 20.0)}
    assert begun.open(world.now).states == {"approved": 1, "pending": 0, "running": 1, "unknown": 0}
    assert begun.suspended == 1


def test_the_later_entries_of_an_action_that_was_over_are_passed_over(world: World) -> None:
    world.ask_and_start()
    world.finish("succeeded")
    counts = counted(world, since=len(world.entries) - 1)
    assert numbers(counts.outcomes) == {}
    assert counts._actions == {}


def test_suspensions_are_counted_by_scope(world: World) -> None:
    account: dict[str, Json] = {"type": "account", "name": "ops"}
    everything: dict[str, Json] = {"scope": {"type": "all", "name": None}, "mode": "read-only", "by": account}
    one: dict[str, Json] = {"scope": {"type": "tool", "name": "update_ticket"}, "mode": "suspended", "by": account}
    entries = [world.add("suspension.set", facts) for facts in (everything, one, {**everything, "mode": "suspended"})]
    counts = Counts(world.now)
    for entry in entries:
        counts.take(entry)
    assert counts.suspended == 2
    counts.take(replace(entries[0], kind="suspension.lifted", facts={"scope": one["scope"], "act": None}))
    assert counts.suspended == 1


def test_nothing_grows_with_the_number_of_calls(world: World) -> None:
    counts = counted(world)
    for number in range(10, 60):
        first = len(world.entries)
        world.ask(number, principal=f"principal {number}")
        world.review(BOB, "reject", number=number)
        world.deny(f"stranger {number}", number=1000 + number)
        for entry in world.entries[first:]:
            counts.take(entry)
    assert counts._actions == {}
    assert counts._decided == set()
    assert len(numbers(counts.decisions)) == 2
    assert counts.taken == len(world.entries)
