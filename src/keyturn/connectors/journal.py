"""The journal of a folder back end: one lock, and effects that happen once, as can be told at any later time.

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

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from keyturn.canon import CanonError, Json, decode_object, encode
from keyturn.connectors.files import Folder, refusing, temporary
from keyturn.model.errors import ConnectorError
from keyturn.model.time import action_time

STATE_FOLDER = ".keyturn"
LOCK_WAIT = 10.0  # seconds; hashing a large release under the lock takes a few
MAX_MARK = 65_536  # bytes of one mark

FENCED = "a probe found it not done and fenced it; it can never be done under this id"
"""Why an action that is fenced fails, in every back end with a journal."""

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
