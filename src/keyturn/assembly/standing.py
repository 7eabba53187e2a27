"""Opening a home without its back ends: for looking, for people's words, and for starting the worker.

Kept apart from `build`, so that a verb that only reads or records a review loads neither tools nor connectors.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from keyturn.assembly.home import Home, no_home
from keyturn.assembly.outside import entropy, environment, surroundings
from keyturn.fold.state import State
from keyturn.gateway.desk import Desk
from keyturn.ledger.head import read_head
from keyturn.ledger.keys import VERIFIER
from keyturn.ledger.lock import take_instance
from keyturn.ledger.writer import Ledger, Reader, Watcher, read_verifier
from keyturn.model.errors import ConfigurationError, LedgerError

WORKER_LOCK = "worker"
MAX_LOG = 1024 * 1024
WORKER_COMES = 5.0  # seconds within which a worker that was started has its turn or has left


def require_founded(home: Home) -> None:
    """Refuse a home without a ledger. Raises `ConfigurationError` with what to do.

    Where it was lost, founding anew is no way to mend that.
    """
    place = home.place
    if not home.founded and not place.folder.exists():
        if not home.wiring.exists():
            raise ConfigurationError(no_home(home.folder))
        raise ConfigurationError(
            f"{home.folder} has no ledger yet; found it with: keyturn init {shlex.quote(str(home.folder))}"
        )
    _require(place.database)


def require_pinned(home: Home) -> None:
    """Refuse a home without a ledger, or without the verifier string it pins. Raises `ConfigurationError`."""
    require_founded(home)
    _require(home.place.keys)
    _require(home.place.keys / VERIFIER)


def _require(path: Path) -> None:
    if _gone(path):
        raise ConfigurationError(f"{path} is missing: put it back from a copy")


def _gone(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # whoever needs it says why this account may not look
    return False


def kept_verifier(home: Home) -> str:
    """Return the verifier string that a home keeps of its log.

    Raises `ConfigurationError` when it is gone, `LedgerError` when it cannot be read.
    """
    require_pinned(home)
    return read_verifier(home.place)


def remembered_end(home: Home) -> tuple[int, str] | None:
    """Return size and last leaf hash that a home remembers of its ledger; None when it remembers nothing sound."""
    try:
        record = read_head(home.place.head)
    except LedgerError:
        return None
    return None if record is None else (record.size, record.leaf)


def open_reader(home: Home, program: str) -> Reader[State]:
    """Open the ledger of a home for reading: no keys, no lock, no contracts."""
    require_pinned(home)
    return Reader(home.place, State, surroundings(program))


def open_ledger(home: Home, program: str, *, closed: bool = False) -> Ledger[State]:
    """Open the ledger of a home for writing, without back ends, once the anchors nearby do not contradict it.

    A log that was closed is refused, unless it is opened as `closed`.

    Raises `ConfigurationError` and `LedgerError`. When it is closed, what was written gets a checkpoint.
    """
    require_pinned(home)
    # Imported here: it is needed by what writes, and a verb that reads should begin without it.
    from keyturn.assembly.writing import open_writing  # noqa: PLC0415

    return open_writing(home, program, closed=closed)


def open_desk(home: Home, program: str) -> Desk:
    """Open a home for people's words: reviews, cancellations, resolutions."""
    return Desk(ledger=open_ledger(home, program), entropy=entropy)


def watch(home: Home) -> Watcher:
    """Return a watcher of the home's ledger."""
    require_pinned(home)
    return Watcher(home.place)


def worker_starter(home: Home) -> Callable[[], None]:
    """Return what starts a worker for `home` unless one is there.

    The worker runs in a session of its own: a client that kills the server's process group does not reach it.
    """

    started: list[tuple[subprocess.Popen[bytes], float]] = []
    turn = threading.Lock()

    def start() -> None:
        with turn:
            start_unless_there()

    def start_unless_there() -> None:
        started[:] = [(worker, at) for worker, at in started if worker.poll() is None]  # reaps those that have ended
        # One that was started a moment ago has yet to look, and will find all there is: many calls at once must not
        # start as many workers.
        coming = any(time.monotonic() - at < WORKER_COMES for _, at in started)
        if coming or worker_present(home):
            return
        # -P: what lies in the home is never imported.
        command = [sys.executable, "-P", "-m", "keyturn", "--home", str(home.folder), "worker", "--on-demand"]
        with _worker_log(home) as log:
            worker = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=home.folder,
                env=dict(environment()),
            )
        started.append((worker, time.monotonic()))

    return start


def take_worker_turn(home: Home) -> Callable[[], None] | None:
    """Take the place of the one on-demand worker; returns how to give it up, or None while another has it."""
    lock = take_instance(home.place.run, WORKER_LOCK)
    return None if lock is None else lock.release


def worker_present(home: Home) -> bool:
    """Say whether an on-demand worker has its turn now."""
    return lock_held(home, WORKER_LOCK)


def lock_held(home: Home, name: str) -> bool:
    """Say whether a living process holds a lock of `state/run/`: the worker's turn, or an executor's instance."""
    try:
        descriptor = os.open(home.place.run / name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _worker_log(home: Home) -> BinaryIO:
    path = home.place.run / "worker.log"
    too_long = path.exists() and path.stat().st_size > MAX_LOG
    descriptor = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if too_long else os.O_APPEND), 0o600
    )
    return os.fdopen(descriptor, "wb")
