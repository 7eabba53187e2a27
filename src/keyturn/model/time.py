"""Points in time as the ledger writes them: UTC, fixed width, microseconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from keyturn.model.errors import ConnectorError

EARLIEST, LATEST = 1970, 2200
"""Years that may be asked about: what is added to such a time, or taken from it, stays within the calendar."""

_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T([01]\d|2[0-3]):\d{2}:\d{2}\.\d{6}Z", re.ASCII)
_DURATION = re.compile(r"(?P<count>[1-9][0-9]{0,6})(?P<unit>[smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """What the clocks say: UTC wall time, the boot's id, and microseconds since that boot (CLOCK_BOOTTIME)."""

    wall: datetime
    boot: str
    up: int


def format_timestamp(at: datetime) -> str:
    """Write an aware datetime as `2026-11-21T09:00:00.000000Z`; such texts sort as the times do.

    Raises `ValueError` for a naive one: it would be read as the machine's local time.
    """
    if at.tzinfo is None:
        raise ValueError("a time without a time zone cannot be written")
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_timestamp(text: str) -> datetime:
    """Read what `format_timestamp` wrote. Raises `ValueError` for any other spelling."""
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError(f"{text!r} is not a timestamp like 2026-11-21T09:00:00.000000Z")
    return datetime.fromisoformat(text)


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `30m`, `4h` or `90d`. Raises `ValueError` saying which forms exist."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration like 45s, 30m, 4h or 90d")
    return timedelta(**{_UNITS[match["unit"]]: int(match["count"])})


def shifted(at: datetime, by: timedelta) -> datetime:
    """Return `at + by`, or the first or last time there is: entries may carry any time from year 1 to 9999."""
    try:
        return at + by
    except OverflowError:
        return _LAST if by > timedelta(0) else _FIRST


def action_time(action: str) -> datetime:
    """Return the time inside an action id (a UUIDv7, RFC 9562 section 5.7), to the millisecond.

    What back ends write is the same on every attempt because its time comes from the id. Raises `ConnectorError`
    (refused) for anything that is not a lower-case UUIDv7, so an id that passed is also safe as a file name.
    """
    try:
        value = UUID(action)
        if str(value) == action and value.version == 7:
            return _EPOCH + timedelta(milliseconds=value.int >> 80)
    except (ValueError, OverflowError):
        pass
    shown = ascii(action if len(action) <= 80 else action[:77] + "...")
    raise ConnectorError(f"action id {shown} is not a lower-case UUIDv7")
