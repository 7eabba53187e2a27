"""A freeze that recurs is on exactly when the clock on the wall of its zone says so, in whatever zone that hangs."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.model.decision import Deny, Permit
from keyturn.policy import Usage, evaluate
from keyturn.policy.calendar.reading import read_calendar
from tests.policy.freezes.calendars import calendar, event, freeze, frozen
from tests.policy.world import grant, request

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",  # half an hour off
    "Australia/Lord_Howe",  # clocks change by half an hour
    "Pacific/Chatham",  # three quarters of an hour off, and south of the equator
    "Pacific/Kiritimati",  # fourteen hours ahead
    "Asia/Kolkata",
    "Africa/Cairo",  # clocks change at midnight
    "Africa/Casablanca",  # clocks go back for a month, and forward again
]
YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = st.integers(2 * 24 * 60, 364 * 24 * 60).map(lambda minutes: YEAR + timedelta(minutes=minutes))
QUARTERS = st.integers(0, 95).map(lambda n: timedelta(minutes=15 * n))
LENGTHS = st.integers(1, 95).map(lambda n: timedelta(minutes=15 * n))


def steady(zone: ZoneInfo, now: datetime) -> bool:
    """Say whether no clock changes within two days of `now`: there the wall alone tells the time."""
    around = [now + timedelta(hours=hours) for hours in range(-48, 49, 6)]
    return len({moment.astimezone(zone).utcoffset() for moment in around}) == 1


def on_the_wall(zone: ZoneInfo, now: datetime, begin: timedelta, length: timedelta) -> bool:
    """Say whether the wall shows a time of an event that begins each day at `begin`."""
    local = now.astimezone(zone).replace(tzinfo=None)
    today = datetime.combine(local.date(), time())
    return any(
        today + begin - timedelta(days=back) <= local < today + begin + length - timedelta(days=back)
        for back in (0, 1)
    )


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ZONES), QUARTERS, LENGTHS, MINUTES)
def test_a_daily_freeze_is_on_when_the_wall_of_its_zone_says_so(
    name: str, begin: timedelta, length: timedelta, now: datetime
) -> None:
    zone, first = ZoneInfo(name), YEAR + begin
    of, mark = ("", "Z") if name == "UTC" else (f";TZID={name}", "")
    start, end = (f"{of}:{moment:%Y%m%dT%H%M%S}{mark}" for moment in (first, first + length))
    read = read_calendar(calendar(event(start, end, "RRULE:FREQ=DAILY")))
    if not steady(zone, now):
        return
    span = read.at(now)
    assert (span is not None) == on_the_wall(zone, now, begin, length)
    if span is not None and span.end is not None and steady(zone, span.end):
        wall = span.end.astimezone(zone)
        assert timedelta(hours=wall.hour, minutes=wall.minute) == (begin + length) % timedelta(days=1)
        assert read.at(span.end) is None


@pytest.mark.parametrize(
    ("zone", "day", "offsets"),
    [
        ("Europe/Berlin", "2026-03-29", (1, 2)),
        ("Europe/Berlin", "2026-10-25", (2, 1)),
        ("America/New_York", "2026-03-08", (-5, -4)),
        ("America/New_York", "2026-11-01", (-4, -5)),
        ("Australia/Lord_Howe", "2026-04-05", (11, 10.5)),
        ("Australia/Lord_Howe", "2026-10-04", (10.5, 11)),
        ("Africa/Cairo", "2026-10-29", (3, 2)),
    ],
)
def test_a_frozen_day_on_which_clocks_change_refuses_from_its_first_moment_to_its_last(
    zone: str, day: str, offsets: tuple[float, float]
) -> None:
    tick, begin = timedelta(microseconds=1), datetime.fromisoformat(f"{day}T00:00:00+00:00")
    first, last = begin - timedelta(hours=offsets[0]), begin + timedelta(days=1) - timedelta(hours=offsets[1])
    compact, after = day.replace("-", ""), f"{begin + timedelta(days=1):%Y%m%d}"
    rules = frozen(
        calendar(event(f";VALUE=DATE:{compact}", f";VALUE=DATE:{after}")), grant(), freeze(timezone=f'"{zone}"')
    )
    for moment, expected in ((first - tick, Permit), (first, Deny), (last - tick, Deny), (last, Permit)):
        decision = evaluate(rules, request(), Usage(), moment)
        assert isinstance(decision, expected), (moment, decision)
        if isinstance(decision, Deny):
            assert decision.retry_at == last


def test_a_freeze_over_the_hour_that_the_clocks_show_twice_has_both_of_them() -> None:
    text = calendar(event(";TZID=Europe/Berlin:20261025T010000", ";TZID=Europe/Berlin:20261025T040000"))
    span = read_calendar(text).at(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
    assert span is not None
    assert (span.start, span.end) == (
        datetime(2026, 10, 24, 23, tzinfo=UTC),
        datetime(2026, 10, 25, 3, tzinfo=UTC),
    )
