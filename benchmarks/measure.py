"""Timing in rounds that alternate between the two sides, and the rows of the table."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

BEGIN = "<!-- figures: written by `python -m benchmarks --write` -->"
END = "<!-- figures end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    ours, theirs  what was measured, with its unit
    ratio         of the two, or None where there is nothing to compare with
    aim           what it should be, such as "≥ 0.28"
    """

    what: str
    ours: str
    against: str
    theirs: str
    ratio: float | None
    aim: str = ""

    def markdown(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return f"| {self.what} | {self.ours} | {self.against} | {self.theirs} | {ratio} | {self.aim} |"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to do: rounds of each pair, and what each count is divided by (1 for figures that are kept)."""

    rounds: int = 5
    divided: int = 1

    def count(self, full: int) -> int:
        return max(10, full // self.divided)


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: its heading, how durable each side is, its rows, and what is said below them."""

    heading: str
    durability: str
    rows: Sequence[Row]
    notes: str = ""

    def markdown(self) -> str:
        head = "| what | Keyturn | against | baseline | ratio | aim |\n| --- | --- | --- | --- | --- | --- |"
        parts = [f"## {self.heading}", self.durability, "\n".join([head, *(row.markdown() for row in self.rows)])]
        return "\n\n".join([*parts, self.notes] if self.notes else parts)


def rate(count: int, work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return how often per second `work` runs, one after another.

    With `time.process_time` as clock, per second of this process: for what only computes, whatever else runs.
    """
    begin = clock()
    for _ in range(count):
        work()
    return count / (clock() - begin)


def alternate(rounds: int, *sides: Callable[[], float]) -> list[float]:
    """Run the sides in turns and return the median of each: machines are noisy, and drift."""
    found = [[side() for side in sides] for _ in range(rounds)]
    return [statistics.median(values) for values in zip(*found, strict=True)]


def p50(seconds: Sequence[float]) -> float:
    """Return the median in milliseconds."""
    return statistics.median(seconds) * 1000


def p95(seconds: Sequence[float]) -> float:
    """Return the 95th percentile in milliseconds."""
    return statistics.quantiles(seconds, n=20)[-1] * 1000


def machine() -> str:
    """Say what was measured on."""
    cpus = len(os.sched_getaffinity(0))
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {cpus} processors."


def write(path: Path, text: str) -> None:
    """Put `text` between the marks of a page."""
    page = path.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
