"""An anchor in a folder on another file system: the newest note of each log, and every one before it.

    <name>-<32 hex>/checkpoint                 the newest note
    <name>-<32 hex>/recoveries                 which recoveries explained a step back, one to a line
    <name>-<32 hex>/history/<n>/<size>-<root>  each note that was kept; n is the size in ten thousands

A note is put into the history first, and each file whole and durably: whoever reads meets a whole note, an old or a
new one. Two that write at once wait for each other, by a lock in the folder, and look again what is there.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from keyturn.anchors import EVERY, NOTE_LIMIT, AnchorType, Every, Offer, Seen, folder_name
from keyturn.connectors.files import Disk, Folder, refusing
from keyturn.connectors.world import World
from keyturn.log.checkpoint import Checkpoint, parse_checkpoint
from keyturn.log.note import parse_note
from keyturn.model.errors import ConnectorError

CHECKPOINT, RECOVERIES, HISTORY, LOCK = "checkpoint", "recoveries", "history", ".lock"
PER_FOLDER = 10_000
SECONDS = 10.0
_LOCK_WAIT, _LOCK_LOOK = 5.0, 0.02  # seconds
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Settings(BaseModel):
    """`[anchors.<name>]` of kind "file".

    path             a folder, below the home unless absolute
    every            how often it gets a checkpoint
    same_filesystem  whether it may lie on the ledger's own file system
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    kind: Literal["file"] = "file"
    path: str = Field(min_length=1, max_length=4096)
    every: Every = EVERY
    same_filesystem: bool = False


def build(name: str, settings: Settings, world: World, disk: Disk | None = None) -> FileAnchor:
    """Return the anchor called `name`; nothing is looked at yet."""
    beside = None if settings.same_filesystem else world.run
    return FileAnchor(name, world.home / settings.path, beside, disk or Disk())


class FileAnchor:
    """One folder; see `Keeper`. `beside` is a place of the ledger, whose file system is refused; None allows it."""

    type: AnchorType = "file"
    seconds = SECONDS
    near = True

    def __init__(self, name: str, path: Path, beside: Path | None, disk: Disk) -> None:
        self.name = name
        self._path = path
        self._beside = beside
        self._disk = disk

    def newest(self, origin: str) -> Seen | None:
        """Read the newest note of a log."""
        with self._opened() as root:
            if root.stat(folder_name(origin)) is None:
                return None
            with root.child(folder_name(origin)) as folder:
                return _read(folder)

    def put(self, offer: Offer) -> bytes:
        """Keep a note, once what is there is held against the ledger."""
        with (
            self._opened() as root,
            root.make(folder_name(offer.checkpoint.origin)) as folder,
            _locked(folder),
        ):
            seen = _read(folder)
            if seen is not None:
                judged = offer.judge(seen)
                if judged.stands and _size(seen.note) >= offer.checkpoint.size:
                    return seen.note
                # Before the note: a recovery that is noted too early explains the same step still.
                if judged.explained != seen.explained:
                    folder.replace(RECOVERIES, "".join(f"{line}\n" for line in sorted(judged.explained)).encode())
            _remember(folder, offer.checkpoint, offer.note)
            folder.replace(CHECKPOINT, offer.note, 0o644)
            return offer.note

    @contextmanager
    def _opened(self) -> Iterator[Folder]:
        with Folder.open(self._path, str(self._path), self._disk) as root:
            if self._beside is not None and os.fstat(root.fd).st_dev == self._beside.stat().st_dev:
                raise ConnectorError(
                    f"{self._path} lies on the ledger's own file system; mount the other one there, or say "
                    "same_filesystem = true if it is carried elsewhere by other means"
                )
            yield root


def _read(folder: Folder) -> Seen | None:
    note = folder.read(CHECKPOINT, NOTE_LIMIT)
    if note is None:
        return None
    words = folder.read(RECOVERIES, NOTE_LIMIT) or b""
    return Seen(note, frozenset(words.decode("ascii", "replace").splitlines()))


def _size(note: bytes) -> int:
    return parse_checkpoint(parse_note(note).text).size


def _remember(folder: Folder, checkpoint: Checkpoint, note: bytes) -> None:
    """Put a note into the history, where one of the same tree may be already."""
    with folder.make(HISTORY) as history, history.make(f"{checkpoint.size // PER_FOLDER:08d}") as part:
        part.create(f"{checkpoint.size:012d}-{checkpoint.root.hex()[:16]}", note)


@contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    with refusing(folder.at(LOCK)):
        descriptor = os.open(LOCK, _LOCK_FLAGS, 0o600, dir_fd=folder.fd)
    try:
        until = time.monotonic() + _LOCK_WAIT
        while not _taken(folder, descriptor):
            if time.monotonic() > until:
                raise ConnectorError(f"{folder.place}: another process keeps it locked", kind="retry")
            time.sleep(_LOCK_LOOK)
        yield
    finally:
        os.close(descriptor)


def _taken(folder: Folder, descriptor: int) -> bool:
    try:
        with refusing(folder.at(LOCK)):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ConnectorError as error:
        if isinstance(error.__cause__, BlockingIOError):
            return False
        raise
    return True
