"""Times of any zone, and durations; `tests/log/test_time.py` has the spellings of timestamps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.model.time import format_timestamp, parse_duration, parse_timestamp

moments = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - hypothesis takes naive bounds
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001 - as above
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12, minutes=-1))]),
)


@given(moments)
def test_a_time_comes_back_as_it_was_and_in_utc(at: datetime) -> None:
    again = parse_timestamp(format_timestamp(at))
    assert again == at
    assert again.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_not_taken_for_local_time() -> None:
    with pytest.raises(ValueError, match="time zone"):
        format_timestamp(datetime(2026, 11, 21, 9, 0))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("1s", timedelta(seconds=1)),
        ("45s", timedelta(seconds=45)),
        ("30m", timedelta(minutes=30)),
        ("4h", timedelta(hours=4)),
        ("90d", timedelta(days=90)),
        ("9999999d", timedelta(days=9_999_999)),
    ],
)
def test_a_duration_is_a_count_and_a_unit(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", "0s", "01m", "-1h", "1", "h", "1w", "1h30m", "1.5h", " 1h", "1h\n", "٣m", "1H", "10000000s"]
)
def test_any_other_spelling_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="45s, 30m, 4h or 90d"):
        parse_duration(text)
