"""The turn for changes on one host: one at a time, whichever process of the home makes it, and a pause between two.

`state/run/host-<digest>` is locked (flock) for as long as a change is under way; a process that dies lets go of it.
In the file stand two numbers, seconds since 1970: when the last change was, and until when the host wants none.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from keyturn.model.errors import ConnectorError

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_LOOKS = (0.01, 0.1)  # seconds between two looks whether it is free: at first, and at last
_LONGEST = 60.0  # seconds all leave a host alone for the limit of one: others may have limits of their own there


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is on one host. `pause` is in seconds, `now` gives seconds since 1970."""

    path: Path
    pause: float
    now: Callable[[], float]

    @asynccontextmanager
    async def taken(self, until: float) -> AsyncIterator[Standing | Pausing]:
        """Wait for the turn and the pause, and keep the turn for the block. The caller bounds the wait.

        Yields `Pausing` where the host wants no change before `until`, in the event loop's time. Raises
        `ConnectorError` where the file cannot be had.
        """
        descriptor = self._opened()
        try:
            await self._locked(descriptor)
            last, rest = _times(descriptor)
            now = self.now()
            wait = max(_left(last + self.pause - now, self.pause), _left(rest - now, _LONGEST))
            if anyio.current_time() + wait >= until:
                yield Pausing(wait)
                return
            await anyio.sleep(wait)
            standing = Standing(rest)
            _write(descriptor, self.now(), standing.rest)
            try:
                yield standing
            finally:
                _write(descriptor, self.now(), standing.rest)
        finally:
            os.close(descriptor)

    def _opened(self) -> int:
        problem = ""
        try:
            return os.open(self.path, _FLAGS, 0o600)
        except OSError as error:
            problem = error.strerror or "cannot be opened"
        raise ConnectorError(f"the queue of changes {self.path}: {problem}", kind="retry")

    async def _locked(self, descriptor: int) -> None:
        look, slowest = _LOOKS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await anyio.sleep(look)
                look = min(look * 1.5, slowest)
            else:
                return


@dataclass(slots=True)
class Standing:
    """What the holder of a turn may leave for the next: until when (seconds since 1970) the host wants no change."""

    rest: float


@dataclass(frozen=True, slots=True)
class Pausing:
    """It is no time for a change: the host wants none for so many seconds."""

    seconds: float


def turn_of(run: Path, host: str, pause: float, now: Callable[[], float]) -> Turn:
    """Return the turn for a host, named by its host and port; `run` is the home's folder of locks."""
    return Turn(run / f"host-{hashlib.sha256(host.encode()).hexdigest()[:32]}", pause, now)


def _left(seconds: float, most: float) -> float:
    """A last change that lies in the future was noted before the clock was set back: wait no longer than a pause."""
    return min(max(seconds, 0.0), most)


def _times(descriptor: int) -> tuple[float, float]:
    try:
        last, rest = os.pread(descriptor, 100, 0).split()
        return float(last), float(rest)
    except ValueError:
        return 0.0, 0.0  # a new file


def _write(descriptor: int, last: float, rest: float) -> None:
    with suppress(OSError):  # a full disk: then the pause is not kept, but still one at a time
        os.pwrite(descriptor, f"{last:020.6f} {rest:020.6f}\n".encode(), 0)
