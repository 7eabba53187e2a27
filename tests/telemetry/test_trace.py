"""Trace ids: joined with the caller's where it sent one as the W3C defines it, new everywhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.telemetry.trace import Trace, begin, current, read_traceparent

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{PARENT}-01"


def counting() -> Callable[[int], bytes]:
    return lambda count: bytes(range(1, count + 1))


def test_a_call_joins_the_trace_of_its_caller_under_a_span_of_its_own() -> None:
    assert begin(GIVEN, counting()) == Trace(TRACE, "0102030405060708")


@pytest.mark.parametrize(
    "other",
    [
        None,
        7,
        "",
        GIVEN.upper(),
        f"{GIVEN}-more",
        f"{GIVEN}\n",
        f" {GIVEN}",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"01-{TRACE}-{PARENT}-01-{'x' * 300}",
        [GIVEN],
    ],
)
def test_what_is_no_traceparent_begins_a_trace_of_its_own(other: object) -> None:
    assert read_traceparent(other) is None
    assert begin(other, counting()).trace_id == "0102030405060708090a0b0c0d0e0f10"


@pytest.mark.parametrize("more", ["", "-what-comes-later"])
def test_a_later_version_is_read_as_far_as_it_is_known(more: str) -> None:
    assert read_traceparent(f"cc-{TRACE}-{PARENT}-00{more}") == TRACE


def test_an_id_is_never_all_zeros() -> None:
    made = begin(None, bytes)
    assert (made.trace_id, made.span_id) == ("0" * 31 + "1", "0" * 15 + "1")


@given(st.text(max_size=80))
def test_no_text_becomes_part_of_an_id_unless_it_is_one(text: str) -> None:
    made = begin(text, counting())
    assert set(made.trace_id) <= set("0123456789abcdef")
    assert (len(made.trace_id), len(made.span_id)) == (32, 16)


def test_outside_of_calls_there_is_no_trace() -> None:
    assert current.get() is None
