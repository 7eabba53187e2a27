"""Checks the events of a calendar one by one: whatever a library would skip, guess or misread is refused here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

from keyturn.model.time import EARLIEST, LATEST
from keyturn.policy.calendar.recurrence import FIRST_YEAR, wrong_rule

LONGEST = timedelta(days=3660)
LONGEST_RECURRING = timedelta(days=366)
MOST_DATES = 1000
"""RDATE and EXDATE values of one event."""
Event: TypeAlias = Any
"""An event as `icalendar` has read it: it types each of its properties as any of thirty."""
_ONCE = ("UID", "DTSTART", "DTEND", "DURATION", "RRULE", "RECURRENCE-ID", "STATUS")
_TIMES = ("DTSTART", "DTEND", "RECURRENCE-ID")
_LISTS = ("RDATE", "EXDATE")


def wrong_with(event: Event) -> Iterator[str]:
    """Yield what keeps an event from being used; nothing when it can be."""
    found = list(_unreadable(event)) or list(_of_other_kinds(event)) or list(_wrong_times(event))
    yield from found or (*_wrong_recurrence(event), *_apart(event))


def values_of(event: Event, name: str) -> list[Any]:
    """Return the values of RDATE or EXDATE: dates, times, or periods as pairs."""
    held = event.get(name, [])
    return [value.dt for part in (held if isinstance(held, list) else [held]) for value in part.dts]


def wrong_change(event: Event, changed: Event) -> str | None:
    """Say what keeps an event with a RECURRENCE-ID from changing a date of the event that it is about."""
    start: date = changed["DTSTART"].dt
    if not _at_its_hour(event["RECURRENCE-ID"].dt, start):
        return "RECURRENCE-ID is at another time of day than the DTSTART of the event that it changes"
    if not all(_at_its_hour(value, start) for value in _starts(changed, "RDATE")):
        return "changes an event with an RDATE at another time of day: write that as an event of its own"
    return None


def _apart(event: Event) -> Iterator[str]:
    """Find what the library confuses: it takes equal times by two clocks, the zone's and UTC, for one."""
    start: date = event["DTSTART"].dt
    if not all(_at_its_hour(value, start) for value in _starts(event, "EXDATE")):
        yield "EXDATE is at another time of day than DTSTART: it would take nothing out"
    elif "EXDATE" in event and not all(_at_its_hour(value, start) for value in _starts(event, "RDATE")):
        yield "has EXDATE beside an RDATE at another time of day: write that as an event of its own"


def _at_its_hour(moment: date, start: date) -> bool:
    """Say whether a moment is a day's time of an event that starts at `start`, by the clock of that."""
    if not isinstance(moment, datetime) or not isinstance(start, datetime) or start.tzinfo is None:
        return True  # there is one clock only
    local = moment.astimezone(start.tzinfo)
    due = datetime.combine(local.date(), start.time(), start.tzinfo)
    return local.time() == start.time() or due.astimezone(UTC) == moment.astimezone(UTC)


def _starts(event: Event, name: str) -> Iterator[date]:
    return (value[0] if isinstance(value, tuple) else value for value in values_of(event, name))


def _unreadable(event: Event) -> Iterator[str]:
    for name, why in event.errors:
        yield f"{name or 'a line'} cannot be read: {str(why)[:100]}"
    for name in _ONCE:
        if isinstance(event.get(name), list):
            yield f"has more than one {name}"
    if "UID" not in event:
        yield "has no UID"
    if "DTSTART" not in event:
        yield "has no DTSTART"
    if "EXRULE" in event:
        yield "has an EXRULE, which RFC 5545 has taken away: write EXDATE"


def _of_other_kinds(event: Event) -> Iterator[str]:
    """Find what is well written and something else than what belongs there, such as DTSTART:PT1H."""
    for name in _TIMES:
        if name in event and not isinstance(event[name].dt, date):
            yield f"{name} is neither a date nor a date and time"
    if "DURATION" in event and not isinstance(event["DURATION"].dt, timedelta):
        yield "DURATION is no length of time"
    for name in _LISTS:
        for value in values_of(event, name):
            first = value[0] if isinstance(value, tuple) and name == "RDATE" else value
            if not isinstance(first, date):
                yield f"{name} holds what is neither a date nor a date and time"
                break


def _wrong_times(event: Event) -> Iterator[str]:
    start: date = event["DTSTART"].dt
    for name in _TIMES:
        if name in event and (wrong := _wrong_time(event[name].dt, event[name].params, start)):
            yield f"{name} {wrong}"
    for name in _LISTS:
        yield from _wrong_list(event, name, start)
    if "DTEND" in event and "DURATION" in event:
        yield "has both DTEND and DURATION"
        return
    try:
        length = _length(event, start)
    except (TypeError, ValueError, OverflowError):
        return  # its times are of two kinds: said above
    most = LONGEST_RECURRING if "RRULE" in event or "RDATE" in event else LONGEST
    if length <= timedelta():
        yield "ends no later than it begins: it would freeze nothing (write DTEND or DURATION)"
    elif length > most:
        yield f"lasts more than {most.days} days"


def _wrong_list(event: Event, name: str, start: date) -> Iterator[str]:
    values = values_of(event, name)
    if len(values) > MOST_DATES:
        yield f"has more than {MOST_DATES} values of {name}"
        return
    held = event.get(name, [])
    for part in held if isinstance(held, list) else [held]:
        for value in part.dts:
            moment = value.dt[0] if isinstance(value.dt, tuple) else value.dt
            if wrong := _wrong_time(moment, part.params, start):
                yield f"{name} {wrong}"
                return


def _wrong_time(moment: date, params: Any, start: date) -> str | None:
    if isinstance(moment, datetime) != isinstance(start, datetime):
        return "is not of the kind of DTSTART: both a date, or both a date and time"
    if not EARLIEST <= moment.year <= LATEST:
        return f"lies outside the years {EARLIEST} to {LATEST}"
    if not isinstance(moment, datetime) or not isinstance(start, datetime):
        return None
    if "TZID" in params and moment.tzinfo is None:
        zone = ascii(str(params["TZID"])[:60])
        return f"names a time zone that the tz database does not know: {zone}"
    if (moment.tzinfo is None) != (start.tzinfo is None):
        return "has no time zone where DTSTART has one, or has one where it has none"
    return None


def _length(event: Event, start: date) -> timedelta:
    if "DURATION" in event:
        length: timedelta = event["DURATION"].dt
        return length
    if "DTEND" in event:
        return _between(start, event["DTEND"].dt)
    return timedelta() if isinstance(start, datetime) else timedelta(days=1)


def _between(start: date, end: date) -> timedelta:
    if isinstance(start, datetime) and isinstance(end, datetime) and start.tzinfo is not None:
        return end.timestamp() * timedelta(seconds=1) - start.timestamp() * timedelta(seconds=1)
    return end - start


def _wrong_recurrence(event: Event) -> Iterator[str]:
    if "RRULE" not in event:
        return
    start: date = event["DTSTART"].dt
    if start.year < FIRST_YEAR:
        yield f"recurs since before {FIRST_YEAR}: give it a later DTSTART"
    elif wrong := wrong_rule(event["RRULE"], start):
        yield wrong
