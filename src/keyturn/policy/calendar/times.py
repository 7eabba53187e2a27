"""Says of a moment whether it lies in an event of a calendar, when that ends, and when the next one begins.

Events that overlap or touch count as one stretch. A day is a day of the calendar's zone, with 23 or 25 hours where
clocks change; a time without a zone is one of that zone too. Where clocks change, a time that does not exist is as
much later as the clock is put forward, and an event with a DURATION lasts no less than that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import recurring_ical_events  # type: ignore[import-untyped]  # it ships no types
from icalendar import Component

from keyturn.policy.calendar.events import Event

HORIZON = timedelta(days=400)
"""How far ahead of a moment the end of a stretch, or the next one, is looked for."""
_CHUNK = timedelta(days=64)
_ASIDE = timedelta(days=2)  # asked for on both sides: whatever zone an event is written in, it is found
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEPT = 64  # chunks


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of time in UTC, its end left out; None where it goes on for longer than was looked."""

    start: datetime
    end: datetime | None


class Calendar:
    """The events of one calendar that was read; what was worked out of it is kept, and changes no answer.

    `clock` is the zone of its days and times without one; None where it has none of these.
    """

    def __init__(
        self,
        components: Component,
        zone: tzinfo,
        lasting: frozenset[str],
        *,
        floating: bool,
        warnings: tuple[str, ...],
    ) -> None:
        self.warnings = warnings
        self.clock = str(zone) if floating else None
        self._query = recurring_ical_events.of(components, skip_bad_series=False)
        self._zone = zone
        self._lasting = lasting  # UIDs of events with a DURATION
        self._chunks: dict[int, tuple[tuple[datetime, datetime], ...]] = {}

    def at(self, now: datetime) -> Span | None:
        """Return the stretch that `now` lies in, or None. It begins no later than what was looked at around it."""
        found = self._within(_number(now), now)
        if found is None:
            return None
        start, end = found
        while end - now <= HORIZON:
            longer = self._within(_number(end), end)
            if longer is None:
                return Span(start, end)
            end = longer[1]
        return Span(start, None if self._within(_number(end), end) else end)

    def after(self, now: datetime) -> Span | None:
        """Return the first stretch that begins after `now`, within `HORIZON`."""
        present = self.at(now)
        begin = now if present is None else present.end
        if begin is None:
            return None
        for number in range(_number(begin), _number(now + HORIZON) + 1):
            for start, _ in self._chunk(number):
                if start > begin:
                    return self.at(start) if start <= now + HORIZON else None
        return None

    def _within(self, number: int, moment: datetime) -> tuple[datetime, datetime] | None:
        chunk = self._chunk(number)
        place = bisect_right(chunk, moment, key=lambda span: span[0]) - 1
        return chunk[place] if place >= 0 and moment < chunk[place][1] else None

    def _chunk(self, number: int) -> tuple[tuple[datetime, datetime], ...]:
        """Return the stretches that touch one chunk of time, those that overlap joined."""
        known = self._chunks.get(number)
        if known is not None:
            return known
        begin = _EPOCH + number * _CHUNK
        try:
            found = self._query.between(begin - _ASIDE, begin + _CHUNK + _ASIDE)
            joined = tuple(_joined(self._spans(found)))
        except Exception:  # noqa: BLE001 - where a library cannot say, nothing may pass: the chunk counts whole
            joined = ((begin, begin + _CHUNK),)
        if len(self._chunks) >= _KEPT:
            self._chunks.clear()  # threads share it: nothing that takes two steps
        self._chunks[number] = joined
        return joined

    def _spans(self, events: Iterable[Event]) -> Iterator[tuple[datetime, datetime]]:
        for event in events:
            if str(event.get("STATUS", "")).upper() == "CANCELLED":
                continue
            first, last = event["DTSTART"].dt, event["DTEND"].dt
            start, end = self._moment(first), self._moment(last)
            if str(event["UID"]) in self._lasting and isinstance(last, datetime):
                end = max(end, start + (last.replace(tzinfo=None) - first.replace(tzinfo=None)))
            if start < end:
                yield start, end

    def _moment(self, written: date) -> datetime:
        if not isinstance(written, datetime):
            written = datetime.combine(written, time())
        if written.tzinfo is None:
            written = written.replace(tzinfo=self._zone)
        return written.astimezone(UTC)


def _number(moment: datetime) -> int:
    return (moment - _EPOCH) // _CHUNK


def _joined(spans: Iterator[tuple[datetime, datetime]]) -> Iterator[tuple[datetime, datetime]]:
    """Join what overlaps or touches."""
    current: tuple[datetime, datetime] | None = None
    for start, end in sorted(spans):
        if current is None or start > current[1]:
            if current is not None:
                yield current
            current = start, end
        else:
            current = current[0], max(current[1], end)
    if current is not None:
        yield current
