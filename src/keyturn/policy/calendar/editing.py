"""Adds an event to the text of a calendar, or takes one out, and leaves every other byte as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import icalendar

from keyturn.policy.calendar.lines import CalendarError, read_lines

_EMPTY = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//keyturn//freezes//EN\r\nEND:VCALENDAR\r\n"
_FLAGS = re.MULTILINE | re.IGNORECASE
_BLOCK = re.compile(r"^BEGIN:VEVENT[ \t]*\r?\n.*?^END:VEVENT[ \t]*(?:\r?\n|\Z)", _FLAGS | re.DOTALL)
_LAST = re.compile(r"^END:VCALENDAR[ \t]*(?:\r?\n|\Z)", _FLAGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An event as a calendar has it: `begins`, `ends` and `recurs` as they are written there, "" where left out."""

    uid: str
    begins: str
    ends: str
    recurs: str
    summary: str


def with_event(text: str | None, *, uid: str, begin: datetime, end: datetime, summary: str, now: datetime) -> str:
    """Return a calendar, new where there is none, with one more event. Raises `CalendarError` where it is none."""
    text = text or _EMPTY
    read_lines(text)
    event = icalendar.Event()
    for name, value in (("UID", uid), ("DTSTAMP", now), ("DTSTART", begin), ("DTEND", end), ("SUMMARY", summary)):
        if value:
            event.add(name, value)
    *_, last = _LAST.finditer(text)
    encoded: bytes = event.to_ical()
    written = encoded.decode("utf-8")
    newline = "\r\n" if "\r\n" in text else "\n"
    return text[: last.start()] + written.replace("\r\n", newline) + text[last.start() :]


def without_event(text: str, uid: str) -> str:
    """Return a calendar without an event, the changed dates of it included. Raises `CalendarError`."""
    found = [block for block in _BLOCK.finditer(text) if _listed(block.group()).uid == uid]
    if not found:
        known = ", ".join(dict.fromkeys(event.uid for event in events_in(text))) or "none"
        raise CalendarError(("", f"has no event with the UID {uid[:80]!a}; it has: {known}"))
    for block in reversed(found):
        text = text[: block.start()] + text[block.end() :]
    return text


def events_in(text: str) -> Iterator[Listed]:
    """Yield the events of a calendar in the order of its text."""
    return (_listed(block.group()) for block in _BLOCK.finditer(text))


def _listed(block: str) -> Listed:
    held: dict[str, str] = {}
    for line in block.replace("\r\n", "\n").replace("\n ", "").replace("\n\t", "").split("\n"):
        name, _, value = line.partition(":")
        held.setdefault(name.partition(";")[0].strip().upper(), value.strip())
    begins, ends, recurs = (held.get(name, "") for name in ("DTSTART", "DTEND", "RRULE"))
    ends = ends or held.get("DURATION", "")
    return Listed(uid=held.get("UID", ""), begins=begins, ends=ends, recurs=recurs, summary=held.get("SUMMARY", ""))
