"""Times as entries write them: one spelling per time, in the order of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.model.time import format_timestamp, parse_timestamp

times = st.datetimes(timezones=st.just(UTC))


@given(times)
def test_a_time_is_written_and_read_back(at: datetime) -> None:
    text = format_timestamp(at)
    assert len(text) == 27
    assert parse_timestamp(text) == at
    assert parse_timestamp(text).tzinfo is UTC


@given(times, times)
def test_written_times_sort_as_times_do(left: datetime, right: datetime) -> None:
    assert (format_timestamp(left) < format_timestamp(right)) == (left < right)


def test_a_time_is_written_in_utc() -> None:
    east = timezone(timedelta(hours=2))
    assert format_timestamp(datetime(2026, 11, 21, 11, tzinfo=east)) == "2026-11-21T09:00:00.000000Z"


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-11-21T09:00:00Z", "2026-11-21T09:00:00.000Z", "2026-11-21 09:00:00.000000Z",
        "2026-11-21T09:00:00.000000+00:00", "2026-11-21T09:00:00.000000z", "2026-11-21T09:00:00.000000",
        "2026-11-21T24:00:00.000000Z", "2026-11-21T09:60:00.000000Z", "2026-11-21T09:00:60.000000Z",
        "2026-02-29T09:00:00.000000Z", "0000-01-01T00:00:00.000000Z", "2026-11-21T09:00:00.000000Z\n",
        "\u0662026-11-21T09:00:00.000000Z", "2026-W47-6T09:00:00.000000Z", "20261121T090000.000000Z",
    ],
)  # fmt: skip
def test_any_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_timestamp(text)
