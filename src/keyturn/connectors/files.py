"""Durable files of folder back ends: descriptors instead of paths, symlinks never followed, files written whole."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeAlias

from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible

MAX_NAMES = 20_000  # entries of one listed folder

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
