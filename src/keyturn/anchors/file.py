"""An anchor in a folder on another file system: the newest note of each log, and every one before it.

    <name>-<32 hex>/checkpoint                 the newest note
    <name>-<32 hex>/history/<n>/<size>-<root>  each note that was kept; n is the size in ten thousands
    <name>-<32 hex>/history/<n>/<size>-<root>.recoveries  leaf hashes of the recoveries in its tree, if there are any

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
from keyturn.log.note import NoteError, parse_note
from keyturn.model.errors import ConnectorError

CHECKPOINT, RECOVERIES, HISTORY, LOCK = "checkpoint", ".recoveries", "history", ".lock"
PER_FOLDER = 10_000
LIST_LIMIT = 1024 * 1024
SECONDS = 10.0
_LOCK_WAIT, _LOCK_LOOK = 5.0, 0.02  # seconds
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Settings(BaseModel):
    """`[anchors.<name>]` of kind "file".

    path             a folder, below the home unless absolute
    every            how often it gets a checkpoint
    required         whether it must have an intent before the effect, where a grant asks for that
    same_filesystem  whether it may lie on the ledger's own file system
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    kind: Literal["file"] = "file"
    path: str = Field(min_length=1, max_length=4096)
    every: Every = EVERY
    required: bool = False
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
                if judged.step is None and _said(seen.note).size >= offer.checkpoint.size:
                    return seen.note
            _remember(folder, offer)
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
    try:
        said = _said(note)
    except NoteError:
        return Seen(note)  # whoever judges it says what it is
    return Seen(note, _recoveries(folder, said))


def _recoveries(folder: Folder, said: Checkpoint) -> frozenset[str]:
    if folder.stat(HISTORY) is None:
        return frozenset()
    with folder.child(HISTORY) as history:
        if history.stat(_part(said)) is None:
            return frozenset()
        with history.child(_part(said)) as part:
            words = part.read(_name(said) + RECOVERIES, LIST_LIMIT) or b""
    return frozenset(words.decode("ascii", "replace").splitlines())


def _said(note: bytes) -> Checkpoint:
    return parse_checkpoint(parse_note(note).text)


def _part(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.size // PER_FOLDER:08d}"


def _name(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.size:012d}-{checkpoint.root.hex()[:16]}"


def _remember(folder: Folder, offer: Offer) -> None:
    """Put a note into the history, where one of the same tree may be already, and before it what belongs to it."""
    name = _name(offer.checkpoint)
    with folder.make(HISTORY) as history, history.make(_part(offer.checkpoint)) as part:
        if offer.recoveries:
            part.replace(name + RECOVERIES, "".join(f"{leaf}\n" for leaf in sorted(offer.recoveries)).encode("ascii"))
        part.create(name, offer.note)


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
