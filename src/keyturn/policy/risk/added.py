"""Takes a unified diff apart: which lines it adds to which file, and which files it shows by digest alone.

A line of a file may look like any line of a diff, so the counts in the hunks' headers decide what belongs to a hunk.
What stands outside of every hunk and still begins with a plus is taken as added: looking at too much is no harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HUNK = re.compile(r"@@ -[0-9]{1,9}(?:,([0-9]{1,9}))? \+[0-9]{1,9}(?:,([0-9]{1,9}))? @@", re.ASCII)
UNSEEN = ("Binary content: ", "Not shown (", "Binary files ", "GIT binary patch")
"""How lines begin that stand in the place of a file's content."""


@dataclass(frozen=True, slots=True)
class Added:
    """What a diff adds.

    lines   (path, how manieth added line of that file, the line)
    unseen  files of which only digests or encoded bytes are shown
    """

    lines: tuple[tuple[str, int, str], ...]
    unseen: int


@dataclass(slots=True)
class _Reading:
    """Where in the diff one stands: the file, its added lines so far, and what is left of the hunk."""

    path: str = ""
    number: int = 0
    old: int = 0
    new: int = 0
    unseen: int = 0

    def take(self, line: str) -> str | None:
        """Take the next line; return it without its sign if it is added."""
        if self.old > 0 or self.new > 0:
            return self._in_hunk(line)
        if (found := _HUNK.match(line)) is not None:
            self.old, self.new = (int(count) if count is not None else 1 for count in found.groups())
        elif line.startswith("diff --git "):
            self.path, self.number = _named(line), 0
        elif line.startswith(UNSEEN):
            self.unseen += 1
        elif line.startswith("+") and not line.startswith("+++ "):
            return self._added(line)
        return None

    def _in_hunk(self, line: str) -> str | None:
        sign = line[:1]
        if sign == "+":
            self.new -= 1
            return self._added(line)
        if sign == "-":
            self.old -= 1
        elif sign != "\\":
            self.old, self.new = self.old - 1, self.new - 1
        return None

    def _added(self, line: str) -> str:
        self.number += 1
        return line[1:]


def added_lines(diff: str) -> Added:
    """Return what a unified diff adds. Never fails: whatever is no diff adds little or nothing."""
    reading = _Reading()
    lines = tuple(_added(diff, reading))
    return Added(lines, reading.unseen)


def _added(diff: str, reading: _Reading) -> Iterator[tuple[str, int, str]]:
    for line in diff.split("\n"):
        added = reading.take(line)
        if added is not None:
            yield reading.path, reading.number, added


def _named(line: str) -> str:
    """Return the path in `diff --git a/<path> b/<path>`, in which it stands twice."""
    both = line.removeprefix("diff --git ")
    half = len(both) // 2
    first, second = both[:half], both[half + 1 :]
    same = first.removeprefix('"')[1:] == second.removeprefix('"')[1:] and both[half : half + 1] == " "
    return second.removeprefix('"').removeprefix("b/").removesuffix('"') if same else both
