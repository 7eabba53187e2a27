"""Turns the files an assistant asks for into the files that shall stand, against a snapshot; pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from keyturn.canon import Json
from keyturn.connectors.forge import MAX_DIFF, MAX_FILES, MAX_NEW_CONTENT, File, FileChange, FileState, Snapshot
from keyturn.connectors.forge.names import check_paths, shown
from keyturn.model.diff import FileDiff, file_diff
from keyturn.model.errors import ConnectorError
from keyturn.model.plan import Effects

PLAIN = "100644"
EXECUTABLE = "100755"


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """The whole file shall hold `content`; `executable` None keeps an existing file's mode."""

    path: str
    content: bytes
    executable: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Each `old` text, found exactly once in the file as the edits before left it, becomes its `new` text."""

    path: str
    edits: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """The file shall be gone."""

    path: str


Wish: TypeAlias = Write | Edit | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """Changes worked out: what shall stand, and each file's diff in the same order."""

    files: tuple[FileChange, ...]
    diffs: tuple[FileDiff, ...]

    @property
    def patch(self) -> str:
        """Return the complete diff."""
        return "".join(diff.text for diff in self.diffs)

    def effects(self) -> Effects:
        """Return what limits count: files, and lines added and removed together (see `FileDiff`)."""
        lines = sum(diff.counted_added + diff.counted_removed for diff in self.diffs)
        return Effects(files_changed=len(self.files), lines_changed=lines)

    def summary(self) -> str:
        """Return the size of the change in words: files, lines added and lines removed."""
        added, removed = self._lines()
        count = len(self.files)
        return f"{count} file{'' if count == 1 else 's'}, +{added} \u2212{removed}"

    def _lines(self) -> tuple[int, int]:
        return sum(diff.added for diff in self.diffs), sum(diff.removed for diff in self.diffs)

    def view(self) -> list[dict[str, Json]]:
        """Return the files as conditions see them under `plan.files`."""
        return [
            {
                "path": change.path,
                "status": _status(change),
                "lines_added": diff.added,
                "lines_removed": diff.removed,
                "executable": change.mode == EXECUTABLE,
                "binary": diff.binary,
            }
            for change, diff in zip(self.files, self.diffs, strict=True)
        ]


def read_wishes(items: Sequence[Mapping[str, object]]) -> tuple[Wish, ...]:
    """Read the `files` argument (three shapes: `content`, `edits`, `delete`), checking paths and sizes."""
    if not 1 <= len(items) <= MAX_FILES:
        raise ConnectorError(f"files: 1 to {MAX_FILES} files in one request, not {len(items)}")
    wishes = tuple(_wish(index, item) for index, item in enumerate(items))
    check_paths([wish.path for wish in wishes])
    size = sum(_size(wish) for wish in wishes)
    if size > MAX_NEW_CONTENT:
        raise ConnectorError(f"files: {size} bytes of new content; at most {MAX_NEW_CONTENT} in one request")
    return wishes


def work_out(wishes: Sequence[Wish], snapshot: Snapshot) -> Worked:
    """Work out what the wishes make of the snapshot.

    Refused, naming the item: editing or deleting what is not there, an `old` text found never or more than once, a
    change that changes nothing, a result above the stated sizes.
    """
    files: list[FileChange] = []
    diffs: list[FileDiff] = []
    for index, wish in enumerate(wishes):
        before = snapshot.files[wish.path]
        change = _change(f"files[{index}] {shown(wish.path)}", wish, before)
        files.append(change)
        diffs.append(_diff(change, before))
    _refuse_large(files, diffs)
    return Worked(files=tuple(files), diffs=tuple(diffs))


def work_out_again(files: Sequence[FileChange], snapshot: Snapshot) -> Worked:
    """Work out from the files that shall stand what they make of the snapshot; what stood there comes from it alone.

    Refused: a mode that is never given to files here, a deletion of what is not there, sizes above the stated ones.
    """
    changes = tuple(_again(change, snapshot.files[change.path]) for change in files)
    diffs = tuple(_diff(change, snapshot.files[change.path]) for change in changes)
    _refuse_large(changes, diffs)
    return Worked(files=changes, diffs=diffs)


def _again(change: FileChange, before: File | None) -> FileChange:
    place = shown(change.path)
    if change.mode not in ((None,) if change.content is None else (PLAIN, EXECUTABLE)):
        raise ConnectorError(f"{place}: would get a mode that is not given here")
    if change.content is None and before is None:
        raise ConnectorError(f"{place}: does not exist, so it cannot be deleted")
    return replace(change, before=before.state if before else None)


def _diff(change: FileChange, before: File | None) -> FileDiff:
    old, mode = (before.content, before.state.mode) if before else (None, None)
    return file_diff(change.path, old, change.content, mode, change.mode)


