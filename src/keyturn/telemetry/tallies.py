"""Counters and histograms whose number of label sets is bounded, whatever is counted.

Names of tools and rules come from policies, which change; a counter lives as long as its process. So each keeps a
label set per combination it meets until there are `MOST`; what comes later is counted under `other`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from keyturn.model.text import clean

MOST = 256  # label sets of one counter
OTHER = "other"
LONGEST = 100  # characters of one label

Labels = tuple[str, ...]


class _Bounded:
    """Finds the label set to count under: those in `free` may be anything, the rest come from fixed vocabularies."""

    def __init__(self, names: Sequence[str], free: Sequence[str], most: int = MOST) -> None:
        self.names = tuple(names)
        self._free = tuple(name in free for name in names)
        self._most = most
        self._known: set[Labels] = set()

    def place(self, labels: Sequence[str]) -> Labels:
        found = tuple(clean(" ".join(label.split()), LONGEST) for label in labels)
        if found not in self._known:
            if len(self._known) >= self._most:
                return tuple(OTHER if free else label for free, label in zip(self._free, found, strict=True))
            self._known.add(found)
        return found


class Counter:
    """A number per label set that only grows."""

    def __init__(self, *names: str, free: Sequence[str] = ()) -> None:
        self._labels = _Bounded(names, free)
        self._values: dict[Labels, int] = {}

    @property
    def names(self) -> Labels:
        """The names of the labels."""
        return self._labels.names

    def add(self, *labels: str, by: int = 1) -> None:
        """Count `by` more under these labels."""
        place = self._labels.place(labels)
        self._values[place] = self._values.get(place, 0) + by

    def items(self) -> Iterator[tuple[Labels, int]]:
        """Yield each label set with its number."""
        yield from sorted(self._values.items())


class Histogram:
    """How long things took, per label set: how many took at most so many seconds, and how long all took together."""

    def __init__(self, *names: str, bounds: Sequence[float], free: Sequence[str] = ()) -> None:
        self._labels = _Bounded(names, free)
        self._bounds = tuple(sorted(bounds))
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    @property
    def names(self) -> Labels:
        """The names of the labels."""
        return self._labels.names

    def observe(self, seconds: float, *labels: str) -> None:
        """Take note of one duration; one below nothing counts as nothing."""
        place = self._labels.place(labels)
        spent = max(0.0, seconds)
        counts = self._counts.setdefault(place, [0] * (len(self._bounds) + 1))
        counts[bisect_left(self._bounds, spent)] += 1
        self._sums[place] = self._sums.get(place, 0.0) + spent

    def items(self) -> Iterator[tuple[Labels, list[tuple[str, float]], float]]:
        """Yield each label set with (upper bound, how many up to it) and the sum of all in seconds."""
        for place, counts in sorted(self._counts.items()):
            total, buckets = 0, []
            for bound, count in zip((*map(_written, self._bounds), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, float(total)))
            yield place, buckets, self._sums[place]


def _written(bound: float) -> str:
    return repr(float(bound))
