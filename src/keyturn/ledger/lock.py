"""Locks between processes: one writer at a time, and proof that an executor is still alive."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from keyturn.ledger.errors import LedgerUnavailable

WAIT_SECONDS = 5.0
_LOOKED_AT = 1.0  # seconds
_INSTANT = 0.001  # seconds
_NAME = 200  # bytes kept for the holder's name
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@contextmanager
def held(path: Path, holder: str, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the flock on `path` for the block; wait at most `wait` seconds.

    Waiters queue in the kernel, so that none starves. Raises `LedgerUnavailable` naming who holds it.
    """
    descriptor = _acquire(path, wait)
    try:
        with suppress(OSError):  # a full disk: the name only makes the message of others better
            os.pwrite(descriptor, holder.encode()[:_NAME].ljust(_NAME), 0)
        yield
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class InstanceLock:
    """The lock a process holds for life on `state/run/<instance>`; its death frees it."""

    path: Path
    descriptor: int

    def release(self, *, forget: bool = False) -> None:
        """Give the lock up; with `forget` the file goes too (nothing names this instance any more)."""
        if forget:
            with suppress(FileNotFoundError):
                self.path.unlink()
        os.close(self.descriptor)


def take_instance(run: Path, instance: str) -> InstanceLock | None:
    """Take the lock of an instance, or None while its process lives. Only who takes it may settle its intents.

    Whoever asks whether it is held takes a shared lock for an instant: that does not count as being held, and is
    waited for, at most a second.
    """
    path, until = run / instance, time.monotonic() + _LOOKED_AT
    while True:
        descriptor = _open(path)
        if _try_lock(path, descriptor):
            if _names(path, descriptor):
                return InstanceLock(path, descriptor)
            # Another process held it and forgot it between our open and our lock: this file locks nothing any more.
            os.close(descriptor)
            continue
        only_looked_at = _try_lock(path, descriptor, fcntl.LOCK_SH)
        os.close(descriptor)
        if not only_looked_at or time.monotonic() > until:
            return None
        time.sleep(_INSTANT)


def _open(path: Path) -> int:
    try:
        return os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise LedgerUnavailable(f"{path}: {error.strerror}") from error


def _names(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _try_lock(path: Path, descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Return whether the lock was free. Closes the file and raises `LedgerUnavailable` where there can be no lock."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # no locks on this file system, or none left
        os.close(descriptor)
        raise LedgerUnavailable(f"{path}: cannot be locked: {error.strerror}") from error
    return True


def _acquire(path: Path, wait: float) -> int:
    descriptor = _open(path)
    if _try_lock(path, descriptor):
        return descriptor
    # From here the descriptor is the queue's: whoever gives up waiting must not close it under a blocked flock.
    if _Queue(path, descriptor).wait(wait):
        return descriptor
    raise LedgerUnavailable(f"{path} is held by {_holder(path)} for more than {wait:g} s; try again")


class _Queue:
    """A place in the kernel's queue for one lock; a thread does the blocking call, so that the wait is bounded."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._failure: OSError | None = None
        self._abandoned = False

    def wait(self, seconds: float) -> bool:
        """Return True with the lock, or False after `seconds`: then it is given back as soon as it comes.

        Raises `LedgerUnavailable` when the kernel refuses to lock; the file is closed then.
        """
        try:
            threading.Thread(target=self._block, name="ledger-lock", daemon=True).start()
            self._over.wait(seconds)
        except BaseException:  # Ctrl-C while waiting
            if self._leave():
                os.close(self._descriptor)
            raise
        if self._leave() and self._failure is not None:
            os.close(self._descriptor)
            words = f"{self._path}: cannot be locked: {self._failure.strerror}"
            raise LedgerUnavailable(words) from self._failure
        return not self._abandoned

    def _block(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            self._failure = error
        with self._guard:
            self._over.set()
            if self._abandoned:
                os.close(self._descriptor)

    def _leave(self) -> bool:
        """Return whether the wait is over; if not, the thread closes the file when it is."""
        with self._guard:
            self._abandoned = not self._over.is_set()
            return not self._abandoned


def _holder(path: Path) -> str:
    name = ""
    with suppress(OSError):
        name = path.read_text(encoding="utf-8", errors="replace").strip()
    return name or "another process"
