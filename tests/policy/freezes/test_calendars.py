"""Reading calendars: when an event is on, and which texts are refused, with the component that is at fault."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.policy.calendar.editing import events_in, with_event, without_event
from keyturn.policy.calendar.lines import LARGEST, CalendarError
from keyturn.policy.calendar.reading import read_calendar
from keyturn.policy.calendar.times import Span
from tests.policy.freezes.calendars import calendar, event, refused

BERLIN = ";TZID=Europe/Berlin"
TICK = timedelta(microseconds=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def spans(text: str, begin: str, end: str, zone: str | None = None) -> list[tuple[str, str]]:
    """All stretches from one moment to another, in the order of time."""
    read, now, found = read_calendar(text, zone), at(begin), []
    span: Span | None = read.at(now) or read.after(now)
    while span is not None and span.end is not None and span.start < at(end):
        found.append((f"{span.start:%m-%dT%H:%M}", f"{span.end:%m-%dT%H:%M}"))
        span = read.after(span.end) if read.at(span.end) is None else None
    return found


# --- time zones and daylight saving -----------------------------------------------------------------------------


def test_a_nightly_freeze_follows_the_clocks_of_its_zone() -> None:
    nightly = calendar(event(f"{BERLIN}:20260301T220000", f"{BERLIN}:20260302T060000", "RRULE:FREQ=DAILY"))
    assert spans(nightly, "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z") == [
        ("03-27T21:00", "03-28T05:00"),
        ("03-28T21:00", "03-29T04:00"),  # the night is an hour shorter
        ("03-29T20:00", "03-30T04:00"),
    ]
    assert spans(nightly, "2026-10-24T12:00:00Z", "2026-10-26T03:00:00Z") == [
        ("10-24T20:00", "10-25T05:00"),  # and in autumn an hour longer
        ("10-25T21:00", "10-26T05:00"),
    ]


def test_a_time_that_the_clocks_skip_is_an_hour_later() -> None:
    early = calendar(event(f"{BERLIN}:20260320T023000", f"{BERLIN}:20260320T040000", "RRULE:FREQ=DAILY"))
    assert spans(early, "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z") == [("03-29T01:30", "03-29T02:00")]


def test_a_freeze_given_by_its_length_lasts_no_less_when_clocks_go_forward() -> None:
    long = calendar(f"UID:a\nDTSTART{BERLIN}:20260320T013000\nDURATION:PT2H\nRRULE:FREQ=DAILY")
    assert spans(long, "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z") == [("03-29T00:30", "03-29T02:30")]
    [(begin, end)] = spans(long, "2026-10-25T00:00:00+02:00", "2026-10-25T12:00:00Z")
    assert (begin, end) == ("10-24T23:30", "10-25T02:30")  # both hours that the clocks show


def test_a_whole_day_is_one_of_the_calendars_zone_and_has_23_or_25_hours_where_clocks_change() -> None:
    days = calendar(event(";VALUE=DATE:20260329", ";VALUE=DATE:20260330"))
    assert spans(days, "2026-03-28T00:00:00Z", "2026-04-01T00:00:00Z", "Europe/Berlin") == [
        ("03-28T23:00", "03-29T22:00")
    ]
    autumn = calendar(event(";VALUE=DATE:20261025", ";VALUE=DATE:20261026"))
    assert spans(autumn, "2026-10-24T00:00:00Z", "2026-10-28T00:00:00Z", "Europe/Berlin") == [
        ("10-24T22:00", "10-25T23:00")
    ]


def test_a_day_without_an_end_is_one_day() -> None:
    assert spans(calendar("UID:a\nDTSTART;VALUE=DATE:20261224"), "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z") == [
        ("12-24T00:00", "12-25T00:00")
    ]


def test_a_day_begins_where_clocks_skip_midnight() -> None:
    cairo = calendar(event(";VALUE=DATE:20260424", ";VALUE=DATE:20260425"))
    assert spans(cairo, "2026-04-20T00:00:00Z", "2026-05-01T00:00:00Z", "Africa/Cairo") == [
        ("04-23T22:00", "04-24T21:00")
    ]


def test_floating_times_are_of_the_zone_given_or_else_of_the_calendars_or_else_utc() -> None:
    floating = (event(":20261224T100000", ":20261224T120000"),)
    asked = ("2026-12-24T00:00:00Z", "2026-12-25T00:00:00Z")
    assert spans(calendar(*floating), *asked) == [("12-24T10:00", "12-24T12:00")]
    named = calendar(*floating, head="X-WR-TIMEZONE:America/New_York\n")
    assert spans(named, *asked) == [("12-24T15:00", "12-24T17:00")]
    assert spans(named, *asked, "Asia/Tokyo") == [("12-24T01:00", "12-24T03:00")]


def test_a_calendars_own_zone_does_not_move_times_in_utc() -> None:
    text = calendar(event(":20261224T100000Z", ":20261224T120000Z"), head="X-WR-TIMEZONE:America/New_York\n")
    assert spans(text, "2026-12-24T00:00:00Z", "2026-12-25T00:00:00Z") == [("12-24T10:00", "12-24T12:00")]


def test_a_zone_is_known_by_its_name_whatever_the_calendar_defines_it_to_be() -> None:
    lying = (
        "BEGIN:VTIMEZONE\nTZID:Europe/Berlin\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0000\n"
        "TZOFFSETTO:-1100\nRRULE:FREQ=SECONDLY\nEND:STANDARD\nEND:VTIMEZONE\n"
    )
    text = calendar(event(f"{BERLIN}:20261224T100000", f"{BERLIN}:20261224T120000"), head=lying)
    assert spans(text, "2026-12-24T00:00:00Z", "2026-12-25T00:00:00Z") == [("12-24T09:00", "12-24T11:00")]


def test_zones_as_windows_names_them_are_known() -> None:
    office = ";TZID=W. Europe Standard Time"
    text = calendar(event(f"{office}:20261224T100000", f"{office}:20261224T120000"))
    assert spans(text, "2026-12-24T00:00:00Z", "2026-12-25T00:00:00Z") == [("12-24T09:00", "12-24T11:00")]


# --- recurrence -------------------------------------------------------------------------------------------------


def test_weekends_recur_without_the_dates_that_are_excluded_and_with_those_that_are_added() -> None:
    weekend = calendar(
        event(
            f"{BERLIN}:20260102T170000",
            f"{BERLIN}:20260105T070000",
            "RRULE:FREQ=WEEKLY;BYDAY=FR",
            f"EXDATE{BERLIN}:20261113T170000",
            f"RDATE{BERLIN}:20261118T170000",
        )
    )
    assert spans(weekend, "2026-11-05T00:00:00Z", "2026-11-23T00:00:00Z") == [
        ("11-06T16:00", "11-09T06:00"),
        ("11-18T16:00", "11-23T06:00"),  # from Wednesday, and Friday's goes on
    ]


def test_one_date_of_a_series_may_be_moved_or_cancelled() -> None:
    text = calendar(
        event(":20261201T080000Z", ":20261201T090000Z", "RRULE:FREQ=DAILY;COUNT=3"),
        event(":20261202T180000Z", ":20261202T190000Z", "RECURRENCE-ID:20261202T080000Z"),
        event(":20261203T080000Z", ":20261203T090000Z", "RECURRENCE-ID:20261203T080000Z", "STATUS:CANCELLED"),
    )
    assert spans(text, "2026-11-30T00:00:00Z", "2026-12-10T00:00:00Z") == [
        ("12-01T08:00", "12-01T09:00"),
        ("12-02T18:00", "12-02T19:00"),
    ]


def test_an_added_period_has_its_own_length() -> None:
    text = calendar(event(":20261201T080000Z", ":20261201T090000Z", "RDATE;VALUE=PERIOD:20261205T080000Z/PT5H"))
    assert spans(text, "2026-12-02T00:00:00Z", "2026-12-10T00:00:00Z") == [("12-05T08:00", "12-05T13:00")]


def test_events_that_overlap_or_touch_are_one_stretch() -> None:
    text = calendar(
        event(":20261201T080000Z", ":20261201T100000Z", uid="a"),
        event(":20261201T090000Z", ":20261201T110000Z", uid="b"),
        event(":20261201T110000Z", ":20261201T120000Z", uid="c"),
        event(":20261201T120001Z", ":20261201T130000Z", uid="d"),
    )
    read = read_calendar(text)
    span = read.at(at("2026-12-01T08:00:00Z"))
    assert span is not None
    assert span.end == at("2026-12-01T12:00:00Z")
    assert read.at(at("2026-12-01T12:00:00Z")) is None


def test_a_stretch_across_many_months_is_found_from_within_and_its_end_told() -> None:
    read = read_calendar(calendar(event(":20260101T000000Z", ":20280101T000000Z")))
    span = read.at(at("2026-12-24T00:00:00Z"))
    assert span is not None
    assert span.end == at("2028-01-01T00:00:00Z")
    assert read.after(at("2026-12-24T00:00:00Z")) is None


def test_what_begins_beyond_the_horizon_is_not_looked_for() -> None:
    read = read_calendar(calendar(event(":20290101T000000Z", ":20290102T000000Z")))
    assert read.at(at("2026-12-24T00:00:00Z")) is None
    assert read.after(at("2026-12-24T00:00:00Z")) is None
    endless = read_calendar(calendar(event(";VALUE=DATE:20260101", ";VALUE=DATE:20260102", "RRULE:FREQ=DAILY")))
    assert endless.after(at("2026-12-24T00:00:00Z")) is None


def test_many_moments_are_answered_alike_whatever_was_asked_before() -> None:
    text = calendar(event(":20200101T080000Z", ":20200101T200000Z", "RRULE:FREQ=DAILY"))
    moments = [at("2020-02-01T12:00:00Z") + timedelta(days=70 * step) for step in range(80)]
    first, other = (read_calendar.__wrapped__(text) for _ in range(2))
    forwards = [first.at(moment) for moment in moments]
    assert forwards == [other.at(moment) for moment in reversed(moments)][::-1]
    assert None not in forwards


# --- refused ----------------------------------------------------------------------------------------------------

START, END = ":20261201T080000Z", ":20261201T090000Z"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("UID:a\nSUMMARY:x", "has no DTSTART"),
        ("DTSTART:20261201T080000Z\nDTEND:20261201T090000Z", "has no UID"),
        ("UID:a\nDTSTART:2026120XT080000Z\nDTEND:20261201T090000Z", "DTSTART cannot be read"),
        ("UID:a\nDTSTART:20261201T080000Z", "freeze nothing"),
        (event(START, ":20261201T080000Z"), "freeze nothing"),
        (event(END, START), "freeze nothing"),
        (event(START, ":20370101T080000Z"), "lasts more than 3660 days"),
        (event(START, ":20280101T080000Z", "RRULE:FREQ=YEARLY"), "lasts more than 366 days"),
        (event(START, END, "DURATION:PT1H"), "both DTEND and DURATION"),
        (event(START, ";VALUE=DATE:20261202"), "DTEND is not of the kind of DTSTART"),
        (event(START, ":20261201T090000"), "DTEND has no time zone where DTSTART has one"),
        (event(":00010101T080000Z", END), "outside the years 1970 to 2200"),
        (
            event(";TZID=Mars/Base:20261201T080000", ";TZID=Mars/Base:20261201T090000"),
            "the tz database does not know",
        ),
        ("UID:a\nDTSTART:PT1H\nDTEND:20261201T080000Z", "DTSTART is neither a date nor"),
        ("UID:a\nDTSTART:20261201T080000Z\nDURATION:20261201T080000Z", "DURATION"),
        (event(START, END, "EXDATE;VALUE=PERIOD:20261201T080000Z/PT5H"), "EXDATE"),
        (event(START, END, "RRULE:FREQ=SECONDLY"), "FREQ=SECONDLY"),
        (event(START, END, "RRULE:FREQ=DAILY;BYHOUR=1,2,3"), "BYHOUR"),
        (event(START, END, "RRULE:FREQ=DAILY;INTERVAL=0"), "INTERVAL"),
        (event(START, END, "RRULE:FREQ=DAILY;COUNT=99999"), "COUNT that is not from 1 to"),
        (event(START, END, "RRULE:FREQ=DAILY;COUNT=3;UNTIL=20270101T000000Z"), "both COUNT and UNTIL"),
        (event(START, END, "RRULE:FREQ=DAILY;UNTIL=20270101"), "UNTIL that is not of the kind of DTSTART"),
        (event(START, END, "RRULE:FREQ=DAILY;UNTIL=20270101T000000"), "UNTIL that is not in UTC"),
        (event(START, END, "RRULE:INTERVAL=2"), "FREQ=nothing"),
        (event(START, END, "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"), "too rarely, or never"),
        (event(START, END, "RRULE:FREQ=YEARLY;INTERVAL=400"), "too rarely, or never"),
        (event(START, END, "RRULE:FREQ=WEEKLY", "RRULE:FREQ=DAILY"), "more than one RRULE"),
        (event(":19990101T080000Z", ":19990101T090000Z", "RRULE:FREQ=DAILY"), "recurs since before 2000"),
        (event(START, END, "EXRULE:FREQ=DAILY"), "EXRULE"),
        (event(START, END, "RRULE:FREQ=DAILY", "EXDATE;VALUE=DATE:20261202"), "EXDATE is not of the kind of DTSTART"),
        (event(START, END, "RDATE:" + ",".join(["20261202T080000Z"] * 1001)), "more than 1000 values of RDATE"),
    ],
)
def test_what_would_be_guessed_at_is_refused_under_its_component(lines: str, said: str) -> None:
    begun = time.process_time()
    problems = refused(calendar(lines))
    assert time.process_time() - begun < 5
    assert all(place.startswith("VEVENT 1") for place, _ in problems), problems
    assert any(said in text for _, text in problems), problems


def test_two_events_of_one_uid_are_refused_and_changed_dates_of_a_series_are_not() -> None:
    [(place, text)] = refused(calendar(event(START, END), event(START, END)))
    assert place == "VEVENT 1 (UID 'one')"
    assert "has the UID of another event" in text


def test_all_problems_are_told_at_once() -> None:
    problems = refused(calendar("UID:a", "UID:b", event(START, START, uid="c")))
    assert [place for place, _ in problems] == ["VEVENT 1 (UID 'a')", "VEVENT 2 (UID 'b')", "VEVENT 3 (UID 'c')"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no BEGIN:VCALENDAR"),
        ("hello", "stands outside VCALENDAR"),
        ("BEGIN:VCALENDAR\n", "VCALENDAR does not end"),
        ("BEGIN:VEVENT\nEND:VEVENT\n", "begins with VEVENT"),
        ("BEGIN:VCALENDAR\nEND:VEVENT\n", "ends nothing that began"),
        ("BEGIN:VCALENDAR\nnonsense\nEND:VCALENDAR\n", "is no iCalendar text"),
        (calendar() + calendar(), "holds 2 calendars"),
        (calendar("X:" + "x" * LARGEST), f"has more than {LARGEST} bytes"),
        ("BEGIN:VCALENDAR\n" + "BEGIN:VEVENT\n" * 9, "is nested deeper than 4"),
        ("BEGIN:VCALENDAR\n" + "BEGIN:VTODO\nEND:VTODO\n" * 3000, "has more than 2000 components"),
    ],
)
def test_a_text_that_is_no_calendar_within_bounds_is_refused(text: str, said: str) -> None:
    [(place, told)] = refused(text)
    assert (place, said in told) == ("", True), told


def test_a_calendar_has_at_most_so_many_events_series_and_dates() -> None:
    events = [event(START, END, uid=str(number)) for number in range(1001)]
    assert refused(calendar(*events)) == (("", "has more than 1000 events"),)
    series = [event(START, END, "RRULE:FREQ=DAILY", uid=str(number)) for number in range(51)]
    assert refused(calendar(*series)) == (("", "has more than 50 events that recur"),)
    dates = "RDATE:" + ",".join(["20261202T080000Z"] * 900)
    many = [event(START, END, dates, uid=str(number)) for number in range(3)]
    assert refused(calendar(*many)) == (("", "has more than 2000 values of RDATE and EXDATE"),)


def test_the_most_expensive_calendar_that_is_read_is_answered_in_time() -> None:
    rule = "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29"
    worst = [event(":20000229T080000Z", ":20000301T070000Z", rule, uid=str(number)) for number in range(25)]
    worst += [event(START, END, "RRULE:FREQ=DAILY", uid=f"d{number}") for number in range(25)]
    begun = time.process_time()
    read = read_calendar(calendar(*worst))
    assert read.at(at("2026-12-24T08:30:00Z")) is not None
    assert time.process_time() - begun < 20


def test_a_zone_that_is_none_is_refused() -> None:
    assert "'Atlantis' is no time zone" in refused(calendar(), "Atlantis")[0][1]
    assert "is no time zone" in refused(calendar(), "../../etc/passwd")[0][1]


def test_what_is_no_event_is_left_alone() -> None:
    text = calendar(
        event(START, END, "BEGIN:VALARM\nTRIGGER:-PT5M\nACTION:DISPLAY\nDESCRIPTION:x\nEND:VALARM"),
        head="BEGIN:VTODO\nUID:t\nSUMMARY:x\nEND:VTODO\n",
    )
    assert spans(text, "2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z") == [("12-01T08:00", "12-01T09:00")]


# --- editing ----------------------------------------------------------------------------------------------------


def test_an_event_that_is_added_and_removed_leaves_the_text_as_it_was() -> None:
    before = calendar(event(START, END, "SUMMARY:one\n  and the same"))
    begin, end = at("2026-12-24T00:00:00Z"), at("2026-12-26T00:00:00Z")
    after = with_event(before, uid="new", begin=begin, end=end, summary="a, b; c\nd", now=begin)
    assert read_calendar(after).at(begin + TICK) is not None
    assert [item.uid for item in events_in(after)] == ["one", "new"]
    assert without_event(after, "new") == before
    assert next(events_in(before)).summary == "one and the same"


def test_an_event_that_is_not_there_is_not_removed() -> None:
    with pytest.raises(CalendarError, match="has no event with the UID 'x'; it has: one"):
        without_event(calendar(event(START, END)), "x")


DECEMBER = ";TZID=Europe/Berlin:2026120"
DAILY = event(f"{DECEMBER}1T080000", f"{DECEMBER}1T090000", "RRULE:FREQ=DAILY;COUNT=5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (calendar(f"{DAILY}\nEXDATE{DECEMBER}2T090000"), "EXDATE is at another time of day than DTSTART"),
        (calendar(f"{DAILY}\nEXDATE:20261202T080000Z"), "EXDATE is at another time of day than DTSTART"),
        (calendar(f"{DAILY}\nRDATE{DECEMBER}2T070000\nEXDATE{DECEMBER}2T080000"), "has EXDATE beside an RDATE"),
        (
            calendar(DAILY, event(f"{DECEMBER}7T080000", f"{DECEMBER}7T090000", f"RECURRENCE-ID{DECEMBER}2T090000")),
            "RECURRENCE-ID is at another time of day than the DTSTART",
        ),
        (
            calendar(
                f"{DAILY}\nRDATE{DECEMBER}2T070000",
                event(f"{DECEMBER}7T080000", f"{DECEMBER}7T090000", f"RECURRENCE-ID{DECEMBER}2T080000"),
            ),
            "changes an event with an RDATE at another time of day",
        ),
    ],
)
def test_what_the_library_would_take_for_another_date_of_an_event_is_refused(text: str, said: str) -> None:
    """It knows a date by its zone's clock and by UTC: one o'clock there and one o'clock here are the same to it."""
    ((_, why),) = refused(text)
    assert said in why


@pytest.mark.parametrize("left_out", [f"{DECEMBER}2T080000", ":20261202T070000Z", ";TZID=Asia/Tokyo:20261202T160000"])
def test_a_date_is_left_out_by_whatever_clock_it_is_written(left_out: str) -> None:
    read = read_calendar(calendar(f"{DAILY}\nEXDATE{left_out}"))
    days = [day for day in range(1, 6) if read.at(datetime(2026, 12, day, 7, 30, tzinfo=UTC))]
    assert days == [1, 3, 4, 5]
