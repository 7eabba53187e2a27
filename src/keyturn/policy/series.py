"""Amounts of one unit over time, as sums that a window asks for; and the time they are counted in.

Uses are counted in steps that grow with their age (`STEPS`), so that what a week of calls takes does not depend on
how many they were. Steps round up: a use may leave late by one step, never early, and a window is not rounded by the
step that begins at its length. Times are microseconds since 1970.
"""

from __future__ import annotations

import base64
import operator
import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from keyturn.canon import Json
from keyturn.model.time import shifted

LONGEST_WINDOW = timedelta(days=7)
STEPS = (
    (timedelta(minutes=1), timedelta(seconds=1)),
    (timedelta(hours=1), timedelta(minutes=1)),
    (timedelta(days=1), timedelta(minutes=15)),
)
"""From which age on uses are counted together, and within which step of time."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SHAPE = "a row of the usage snapshot has another shape"

_HORIZON = LONGEST_WINDOW // MICROSECOND
_AGES = tuple((age // MICROSECOND, step // MICROSECOND) for age, step in STEPS)
_SECOND = timedelta(seconds=1) // MICROSECOND  # all ages and steps are whole seconds
_QUICK = 1  # how hard zlib tries: more makes them little smaller
_HUGE = 2**40  # sums of amounts up to here stay within eight bytes


class Series:
    """Amounts in order of time with their running sums: a window's total is one difference."""

    __slots__ = ("_base", "_grown", "_sums", "_times")

    def __init__(self, rows: Iterable[tuple[int, int]] = ()) -> None:
        self._base = 0
        self._times = array("q")
        self._sums: MutableSequence[int] = array("q")
        self._grown: int | None = None  # the second up to which it has grown old
        for at, amount in rows:
            self.add(at, amount)

    def __len__(self) -> int:
        return len(self._times)

    def rows(self) -> Iterator[tuple[int, int]]:
        """Return each time with its amount."""
        before = (self._base, *self._sums)
        return ((at, after - sum_) for at, sum_, after in zip(self._times, before, self._sums, strict=False))

    def add(self, at: int, amount: int) -> None:
        """Add to what was used at that time, nearly always the latest; a negative amount takes back."""
        index = bisect_left(self._times, at)
        if index == len(self._times) or self._times[index] != at:
            self._times.insert(index, at)
            self._sums.insert(index, self._sum(index - 1))
        self._shift(index, amount)
        if self._sum(index) == self._sum(index - 1):
            del self._times[index], self._sums[index]

    def _shift(self, index: int, amount: int) -> None:
        """Change what was used at one time. Sums only matter as differences: the longer part is left alone."""
        if abs(amount) > _HUGE:  # no honest amount, but it must not stop the count
            self._sums = list(self._sums)
        if index < len(self._sums) // 2:
            self._base -= amount
            for earlier in range(index):
                self._sums[earlier] -= amount
        else:
            for later in range(index, len(self._sums)):
                self._sums[later] += amount

    def grow_old(self, latest: int) -> None:
        """Count together what is old by `latest`, and drop what no window can see."""
        before, self._grown = self._grown, latest // _SECOND * _SECOND
        if before == self._grown:
            return
        for age, step in _AGES:
            begin = 0 if before is None else bisect_right(self._times, (before - age) // step * step)
            end = bisect_right(self._times, (self._grown - age) // step * step)
            if begin < end:
                self._round(begin, end, step)
        gone = bisect_right(self._times, latest - _HORIZON)
        self._base = self._sum(gone - 1)
        del self._times[:gone], self._sums[:gone]

    def _round(self, begin: int, end: int, step: int) -> None:
        """Take some times to whole steps: of each step the last sum is left."""
        pairs = zip(self._times[begin:end], self._sums[begin:end], strict=True)
        last = {_rounded(at, step): sum_ for at, sum_ in pairs}
        self._times[begin:end] = array("q", last)
        sums = list(last.values())
        self._sums[begin:end] = array("q", sums) if isinstance(self._sums, array) else sums

    def total(self, after: int | None) -> int:
        """Return the sum of the amounts later than `after`."""
        index = 0 if after is None else bisect_right(self._times, after)
        return self._sum(len(self._sums) - 1) - self._sum(index - 1)

    def first(self, after: int | None) -> int | None:
        """Return the time of the oldest use later than `after`."""
        index = 0 if after is None else bisect_right(self._times, after)
        return self._times[index] if index < len(self._times) else None

    def to_json(self) -> Json:
        """Return how much later each time is and how much more each sum: packed in one text, for there are many."""
        steps = [*_steps(self._times, 0), *_steps(self._sums, self._base)]
        try:
            return base64.b64encode(zlib.compress(struct.pack(f"<{len(steps)}q", *steps), _QUICK)).decode()
        except struct.error:  # amounts of more than eight bytes
            return [str(step) for step in steps]

    @classmethod
    def from_json(cls, value: Json, latest: int | None) -> Series:
        """Rebuild what `to_json` wrote, grown old by `latest`. Raises `ValueError` for anything else."""
        steps = _unpacked(value) if isinstance(value, str) else _numbers(value)
        count = len(steps) // 2
        if not count or len(steps) % 2 or min(steps[1:]) < 0:
            raise ValueError(SHAPE)
        series = cls()
        try:
            series._times.extend(accumulate(steps[:count]))
        except OverflowError as error:
            raise ValueError(SHAPE) from error
        series._take_sums(list(accumulate(steps[count:])))
        series._grown = None if latest is None else latest // _SECOND * _SECOND
        return series

    def _take_sums(self, sums: list[int]) -> None:
        try:
            self._sums = array("q", sums)
        except OverflowError:  # no honest amounts, but they must not stop the count
            self._sums = sums

    def _sum(self, index: int) -> int:
        return self._sums[index] if index >= 0 else self._base


def _steps(numbers: Sequence[int], before: int) -> Iterator[int]:
    """Return each number less the one before it."""
    return map(operator.sub, numbers, (before, *numbers))


def _unpacked(text: str) -> Sequence[int]:
    try:
        data = zlib.decompress(base64.b64decode(text, validate=True))
        return struct.unpack(f"<{len(data) // 8}q", data)
    except (struct.error, zlib.error) as error:
        raise ValueError(SHAPE) from error


def _numbers(value: Json) -> Sequence[int]:
    words = value if isinstance(value, list) else []
    if not all(isinstance(word, str) and word.isascii() and word.removeprefix("-").isdecimal() for word in words):
        raise ValueError(SHAPE)
    return [int(str(word)) for word in words]


def aged(at: int, latest: int) -> int | None:
    """Return when a use of `at` counts by `latest`, or None when it is out of every window."""
    for age, step in _AGES:
        later = _rounded(at, step)
        at = later if later <= latest - age else at
    return at if at > latest - _HORIZON else None


def _rounded(at: int, step: int) -> int:
    """Return the first whole step not before `at`."""
    return -(-at // step) * step


def micros(at: datetime) -> int:
    """Return a time in microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


def moment_of(at: int) -> datetime:
    """Return the time that `micros` gave, or the calendar's end where it is beyond it."""
    return shifted(EPOCH, at * MICROSECOND)
