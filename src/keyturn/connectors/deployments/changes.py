"""Shows what differs between two trees: small text files as diffs, everything else by digest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from keyturn.connectors.deployments import FileChange
from keyturn.connectors.deployments.secrets import hide_pair, holds_private_key
from keyturn.connectors.deployments.tree import Entry, Tree
from keyturn.model.diff import file_diff, quote_path, weight
from keyturn.model.text import visible

MAX_SHOWN_FILE = 65_536  # bytes; a larger file is shown by digest
MAX_SHOWN = 524_288  # characters of all diffs together; the files after that are shown by digest

Reader: TypeAlias = Callable[[str, Entry], bytes]
"""Returns the bytes of one entry of a tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeChanges:
    """The difference of two trees; see `Preview` for the fields."""

    diff: str
    files: tuple[FileChange, ...]
    added: int
    removed: int
    summarised: int


@dataclass(slots=True)
class _Sheet:
    read_old: Reader
    read_new: Reader
    parts: list[str] = field(default_factory=list)
    files: list[FileChange] = field(default_factory=list)
    shown: int = 0
    added: int = 0
    removed: int = 0
    summarised: int = 0


def compare_trees(old: Tree, new: Tree, read_old: Reader, read_new: Reader) -> TreeChanges:
    """Work out the difference of two trees, in the order of their paths."""
    sheet = _Sheet(read_old, read_new)
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before != after:
            for one, other in _sides(before, after):
                _put(sheet, path, one, other)
    return TreeChanges(
        diff=_heading(sheet) + "".join(sheet.parts),
        files=tuple(sheet.files),
        added=sheet.added,
        removed=sheet.removed,
        summarised=sheet.summarised,
    )


_Sides: TypeAlias = tuple[Entry | None, Entry | None]


def _sides(before: Entry | None, after: Entry | None) -> list[_Sides]:
    """Split a change of kind that involves a folder: one thing goes, another comes."""
    if before and after and before.kind != after.kind and "folder" in (before.kind, after.kind):
        return [(before, None), (None, after)]
    return [(before, after)]


def _put(sheet: _Sheet, path: str, old: Entry | None, new: Entry | None) -> None:
    name = visible(path)
    if "folder" in {entry.kind for entry in (old, new) if entry}:
        sheet.parts.append(f"Folder {quote_path(name)}: {_folder(old)} -> {_folder(new)}\n")
        return
    sheet.files.append(FileChange(name, "added" if old is None else "deleted" if new is None else "modified"))
    reason = _unshown(sheet, old, new)
    if reason is None:
        before = None if old is None else sheet.read_old(path, old)
        after = None if new is None else sheet.read_new(path, new)
        reason = _show(sheet, name, before, after, (_mode(old), _mode(new)))
    if reason is not None:
        _summarise(sheet, name, old, new, reason)


def _unshown(sheet: _Sheet, old: Entry | None, new: Entry | None) -> str | None:
    """Return why a file is not even read, or None."""
    if any(entry and entry.size > MAX_SHOWN_FILE for entry in (old, new)):
        return f"larger than {MAX_SHOWN_FILE} bytes"
    return "too much to show" if sheet.shown > MAX_SHOWN else None


def _show(
    sheet: _Sheet, name: str, old: bytes | None, new: bytes | None, modes: tuple[str | None, str | None]
) -> str | None:
    """Add a diff to the sheet, or return why it cannot be."""
    if any(data is not None and holds_private_key(data) for data in (old, new)):
        return "holds a private key"
    try:
        before, after = hide_pair((old or b"").decode(), (new or b"").decode())
    except UnicodeDecodeError:
        return "not text"
    if old is not None and new is not None and old != new and before == after:
        return "differs only in what is hidden"
    diff = file_diff(name, None if old is None else before.encode(), None if new is None else after.encode(), *modes)
    if diff.binary:
        return "not text"
    sheet.parts.append(diff.text)
    sheet.shown += len(diff.text)
    sheet.added += diff.counted_added
    sheet.removed += diff.counted_removed
    return None


def _summarise(sheet: _Sheet, name: str, old: Entry | None, new: Entry | None, reason: str) -> None:
    head = f"diff --git {quote_path('a/' + name)} {quote_path('b/' + name)}\n"
    sheet.parts.append(f"{head}Not shown ({reason}): {_digest(old)} -> {_digest(new)}\n")
    sheet.summarised += 1
    # at least one line: a file that nobody sees must not be free
    sheet.added += max(1, weight(new.lines, new.size)) if new else 0
    sheet.removed += max(1, weight(old.lines, old.size)) if old else 0


def _heading(sheet: _Sheet) -> str:
    count = len(sheet.files)
    files = "1 file differs" if count == 1 else f"{count} files differ"
    if sheet.summarised:
        return f"# {files}; {sheet.summarised} of them by digest only, the others are shown.\n"
    return f"# {files}; every change is shown.\n"


def _mode(entry: Entry | None) -> str | None:
    if entry is None:
        return None
    return "120000" if entry.kind == "symlink" else f"100{entry.mode:03o}"


def _folder(entry: Entry | None) -> str:
    return "nothing" if entry is None else f"mode {entry.mode:03o}"


def _digest(entry: Entry | None) -> str:
    if entry is None:
        return "nothing"
    text = visible(entry.digest) if entry.kind == "file" else "a symlink"
    return f"{text} ({entry.size} bytes)"
