"""Locks between processes: one writer at a time, and proof that an executor is still alive."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from keyturn.ledger.errors import LedgerUnavailable

WAIT_SECONDS = 5.0
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@contextmanager
def held(path: Path, holder: str, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the flock on `path` for the block; wait at most `wait` seconds.

    Waiters queue in the kernel, so that none starves. Raises `LedgerUnavailable` naming who holds it.
    """
    descriptor = _open(path)
    try:
        if not _try_lock(descriptor) and not _queue(descriptor, wait):
            # The waiting thread owns its descriptor now and closes it.
            descriptor = -1
            raise LedgerUnavailable(f"{path} is held by {_holder(path)} for more than {wait:g} s; try again")
        os.pwrite(descriptor, holder.encode()[:200].ljust(200), 0)
        yield
    finally:
        if descriptor >= 0:
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
    """Take the lock of an instance, or None while its process lives. Only who takes it may settle its intents."""
    path = run / instance
    descriptor = _open(path)
    if _try_lock(descriptor):
        return InstanceLock(path, descriptor)
    os.close(descriptor)
    return None


def _open(path: Path) -> int:
    try:
        return os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise LedgerUnavailable(f"{path}: {error.strerror}") from error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EINTR}:
            return False
        raise LedgerUnavailable(f"flock: {error.strerror}") from error
    return True


def _queue(descriptor: int, wait: float) -> bool:
    """Wait in the kernel's queue; a thread does the blocking call so that the wait can be bounded."""
    guard = threading.Lock()
    locked = threading.Event()
    abandoned = False

    def block() -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with guard:
            if abandoned:
                os.close(descriptor)
            locked.set()

    threading.Thread(target=block, name="ledger-lock", daemon=True).start()
    locked.wait(wait)
    with guard:
        abandoned = not locked.is_set()
        return not abandoned


def _holder(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
    return "another process"
