"""Counters: no number of names makes them grow beyond their bound, and nothing counted is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keyturn.telemetry.tallies import LONGEST, MOST, OTHER, Counter, Histogram

NAMES = st.text(max_size=300)


@given(st.lists(st.tuples(NAMES, st.sampled_from(["permit", "hold", "deny"])), max_size=40))
def test_every_call_is_counted_under_some_label(calls: list[tuple[str, str]]) -> None:
    counter = Counter("tool", "decision", free=("tool",))
    for tool, decision in calls:
        counter.add(tool, decision)
    assert sum(number for _, number in counter.items()) == len(calls)
    assert all(len(tool) <= LONGEST and "\n" not in tool for (tool, _), _ in counter.items())


def test_names_beyond_the_bound_are_counted_together() -> None:
    counter = Counter("tool", "decision", free=("tool",))
    for number in range(3 * MOST):
        counter.add(f"tool {number}", "hold")
    found = dict(counter.items())
    assert len(found) == MOST + 1
    assert found[OTHER, "hold"] == 2 * MOST
    counter.add("tool 1", "hold")
    assert dict(counter.items())["tool 1", "hold"] == 2


def test_words_of_a_fixed_vocabulary_keep_their_name_beyond_the_bound() -> None:
    histogram = Histogram("tool", "end", bounds=[1], free=("tool",))
    for number in range(2 * MOST):
        histogram.observe(0.5, f"tool {number}", "done")
    assert [labels for labels, _, _ in histogram.items() if labels[0] == OTHER] == [(OTHER, "done")]


def test_buckets_hold_all_that_took_no_longer() -> None:
    histogram = Histogram("tool", bounds=[10, 1])
    for seconds in (0.5, 1, 1.5, 10, 11, -3):
        histogram.observe(seconds, "t")
    assert list(histogram.items()) == [(("t",), [("1.0", 3.0), ("10.0", 5.0), ("+Inf", 6.0)], 24.0)]
    assert histogram.names == ("tool",)