def files_to_json(files: Sequence[FileChange]) -> list[Json]:
    """Write changes as a plan keeps them; bytes become base64."""
    return [
        {
            "path": change.path,
            "content": None if change.content is None else base64.b64encode(change.content).decode("ascii"),
            "mode": change.mode,
        }
        for change in files
    ]


def states_to_json(files: Sequence[FileChange]) -> list[Json]:
    """Write what was reviewed at each path, as facts keep it (a list: paths need not be ASCII, keys must)."""
    return [
        {
            "path": change.path,
            "blob": change.before.blob if change.before else None,
            "mode": change.before.mode if change.before else None,
        }
        for change in files
    ]


def files_from_json(files: object, states: object) -> tuple[FileChange, ...]:
    """Read back what `files_to_json` and `states_to_json` wrote."""
    if not isinstance(files, Sequence) or not isinstance(states, Sequence):
        raise ConnectorError("the plan's files are not lists")
    return tuple(
        FileChange(
            path=item["path"],
            content=None if item["content"] is None else base64.b64decode(item["content"], validate=True),
            mode=item["mode"],
            before=None if state["blob"] is None else FileState(state["blob"], state["mode"]),
        )
        for item, state in zip(files, states, strict=True)
    )


def _wish(index: int, item: Mapping[str, object]) -> Wish:
    path = str(item["path"])
    if item.get("delete"):
        return Delete(path=path)
    edits = item.get("edits")
    if isinstance(edits, Sequence):
        return Edit(path=path, edits=tuple((str(edit["old"]), str(edit["new"])) for edit in edits))
    executable = item.get("executable")
    return Write(
        path=path,
        content=_content(f"files[{index}]", str(item["content"]), encoded=item.get("encoding") == "base64"),
        executable=executable if isinstance(executable, bool) else None,
    )


def _content(place: str, text: str, *, encoded: bool) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if encoded else text.encode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise ConnectorError(f"{place}.content: not {'base64' if encoded else 'valid Unicode'} ({error})") from error


def _size(wish: Wish) -> int:
    match wish:
        case Write():
            return len(wish.content)
        case Edit():
            return sum(len(new) for _, new in wish.edits)
        case Delete():
            return 0


def _change(place: str, wish: Wish, before: File | None) -> FileChange:
    state = before.state if before else None
    match wish:
        case Write():
            kept = EXECUTABLE if state and state.mode == EXECUTABLE else PLAIN
            mode = kept if wish.executable is None else EXECUTABLE if wish.executable else PLAIN
            if before and before.content == wish.content and (wish.executable is None or before.state.mode == mode):
                raise ConnectorError(f"{place}: already holds exactly this; leave it out")
            return FileChange(path=wish.path, content=wish.content, mode=mode, before=state)
        case Edit():
            if before is None:
                raise ConnectorError(f"{place}: does not exist, so it cannot be edited")
            content = _edited(place, before.content, wish.edits)
            return FileChange(path=wish.path, content=content, mode=before.state.mode, before=state)
        case Delete():
            if before is None:
                raise ConnectorError(f"{place}: does not exist, so it cannot be deleted")
            return FileChange(path=wish.path, content=None, mode=None, before=state)


def _edited(place: str, content: bytes, edits: Sequence[tuple[str, str]]) -> bytes:
    try:
        text = original = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConnectorError(f"{place}: not UTF-8 text, so it cannot be edited; give its whole content") from error
    for index, (old, new) in enumerate(edits):
        found = text.find(old) if old else -1
        if found < 0:
            raise ConnectorError(f"{place}: edits[{index}].old is not found (the edits before it are applied)")
        if text.find(old, found + 1) >= 0:
            raise ConnectorError(f"{place}: edits[{index}].old is found more than once; add lines around it")
        text = text[:found] + new + text[found + len(old) :]
    if text == original:
        raise ConnectorError(f"{place}: the edits change nothing; leave it out")
    return _content(place, text, encoded=False)


def _refuse_large(files: Sequence[FileChange], diffs: Sequence[FileDiff]) -> None:
    # an edited file is written anew, so its whole size counts as new content
    size = sum(len(change.content or b"") for change in files)
    if size > MAX_NEW_CONTENT:
        raise ConnectorError(f"files: the files written hold {size} bytes; at most {MAX_NEW_CONTENT} in one request")
    length = sum(len(diff.text.encode("utf-8", "surrogateescape")) for diff in diffs)
    if length > MAX_DIFF:
        raise ConnectorError(f"files: a diff of {length} bytes; at most {MAX_DIFF} in one request")


def _status(change: FileChange) -> str:
    if change.before is None:
        return "added"
    return "deleted" if change.content is None else "modified"
