"""Shows what lies between two commits, file by file; what is too large to be shown is named by its digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TypeAlias

from keyturn.canon import sha256
from keyturn.connectors.forge import MAX_DIFF, File, FileChange
from keyturn.connectors.forge.changes import Worked
from keyturn.model.diff import FileDiff, file_diff

_BODY = ("--- ", "Binary content: ")  # how the line begins that follows names and modes in a diff

Pair: TypeAlias = tuple[File | None, File | None]
"""One file before and after, None where it does not exist."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What lies between two commits; `summarised` counts the files of which the diff shows digests alone."""

    worked: Worked
    summarised: int

    def note(self) -> str:
        """Return what a summary says of files that are not shown, "" when all are."""
        if self.summarised == 0:
            return ""
        return f", {self.summarised} shown by digest only"


def compare(files: Mapping[str, Pair], most: int = MAX_DIFF) -> Compared:
    """Work out the diffs of all files, in the order of their paths; at most `most` bytes of diff are shown."""
    paths = sorted(files)
    shown = _bounded([_diff(path, *files[path]) for path in paths], files, most)
    changes = tuple(_change(path, *files[path]) for path in paths)
    summarised = sum(diff.binary or large for diff, large in shown)
    return Compared(Worked(files=changes, diffs=tuple(diff for diff, _ in shown)), summarised)


def _diff(path: str, old: File | None, new: File | None) -> FileDiff:
    return file_diff(
        path,
        old.content if old else None,
        new.content if new else None,
        old.state.mode if old else None,
        new.state.mode if new else None,
    )


def _bounded(diffs: list[FileDiff], files: Mapping[str, Pair], most: int) -> list[tuple[FileDiff, bool]]:
    """Put digests in the place of the longest diffs until the rest fits; say of each whether that was done."""
    sizes = [len(diff.text.encode("utf-8", "surrogateescape")) for diff in diffs]
    left, large = sum(sizes), set[int]()
    for index in sorted(range(len(diffs)), key=lambda index: -sizes[index]):
        if left <= most:
            break
        diffs[index] = _by_digest(diffs[index], *files[diffs[index].path])
        large.add(index)
        left += len(diffs[index].text.encode("utf-8", "surrogateescape")) - sizes[index]
    return [(diff, index in large) for index, diff in enumerate(diffs)]


def _by_digest(diff: FileDiff, old: File | None, new: File | None) -> FileDiff:
    lines = diff.text.splitlines(keepends=True)
    head = "".join(takewhile(lambda line: not line.startswith(_BODY), lines))
    return replace(diff, text=f"{head}Not shown (too large): {_digest(old)} -> {_digest(new)}\n")


def _digest(file: File | None) -> str:
    return "nothing" if file is None else f"{sha256(file.content)} ({len(file.content)} bytes)"


def _change(path: str, old: File | None, new: File | None) -> FileChange:
    return FileChange(
        path=path,
        content=new.content if new else None,
        mode=new.state.mode if new else None,
        before=old.state if old else None,
    )
