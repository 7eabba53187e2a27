"""Calendars as texts, and policies with freezes, for tests."""

from __future__ import annotations

import pytest

from keyturn.model.errors import ConfigurationError
from keyturn.policy import Policy, read_policy
from keyturn.policy.calendar.lines import CalendarError
from keyturn.policy.calendar.reading import read_calendar
from tests.policy.world import CATALOG, PEOPLE


def calendar(*events: str, head: str = "") -> str:
    """A calendar of events, each given by its lines."""
    written = "".join(f"BEGIN:VEVENT\n{event}\nEND:VEVENT\n" for event in events)
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//tests//EN\n{head}{written}END:VCALENDAR\n"


def event(start: str, end: str, *more: str, uid: str = "one") -> str:
    """An event between two times, written with their parameters, such as `:20261201T080000Z`."""
    return "\n".join((f"UID:{uid}", f"DTSTART{start}", f"DTEND{end}", *more))


def freeze(name: str = "z", calendar: str = "x.ics", **more: str) -> str:
    """One `[[freezes]]`; `more` are further lines, already TOML."""
    lines = "\n".join(f"{key} = {value}" for key, value in more.items())
    return f'\n[[freezes]]\nid = "{name}"\ncalendar = "{calendar}"\n{lines}\n'


def frozen(text: str, *rules: str, **files: str) -> Policy:
    """The policy of these rules with the calendar `x.ics`, and further files by name (`y` for `y.ics`)."""
    more = {f"{name}.ics": content for name, content in files.items()}
    return read_policy({"policy.toml": PEOPLE + "".join(rules), "x.ics": text, **more}, CATALOG)


def problems_of(text: str, *rules: str) -> tuple[str, ...]:
    """What keeps a policy with this calendar from loading."""
    with pytest.raises(ConfigurationError) as caught:
        frozen(text, *(rules or (freeze(),)))
    return caught.value.problems


def refused(text: str, zone: str | None = None) -> tuple[tuple[str, str], ...]:
    """What keeps a calendar from being read, by component."""
    with pytest.raises(CalendarError) as caught:
        read_calendar(text, zone)
    return caught.value.problems
