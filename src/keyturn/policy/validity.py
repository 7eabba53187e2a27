"""Dates between which a rule counts: `valid = { from = …, until = … }`, the end left out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from keyturn.model.time import format_timestamp
from keyturn.policy.shown import shown
from keyturn.policy.tables import Table

_EXAMPLE = "2026-12-01T00:00:00+01:00"


@dataclass(frozen=True, slots=True)
class Validity:
    """From when, and until when (that moment left out), a rule counts; None has no such end. Both in UTC."""

    since: datetime | None = None
    until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Say whether the rule counts at `now`."""
        return (self.since is None or self.since <= now) and (self.until is None or now < self.until)

    def why_not(self, now: datetime) -> str:
        """Say why the rule does not count at `now`; empty where it does."""
        if self.since is not None and now < self.since:
            return f"is valid from {format_timestamp(self.since)} on only"
        if self.until is not None and self.until <= now:
            return f"was valid until {format_timestamp(self.until)} only"
        return ""


ALWAYS = Validity()
"""Counts at any time."""


def read_validity(table: Table) -> Validity:
    """Read `valid` of a rule; `ALWAYS` where it is left out, or after recording a problem."""
    dates = table.table("valid")
    if dates is None:
        return ALWAYS
    dates.only("from", "until")
    since, until = _moment(dates, "from"), _moment(dates, "until")
    if not dates.raw:
        table.wrong("valid", "says neither from nor until")
    if since is not None and until is not None and until <= since:
        dates.wrong("until", "comes no later than from: the rule would never count")
    return Validity(since, until)


def _moment(table: Table, key: str) -> datetime | None:
    value = table.raw.get(key)
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        text = f"must be a date and time with an offset and without quotes, such as {_EXAMPLE}, not {shown(value)}"
        table.wrong(key, text)
        return None
    try:
        return value.astimezone(UTC)
    except OverflowError:
        table.wrong(key, "lies beyond the calendar")
        return None
