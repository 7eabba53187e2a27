"""Reads the text of a calendar whole or not at all, with every problem at once under the component it is in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import icalendar

from keyturn.policy.calendar.events import Event, values_of, wrong_change, wrong_with
from keyturn.policy.calendar.lines import CalendarError, read_lines
from keyturn.policy.calendar.times import Calendar

MOST_EVENTS = 1000
MOST_RECURRING = 50
MOST_VALUES = 2000
"""RDATE and EXDATE values of all events together."""
_KEPT = 32
_TOLD = 50


@lru_cache(_KEPT)
def read_calendar(text: str, zone: str | None = None) -> Calendar:
    """Read a calendar. Days and times without a zone are of `zone`, else of the one the calendar names, else UTC.

    Raises `CalendarError` with every problem.
    """
    lines = read_lines(text)
    events = _events(lines.text)
    problems = list(_problems(events))
    named = zone or lines.zone
    try:
        place = ZoneInfo(named or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        problems.append(("", f"{ascii(named)[:60]} is no time zone of the tz database, such as Europe/Berlin"))
    if problems:
        raise CalendarError(*problems[:_TOLD])
    floating = any(getattr(event["DTSTART"].dt, "tzinfo", None) is None for event in events)
    warnings = tuple(_warnings(events, floating and named is None))
    return Calendar(_of_events(events), place, _lasting(events), floating=floating, warnings=warnings)


def _events(text: str) -> list[Event]:
    try:
        calendars = icalendar.Calendar.from_ical(text, multiple=True)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise CalendarError(("", f"is no iCalendar text: {ascii(str(error))[:120]}")) from error
    if len(calendars) != 1:
        raise CalendarError(("", f"holds {len(calendars)} calendars: write one in each file"))
    events = [part for part in calendars[0].subcomponents if part.name == "VEVENT"]
    if len(events) > MOST_EVENTS:
        raise CalendarError(("", f"has more than {MOST_EVENTS} events"))
    return events


def _problems(events: Sequence[Event]) -> Iterator[tuple[str, str]]:
    if sum("RRULE" in event for event in events) > MOST_RECURRING:
        yield "", f"has more than {MOST_RECURRING} events that recur"
        return
    values, sound = 0, True
    for index, event in enumerate(events):
        wrong = list(wrong_with(event))
        yield from ((_named(index, event), text) for text in wrong)
        if any("RRULE" in text for text in wrong):
            return  # one that recurs without end costs time to find: the others wait for the next reading
        sound = sound and not wrong
        values += 0 if wrong else len(values_of(event, "RDATE")) + len(values_of(event, "EXDATE"))
    if values > MOST_VALUES:
        yield "", f"has more than {MOST_VALUES} values of RDATE and EXDATE"
    if sound:  # what cannot be read has no identity
        yield from _doubles(events)
        yield from _changes(events)


def _changes(events: Sequence[Event]) -> Iterator[tuple[str, str]]:
    whole = {str(event["UID"]): event for event in events if "RECURRENCE-ID" not in event}
    for index, event in enumerate(events):
        changed = whole.get(str(event["UID"])) if "RECURRENCE-ID" in event else None
        if changed is not None and (wrong := wrong_change(event, changed)):
            yield _named(index, event), wrong


def _doubles(events: Sequence[Event]) -> Iterator[tuple[str, str]]:
    counts = Counter(_identity(event) for event in events if "UID" in event)
    for index, event in enumerate(events):
        if counts[_identity(event)] > 1:
            yield _named(index, event), "has the UID of another event: one of the two would be passed over"
            counts[_identity(event)] = 0


def _identity(event: Event) -> tuple[str, str]:
    instance = event.get("RECURRENCE-ID")
    return str(event.get("UID")), "" if instance is None else str(getattr(instance, "dt", instance))


def _named(index: int, event: Event) -> str:
    uid = event.get("UID")
    return f"VEVENT {index + 1}" + ("" if uid is None else f" (UID {ascii(str(uid))[:60]})")


def _of_events(events: Sequence[Event]) -> icalendar.Calendar:
    """Return a calendar of the events alone: no alarms, no to-dos, no words of its own about zones."""
    calendar = icalendar.Calendar()
    for event in events:
        event.subcomponents = []
        calendar.add_component(event)
    return calendar


def _lasting(events: Sequence[Event]) -> frozenset[str]:
    return frozenset(str(event["UID"]) for event in events if "DURATION" in event)


def _warnings(events: Sequence[Event], unplaced: bool) -> Iterator[str]:
    if not events:
        yield "holds no events"
    if unplaced:
        yield "has days or times without a zone, which are taken as UTC: name a `timezone` beside it"
