"""Times of any zone, and durations; `tests/log/test_time.py` has the spellings of timestamps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.model.errors import ConnectorError
from keyturn.model.time import action_time, format_timestamp, parse_duration, parse_timestamp, shifted

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


def test_the_time_of_an_action_is_the_one_inside_its_id() -> None:
    # RFC 9562 appendix A.6: 2022-02-22T19:22:22Z
    assert action_time("017f22e2-79b0-7cc3-98c4-dc0c0c07398f") == datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)
    assert action_time("017f22e2-7d97-7cc3-98c4-dc0c0c07398f").microsecond == 999_000


@pytest.mark.parametrize(
    "text",
    ["", "x", "../../x", "017F22E2-79B0-7CC3-98C4-DC0C0C07398F", "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}",
     "6ba7b810-9dad-41d1-80b4-00c04fd430c8", "ffffffff-ffff-7cc3-98c4-dc0c0c07398f", "a\x1b[2J" * 1000],
)  # fmt: skip
def test_what_is_no_action_id_or_names_no_time_is_refused_in_a_short_harmless_line(text: str) -> None:
    with pytest.raises(ConnectorError, match="not a lower-case UUIDv7") as refusal:
        action_time(text)
    assert len(str(refusal.value)) < 200
    assert str(refusal.value).isprintable()


def test_a_time_that_would_leave_the_calendar_stops_at_its_end() -> None:
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert shifted(first, timedelta(hours=1)) == first + timedelta(hours=1)
    assert shifted(first, timedelta(microseconds=-1)) == first
    assert shifted(last, timedelta.max) == last
