"""The history of targets and tools: what is remembered, for how long, and that a snapshot keeps it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.canon import Json
from keyturn.policy import Usage
from keyturn.policy.history import LONGEST_PAST, MOST_KEPT, History, Past

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
WEEK = timedelta(days=7)


def past(history: History, target: str = "t", tool: str = "x", within: timedelta = WEEK, now: datetime = NOW) -> Past:
    return history.past("claude", tool, target, within, now)


def test_what_failed_and_what_was_undone_counts_for_its_target_alone() -> None:
    history = History()
    history.failed("t", NOW)
    history.undone("t", NOW)
    history.undone("t", NOW)
    assert past(history) == Past(failed=1, undone=2)
    assert past(history, "other") == Past()


def test_a_tool_is_known_once_the_principal_has_used_it_to_the_end() -> None:
    history = History()
    history.succeeded("codex", "x")
    assert not past(history).known
    history.succeeded("claude", "x")
    assert past(history).known
    assert not past(history, tool="y").known


def test_what_is_older_than_asked_for_does_not_count_at_that_very_moment() -> None:
    history = History()
    history.failed("t", NOW - WEEK)
    assert past(history).failed == 0
    assert past(history, now=NOW - timedelta(microseconds=1)).failed == 1
    assert past(history, within=timedelta(days=400), now=NOW).failed == 1
    assert past(history, within=timedelta(days=400), now=NOW + LONGEST_PAST).failed == 0


def test_only_the_newest_of_a_target_are_kept() -> None:
    history = History()
    for n in range(10 * MOST_KEPT):
        history.failed("t", NOW + timedelta(seconds=n))
    assert past(history, now=NOW + timedelta(minutes=10)).failed == MOST_KEPT


def test_targets_on_which_nothing_fails_any_more_are_forgotten() -> None:
    history = History()
    for n in range(1000):
        history.failed(f"t{n}", NOW + n * timedelta(days=1))
    rows = history.to_json()["failed"]
    assert isinstance(rows, list)
    assert len(rows) == LONGEST_PAST.days


EVENTS = st.lists(
    st.tuples(st.sampled_from(["failed", "undone"]), st.sampled_from("abc"), st.integers(0, 60 * 24)), max_size=60
)


@given(EVENTS, st.integers(0, 60))
def test_one_that_went_through_a_snapshot_says_the_same(events: list[tuple[str, str, int]], cut: int) -> None:
    whole, resumed = History(), History()
    at = NOW
    for index, (what, target, hours) in enumerate(events):
        at += timedelta(hours=hours)
        if index == cut:
            resumed = History.from_json(resumed.to_json())
        for history in (whole, resumed):
            getattr(history, what)(target, at)
            history.succeeded("claude", target)
    assert whole.to_json() == resumed.to_json()
    for target in "abc":
        assert past(whole, target, now=at) == past(resumed, target, now=at)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"failed": [], "undone": [], "known": [], "more": 1},
        {"failed": [["t", []]], "undone": [], "known": []},
        {"failed": [["t", [1]]], "undone": [], "known": []},
        {"failed": [], "undone": [], "known": [["claude"]]},
    ],
)
def test_a_snapshot_of_another_shape_is_refused(value: Json) -> None:
    with pytest.raises(ValueError, match="history"):
        History.from_json(value)


def test_usage_carries_the_history_through_snapshots_and_leaves_it_whole_at_a_claim() -> None:
    usage = Usage()
    usage.history.failed("t", NOW)
    usage.history.succeeded("claude", "x")
    usage.reserve(
        "one",
        NOW,
        principal="claude",
        owner=None,
        tool="x",
        target="t",
        environment="e",
        amounts={"calls": 1},
        pending=False,
    )
    again = Usage.from_json(usage.to_json())
    asked = ("claude", "x", "t", WEEK, NOW)
    assert again.past(*asked) == usage.without("one").past(*asked) == Past(failed=1, known=True)
