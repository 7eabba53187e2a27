"""Points in time as people give them to a verb."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from keyturn.model.time import parse_duration, shifted

F = TypeVar("F", bound=Callable[..., Any])


def moment_option(name: str, help_text: str) -> Callable[[F], F]:
    """Return an option that takes a point in time; the function gets a datetime, or None."""
    return click.option(
        name, metavar="TIME", callback=lambda _context, _option, text: moment_of(text), help=help_text
    )


def moment_of(text: str | None) -> datetime | None:
    """Read `2026-11-21`, `2026-11-21T09:30Z`, or a time ago such as `4h`; a time without a zone is in UTC.

    Raises `click.UsageError`.
    """
    if text is None:
        return None
    try:
        return shifted(_now(), -parse_duration(text))
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(
            f"{text} is no time: give one like 2026-11-21, 2026-11-21T09:30Z, or how long ago, like 90m, 4h or 7d"
        ) from error
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:
        raise click.UsageError(f"{text} lies beyond the calendar") from error


def ahead(text: str) -> datetime:
    """Return the time that lies a duration such as `90m` ahead. Raises `click.UsageError`."""
    try:
        return shifted(_now(), parse_duration(text))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _now() -> datetime:
    from keyturn.assembly.outside import moment

    return moment().wall
