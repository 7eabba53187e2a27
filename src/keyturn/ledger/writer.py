"""The ledger of one process: jobs in, one durable transaction out, for this process and against all others."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from keyturn.ledger.clock import read_clock
from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable, sqlite_errors
from keyturn.ledger.follower import Follower
from keyturn.ledger.head import HeadRecord, write_head
from keyturn.ledger.keys import ENTRY_KEY, VERIFIER, load_key
from keyturn.ledger.lock import held
from keyturn.ledger.place import Place, check_place
from keyturn.ledger.rows import check_links
from keyturn.ledger.schema import open_reader, open_writer
from keyturn.ledger.snapshot import EVERY, write_snapshot
from keyturn.ledger.transaction import Pen, Transaction, View
from keyturn.log.fold import Fold
from keyturn.model.errors import LedgerError
from keyturn.model.time import Moment

F = TypeVar("F", bound=Fold)
R = TypeVar("R")

WAL_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a ledger takes from outside: the clocks, entropy, and this program's name for messages."""

    clock: Callable[[], Moment]
    entropy: Callable[[int], bytes]
    program: str


@dataclass(slots=True)
class _Ticket:
    """One job in the queue and what became of it."""

    job: Callable[[Any], Any]
    result: Any = None
    error: BaseException | None = None
    done: bool = False

    def fail(self, error: BaseException) -> None:
        self.error, self.done = error, True

    def finish(self, result: object) -> None:
        self.result, self.done = result, True


class Reader(Generic[F]):
    """A ledger followed read-only: no lock, no keys."""

    def __init__(self, place: Place, kind: type[F], outside: Surroundings) -> None:
        check_place(place)
        self._place = place
        self._outside = outside
        self._turn = threading.Lock()
        self._connection = self._open()
        self._follower = Follower(self._connection, place, read_verifier(place), kind)
        self._broken: LedgerBroken | None = None

    def _open(self) -> sqlite3.Connection:
        return open_reader(self._place.database)

    def look(self, job: Callable[[View[F]], R]) -> R:
        """Run `job` on a consistent, caught-up view. Raises `LedgerError`."""
        with self._turn, self._stop_when_broken(), sqlite_errors("read the ledger"):
            self._connection.execute("BEGIN")
            try:
                self._follower.catch_up()
                reading = read_clock(self._outside.clock(), self._follower.head)
                return job(View(self._connection, self._follower.state, self._follower.head, reading))
            finally:
                self._connection.execute("COMMIT")

    def scrub(self, first: int, count: int) -> int:
        """Recompute hashes and links of `count` entries from `first`; return where to go on (0 after the end)."""
        with self._turn, self._stop_when_broken(), sqlite_errors("read the ledger"):
            end = check_links(self._connection, first, count)
        return end if end - first == count else 0

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            self._connection.close()

    @contextmanager
    def _stop_when_broken(self) -> Iterator[None]:
        """Once the ledger is not the one followed, every later call fails as this one did."""
        if self._broken is not None:
            raise self._broken
        try:
            yield
        except LedgerBroken as error:
            self._broken = error
            raise


class Ledger(Reader[F]):
    """The writer. `transact` runs jobs of many threads and processes one after another, many to a commit."""

    def __init__(self, place: Place, kind: type[F], outside: Surroundings) -> None:
        super().__init__(place, kind, outside)
        self._pen = Pen(load_key(place.keys / ENTRY_KEY), outside.entropy)
        self._waiting: list[_Ticket] = []
        self._queue = threading.Lock()

    def _open(self) -> sqlite3.Connection:
        with held(self._place.lock, self._outside.program):
            return open_writer(self._place.database)

    def transact(self, job: Callable[[Transaction[F]], R]) -> R:
        """Run `job` inside the one transaction and return its result once it is durable.

        The job decides on `tx.state` and appends; it must not wait for anything. If it raises, what it appended is
        rolled back alone and the exception comes back here. Raises `LedgerError` when nothing could be committed.
        """
        ticket = _Ticket(job)
        with self._queue:
            self._waiting.append(ticket)
        with self._turn:
            # Whoever gets the turn first commits for all that wait; the others find their ticket done.
            if not ticket.done:
                self._run_batch()
        if ticket.error is not None:
            raise ticket.error
        result: R = ticket.result
        return result

    def close(self) -> None:
        """Close under the ledger lock: the last connection folds the WAL into the file."""
        with self._turn, suppress(LedgerUnavailable), held(self._place.lock, self._outside.program):
            self._connection.close()

    def _run_batch(self) -> None:
        with self._queue:
            batch, self._waiting = self._waiting, []
        try:
            with self._stop_when_broken(), held(self._place.lock, self._outside.program):
                self._commit(batch)
        except LedgerError as error:
            for ticket in batch:
                ticket.fail(error)
        except BaseException:
            for ticket in batch:
                ticket.fail(LedgerUnavailable("the program was interrupted; nothing was recorded"))
            raise

    def _commit(self, batch: list[_Ticket]) -> None:
        """One batch. Results are handed out only after COMMIT has returned: after fdatasync."""
        finished: list[tuple[_Ticket, object]] = []
        with sqlite_errors("write the ledger"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._follower.catch_up()
                before = self._follower.head.size
                for ticket in batch:
                    self._run(ticket, finished)
                self._snapshot()
                self._connection.execute("COMMIT")
            except BaseException:
                # Whether a failed COMMIT reached the disk is not knowable here: ask the disk, patch nothing.
                self._follower.reset()
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        if self._follower.head.size > before:
            write_head(self._place.head, HeadRecord(self._follower.head.size, self._follower.head.leaf))
        for ticket, result in finished:
            ticket.finish(result)
        self._truncate_wal()

    def _run(self, ticket: _Ticket, finished: list[tuple[_Ticket, object]]) -> None:
        follower = self._follower
        reading = read_clock(self._outside.clock(), follower.head)
        transaction = Transaction(self._connection, follower.state, follower.head, reading, self._pen)
        self._connection.execute("SAVEPOINT job")
        try:
            result = ticket.job(transaction)
        except (LedgerError, sqlite3.Error):
            raise  # the whole batch fails: the disk or the ledger is the problem, not this job
        except Exception as error:  # noqa: BLE001 - the job's own failure goes back to its caller, whatever it is
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            ticket.fail(error)
            return
        self._connection.execute("RELEASE job")
        follower.advance(transaction.appended, transaction.head)
        finished.append((ticket, result))

    def _snapshot(self) -> None:
        head = self._follower.head
        if head.size - self._follower.snapshot_size >= EVERY:
            write_snapshot(self._connection, head, self._follower.state, self._pen.key)
            self._follower.snapshot_size = head.size

    def _truncate_wal(self) -> None:
        wal = self._place.database.with_name(self._place.database.name + "-wal")
        with suppress(OSError):
            if wal.stat().st_size > WAL_LIMIT:
                # Under the lock, so that no writer commits meanwhile; readers may keep it from finishing: no harm.
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


class Watcher:
    """Tells whether anybody wrote to the ledger since it was asked last; on a connection of its own."""

    def __init__(self, place: Place) -> None:
        self._connection = open_reader(place.database)
        self._seen = -1

    def changed(self) -> bool:
        """Return True when something was committed since the last call (and on the first)."""
        with sqlite_errors("watch the ledger"):
            version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        moved, self._seen = version != self._seen, version
        return moved

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def read_verifier(place: Place) -> str:
    """Return the verifier string this home pins."""
    try:
        return (place.keys / VERIFIER).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerUnavailable(f"{place.keys / VERIFIER}: {error}; make a home with `keyturn init`") from error
