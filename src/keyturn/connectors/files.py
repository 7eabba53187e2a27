"""Durable files of folder back ends: descriptors instead of paths, one lock, and effects that happen once.

A back end that acts on a folder keeps `.keyturn/` inside it:

    lock                   held (flock) by whoever changes the folder through Keyturn
    actions/<action>.json  what became of an action: `intent`, `done` or `fenced`
    staged/<action>        the new thing, complete, one rename away from being in force

The effect of an action is exactly one rename, of its staged entry onto the live name, and the intent is durable
before it. So the two together say at any later time what happened, whoever moved the live name since:

    no mark                       not happened
    intent, staged still there    not happened
    intent, staged gone           happened
    done / fenced                 happened and recorded / never will
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeAlias

from keyturn.canon import CanonError, Json, decode_object, encode
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible
from keyturn.model.time import action_time

STATE_FOLDER = ".keyturn"
LOCK_WAIT = 10.0  # seconds; hashing a large release under the lock takes a few
MAX_NAMES = 20_000  # entries of one listed folder
MAX_MARK = 65_536  # bytes of one mark

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # O_NONBLOCK: a FIFO must not hang us
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

FileKind: TypeAlias = Literal["file", "folder", "symlink", "other"]


class Disk:
    """The steps that change a disk, one method each, so that tests can end a process at any of them."""

    def write(self, fd: int, data: bytes) -> None:
        """Write all of `data`."""
        while data:
            data = data[os.write(fd, data) :]

    def sync(self, fd: int) -> None:
        """Make a file's bytes, or a folder's names, durable."""
        os.fsync(fd)

    def truncate(self, fd: int, size: int) -> None:
        """Cut a file."""
        os.ftruncate(fd, size)

    def rename(self, folder: int, name: str, to_folder: int, to_name: str) -> None:
        """Move a name over another, atomically."""
        os.rename(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder)

    def link(self, folder: int, name: str, new: str) -> None:
        """Give a file a second name that must not exist yet."""
        os.link(name, new, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)

    def symlink(self, text: str, folder: int, name: str) -> None:
        """Create a symlink."""
        os.symlink(text, name, dir_fd=folder)

    def unlink(self, folder: int, name: str) -> None:
        """Remove a name."""
        os.unlink(name, dir_fd=folder)

    def mkdir(self, folder: int, name: str) -> None:
        """Create a folder for this account alone."""
        os.mkdir(name, 0o700, dir_fd=folder)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder held open; names below it are opened relative to it and never through a symlink.

    Every method takes one name, not a path. System errors come out as `ConnectorError` (refused) naming the place.
    """

    fd: int
    place: str
    disk: Disk

    @classmethod
    def open(cls, path: Path, place: str, disk: Disk, location: str = "") -> Folder:
        """Open a configured folder; messages call it `place`, because assistants read them and paths are private.

        Symlinks on the way there are the operator's own word. With `location`, a real path, what was opened must be
        the folder there: raises `ConnectorError` (conflict) where the way leads elsewhere by now.
        """
        with refusing(place):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if location and not _stands_at(fd, location):
            os.close(fd)
            raise ConnectorError(f"{place}: is another folder now than the one that was reviewed", kind="conflict")
        return cls(fd, place, disk)

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)

    def at(self, name: str) -> str:
        """Name an entry for messages."""
        return f"{self.place}/{visible(name)}"

    def child(self, name: str) -> Folder:
        """Open a folder inside this one; a symlink in its place is refused."""
        with refusing(self.at(name)):
            return Folder(os.open(_single(name), _FOLDER, dir_fd=self.fd), self.at(name), self.disk)

    def make(self, name: str) -> Folder:
        """Open a folder inside this one, created durably where it is missing."""
        with refusing(self.at(name)):
            with contextlib.suppress(FileExistsError):  # child() below decides whether what exists is a folder
                self.disk.mkdir(self.fd, _single(name))
            # Always: whoever created it may have died before this line.
            self.disk.sync(self.fd)
        return self.child(name)

    def stat(self, name: str) -> os.stat_result | None:
        """Return what stands there itself (symlinks not followed), or None."""
        with refusing(self.at(name)):
            try:
                return os.stat(_single(name), dir_fd=self.fd, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def kind(self, name: str) -> FileKind | None:
        """Return the kind of what stands there, or None."""
        found = self.stat(name)
        return None if found is None else kind_of(found.st_mode)

    def names(self) -> tuple[str, ...]:
        """Return the sorted names inside, at most `MAX_NAMES`."""
        found: list[str] = []
        with refusing(self.place), os.scandir(self.fd) as entries:
            for entry in entries:
                found.append(entry.name)
                if len(found) > MAX_NAMES:
                    raise ConnectorError(f"{self.place}: holds more than {MAX_NAMES} entries")
        return tuple(sorted(found))

    @contextmanager
    def reading(self, name: str) -> Iterator[int]:
        """Hold a regular file open for reading and yield its descriptor; anything else is refused."""
        with refusing(self.at(name)):
            fd = os.open(_single(name), _READ, dir_fd=self.fd)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ConnectorError(f"{self.at(name)}: is not a regular file")
            yield fd
        finally:
            os.close(fd)

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the bytes of a regular file, or None where there is none; more than `limit` bytes are refused."""
        if self.stat(name) is None:
            return None
        with self.reading(name) as fd, refusing(self.at(name)), os.fdopen(fd, "rb", closefd=False) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ConnectorError(f"{self.at(name)}: is larger than {limit} bytes")
        return data

    def link_text(self, name: str) -> str | None:
        """Return the text of a symlink, or None where nothing stands; anything else is refused."""
        match self.kind(name):
            case None:
                return None
            case "symlink":
                with refusing(self.at(name)):
                    return os.readlink(name, dir_fd=self.fd)
            case kind:
                raise ConnectorError(f"{self.at(name)}: is a {kind}, not a symlink")

    def replace(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Put a whole new file in place, atomically and durably."""
        with refusing(self.at(name)):
            self.disk.rename(self.fd, self._written(name, data, mode), self.fd, name)
            self.disk.sync(self.fd)

    def create(self, name: str, data: bytes) -> bool:
        """Create a whole file, atomically and durably; False where the name exists already, whatever it is."""
        with refusing(self.at(name)):
            written = self._written(name, data, 0o600)
            try:
                self.disk.link(self.fd, written, name)
            except FileExistsError:
                return False
            finally:
                self.disk.unlink(self.fd, written)
            self.disk.sync(self.fd)
        return True

    def replace_link(self, name: str, text: str) -> None:
        """Put a symlink in place, atomically and durably."""
        with refusing(self.at(name)):
            free = self._temporary(name)
            self.disk.symlink(text, self.fd, free)
            self.disk.rename(self.fd, free, self.fd, name)
            self.disk.sync(self.fd)

    def remove(self, name: str) -> None:
        """Remove a name durably; nothing there is fine."""
        with refusing(self.at(name)):
            if self.stat(name) is not None:
                self.disk.unlink(self.fd, _single(name))
                self.disk.sync(self.fd)

    def append(self, name: str, data: bytes, *, keep: int) -> None:
        """Cut a file to its first `keep` bytes (an earlier append may have died half way), then append durably."""
        with refusing(self.at(name)):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            fd = os.open(_single(name), flags, 0o644, dir_fd=self.fd)
            try:
                if os.fstat(fd).st_size != keep:
                    self.disk.truncate(fd, keep)
                os.lseek(fd, keep, os.SEEK_SET)
                self.disk.write(fd, data)
                self.disk.sync(fd)
            finally:
                os.close(fd)
            self.disk.sync(self.fd)

    def _written(self, name: str, data: bytes, mode: int) -> str:
        free = self._temporary(name)
        fd = os.open(free, _CREATE, mode, dir_fd=self.fd)
        try:
            os.fchmod(fd, mode)
            self.disk.write(fd, data)
            self.disk.sync(fd)
        finally:
            os.close(fd)
        return free

    def _temporary(self, name: str) -> str:
        """Return a free name beside `name`. The lock is held: what stands there is a dead process's."""
        free = temporary(_single(name))
        if self.stat(free) is not None:
            self.disk.unlink(self.fd, free)
        return free


def temporary(name: str) -> str:
    """Return the name under which a file is written before it is put in place."""
    return f".{name}.tmp"


@contextmanager
def opened_below(root: Folder, parts: tuple[str, ...]) -> Iterator[Folder]:
    """Open a folder several names below `root`, one name at a time; symlinks on the way are refused."""
    if not parts:
        yield root
        return
    with root.child(parts[0]) as folder, opened_below(folder, parts[1:]) as last:
        yield last


@contextmanager
def refusing(place: str) -> Iterator[None]:
    """Turn a system error into a `ConnectorError` (refused) that names the place."""
    try:
        yield
    except OSError as error:
        raise ConnectorError(f"{place}: {_words(error)}") from error


def kind_of(mode: int) -> FileKind:
    """Return the kind that a file's mode tells."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "symlink" if stat.S_ISLNK(mode) else "other"


def _stands_at(fd: int, location: str) -> bool:
    """Compare the open folder itself, not the name it was opened by, which may have been moved since."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(location)) and os.path.realpath(location) == location
    except OSError:
        return False


def _words(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return "is missing"
        case errno.ELOOP:
            return "is a symlink, which is never followed here"
        case errno.ENOTDIR:
            return "is not a folder (or is a symlink to one, which is never followed here)"
        case _:
            return error.strerror or str(error)


def _single(name: str) -> str:
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise ConnectorError(f"{visible(name)!r} is not the name of one file")
    return name


MarkState: TypeAlias = Literal["absent", "prepared", "moved", "done", "fenced"]


@dataclass(frozen=True, slots=True)
class Mark:
    """What a folder remembers of one action; see the module's table. `body` is the back end's own.

    `prepared` is an intent whose staged entry is still there, `moved` one whose staged entry is gone.
    """

    state: MarkState
    body: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Journal:
    """The `.keyturn/` of one folder while its lock is held."""

    actions: Folder
    staged: Folder

    def find(self, action: str) -> Mark:
        """Return what is known of an action. Raises `ConnectorError` for a mark nobody of ours wrote."""
        action_time(action)
        data = self.actions.read(f"{action}.json", MAX_MARK)
        if data is None:
            return Mark("absent")
        place = self.actions.at(f"{action}.json")
        try:
            value = decode_object(data.removesuffix(b"\n"))
        except CanonError as error:
            raise ConnectorError(f"{place}: is not a mark: {error}") from error
        body, state = value.get("body"), value.get("state")
        if value.get("action") != action or not isinstance(body, Mapping):
            raise ConnectorError(f"{place}: is not the mark of this action")
        match state:
            case "done" | "fenced":
                return Mark(state, body)
            case "intent":
                return Mark("moved" if self.staged.stat(action) is None else "prepared", body)
            case _:
                raise ConnectorError(f"{place}: has an unknown state")

    def stage_file(self, action: str, data: bytes, mode: int) -> None:
        """Lay a file ready. Atomic over an earlier one: there is no moment at which it seems to have been moved."""
        self.staged.replace(action, data, mode)

    def stage_link(self, action: str, text: str) -> None:
        """Lay a symlink ready, as atomically."""
        self.staged.replace_link(action, text)

    def intend(self, action: str, body: Mapping[str, Json]) -> None:
        """Make the intent durable. Call with the entry staged: an intent without it means that it happened."""
        if not self.actions.create(f"{action}.json", _mark(action, "intent", body)):
            raise ConnectorError(f"{self.actions.at(action)}: somebody else marked this action", kind="unknown")

    def move(self, action: str, folder: Folder, name: str) -> None:
        """Put the staged entry in force under `name`: the effect itself, one rename, then durable."""
        with refusing(folder.at(name)):
            folder.disk.rename(self.staged.fd, action, folder.fd, name)
            # The live name first: a power cut between the two leaves an intent and a staged entry that may both
            # still be there only if the rename as a whole was lost (one journal transaction for both folders).
            folder.disk.sync(folder.fd)
            folder.disk.sync(self.staged.fd)

    def finish(self, action: str, body: Mapping[str, Json]) -> None:
        """Record that it happened, with what is told about it; may be repeated with more in `body`."""
        self.actions.replace(f"{action}.json", _mark(action, "done", body))

    def fence(self, action: str, mark: Mark, body: Mapping[str, Json]) -> None:
        """Make sure that an action that has not happened never will.

        The fence is durable before the staged entry goes: the other way round, a crash between the two would leave
        an intent without a staged entry, which reads as happened.
        """
        data = _mark(action, "fenced", body)
        if mark.state == "prepared":
            self.actions.replace(f"{action}.json", data)
        elif not self.actions.create(f"{action}.json", data):
            raise ConnectorError(f"{self.actions.at(action)}: somebody else marked this action", kind="unknown")
        self.staged.remove(action)
        self.staged.remove(temporary(action))


@contextmanager
def journal(root: Folder, wait: float = LOCK_WAIT) -> Iterator[Journal]:
    """Hold a folder's lock and yield its journal.

    The lock dies with its holder. Raises `ConnectorError` (retry) when it cannot be had within `wait` seconds.
    """
    with (
        root.make(STATE_FOLDER) as state,
        state.make("actions") as actions,
        state.make("staged") as staged,
        _lock(state, wait),
    ):
        yield Journal(actions, staged)


@contextmanager
def _lock(state: Folder, wait: float) -> Iterator[None]:
    with refusing(state.at("lock")):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open("lock", flags, 0o600, dir_fd=state.fd)
    try:
        deadline = time.monotonic() + wait
        while not _taken(fd):
            if time.monotonic() > deadline:
                place = state.at("lock")
                raise ConnectorError(f"{place}: held by another process for {wait:g} s", kind="retry", retry_after=5)
            time.sleep(0.01)  # flock has no timeout of its own
        yield
    finally:
        os.close(fd)


def _taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _mark(action: str, state: str, body: Mapping[str, Json]) -> bytes:
    return encode({"action": action, "state": state, "body": body}) + b"\n"
