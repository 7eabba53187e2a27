"""Points in time as people say them."""

from __future__ import annotations

from datetime import datetime

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def minute(text: str | None) -> str:
    """Shorten a time as JSON writes it, RFC 3339 in UTC, to its minute: "2027-02-19 15:29"; nothing for None."""
    return "" if text is None else text[:16].replace("T", " ")


def ago(then: datetime, now: datetime) -> str:
    """Say how long ago something was: "6 minutes ago"."""
    seconds = int((now - then).total_seconds())
    if seconds < 5:
        return "just now"
    name, size = next(unit for unit in _UNITS if seconds >= unit[1])
    count = seconds // size
    return f"{count} {name}{'s' if count > 1 else ''} ago"


def span(start: datetime, end: datetime) -> str:
    """Say how much time lies between, in two units at most: "12m", "3h 40m"; "0s" when none is left."""
    left = max(0, int((end - start).total_seconds()))
    parts = []
    for name, size in _UNITS:
        if count := left // size:
            parts.append(f"{count}{name[0]}")
        left %= size
    shown = parts[:1] if parts and parts[0][-1] in "ms" else parts[:2]
    return " ".join(shown) or "0s"
