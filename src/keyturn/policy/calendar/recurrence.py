"""Refuses rules of recurrence that would take long to follow, before they are followed.

`dateutil` goes on to the year 9999 in search of a rule's next date. So a rule is tried where that year is near: the
calendar repeats every 400 years to the day of the week, and a rule moved by a multiple of them recurs alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any

from dateutil.rrule import rrulestr  # type: ignore[import-untyped]  # it ships no types
from icalendar import vRecur

FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
FIRST_YEAR = 2000
"""A recurring event begins no earlier: it is followed from its beginning each time."""
_LISTS = {"BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "BYWEEKNO", "BYYEARDAY"}
_PARTS = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST"} | _LISTS
_MOST_COUNT = 10_000
_MOST_INTERVAL = 1000
_CYCLE = 400  # years
_RARE = timedelta(days=40 * 366)


def wrong_rule(rule: Mapping[str, Any], start: date) -> str | None:
    """Say what keeps a rule (as `icalendar` reads RRULE) of an event that starts at `start` from being used.

    `start` is a date, or a date and time; None when nothing does.
    """
    parts = {key.upper(): value for key, value in rule.items()}
    if unknown := sorted(parts.keys() - _PARTS):
        return f"RRULE has {unknown[0][:40]}, which freezes do not take: they recur at most daily"
    frequency = parts.get("FREQ", ["nothing"])
    if len(frequency) != 1 or str(frequency[0]).upper() not in FREQUENCIES:
        return f"RRULE has FREQ={str(frequency[0])[:20]}; freezes take {', '.join(FREQUENCIES)}"
    for part, most in (("INTERVAL", _MOST_INTERVAL), ("COUNT", _MOST_COUNT)):
        values = parts.get(part, [1])
        if len(values) != 1 or not 1 <= values[0] <= most:
            return f"RRULE has a {part} that is not from 1 to {most}"
    return _wrong_end(parts, start) or _too_rare(rule, start)


def _wrong_end(parts: Mapping[str, Any], start: date) -> str | None:
    if "UNTIL" not in parts:
        return None
    if "COUNT" in parts:
        return "RRULE has both COUNT and UNTIL"
    until = parts["UNTIL"]
    if len(until) != 1 or isinstance(until[0], datetime) != isinstance(start, datetime):
        return "RRULE has an UNTIL that is not of the kind of DTSTART: both a date, or both a date and time"
    if isinstance(until[0], datetime) and isinstance(start, datetime):
        utc = until[0].utcoffset() == timedelta()
        if utc != (start.tzinfo is not None):
            return "RRULE has an UNTIL that is not in UTC where DTSTART has a time zone, or is where it has none"
    return None


def _too_rare(rule: Mapping[str, Any], start: date) -> str | None:
    begin = start.replace(tzinfo=None) if isinstance(start, datetime) else datetime.combine(start, time())
    moved = begin.replace(year=begin.year + (9999 - begin.year) // _CYCLE * _CYCLE)
    endless = {key: value for key, value in rule.items() if key.upper() not in {"COUNT", "UNTIL"}}
    try:
        found = list(islice(rrulestr(_written(endless), dtstart=moved), 3))
    except (ValueError, OverflowError) as error:
        return f"RRULE cannot be followed: {str(error)[:100]}"
    if len(found) < 3 or found[-1] - moved > _RARE:
        return "RRULE recurs too rarely, or never: write each date as an event of its own"
    return None


def _written(rule: Mapping[str, Any]) -> str:
    written: bytes = vRecur(dict(rule)).to_ical()  # type: ignore[no-untyped-call]  # icalendar does not say
    return written.decode("ascii")
