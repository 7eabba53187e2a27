"""The ledger of one process: jobs in, one durable transaction out, for this process and against all others."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from keyturn.ledger.bell import Bell
from keyturn.ledger.clock import read_clock
from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable, sqlite_errors
from keyturn.ledger.follower import Follower
from keyturn.ledger.head import HeadRecord, write_head
from keyturn.ledger.keychain import Keychain
from keyturn.ledger.keys import VERIFIER
from keyturn.ledger.lock import held
from keyturn.ledger.place import Place, check_place
from keyturn.ledger.rows import END, check_links, check_payloads, check_stored
from keyturn.ledger.schema import BUSY_TIMEOUT, open_reader, open_writer
from keyturn.ledger.snapshot import next_snapshot, write_snapshot
from keyturn.ledger.standing import check_listed
from keyturn.ledger.transaction import Pen, Transaction, View
from keyturn.ledger.tree import check_grown
from keyturn.log.fold import Fold
from keyturn.model.errors import LedgerError
from keyturn.model.time import Moment

F = TypeVar("F", bound=Fold)
R = TypeVar("R")

WAL_LIMIT = 4 * 1024 * 1024  # bytes; from there on the WAL is copied into the file whenever it is full
_COPY = "PRAGMA wal_checkpoint(PASSIVE)"
_TRUNCATE = "PRAGMA wal_checkpoint(TRUNCATE)"
SCRUB_STEP = 500  # entries looked at in one turn of a scrub
_PATIENCE = 1.0  # seconds after which a waiting caller looks for itself: whoever had to wake it was interrupted
_INTERRUPTED = "the program was interrupted; nothing was recorded"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a ledger takes from outside: the clocks, entropy, and this program's name for messages."""

    clock: Callable[[], Moment]
    entropy: Callable[[int], bytes]
    program: str


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of one job among several: its result, or what it raised."""

    result: Any = None
    error: BaseException | None = None

    @classmethod
    def of(cls, job: Callable[[Any], Any], view: object) -> Ended:
        """Run a job; its failure is its own."""
        try:
            with sqlite_errors("read the ledger"):
                return cls(job(view))
        except Exception as error:  # noqa: BLE001 - whoever asked for the job raises it
            return cls(error=error)


@dataclass(slots=True, eq=False)
class _Ticket:
    """One job in the queue and what became of it."""

    job: Callable[[Any], Any]
    result: Any = None
    error: BaseException | None = None
    done: bool = False
    gate: threading.Lock = field(default_factory=threading.Lock)  # closed until there is news

    def __post_init__(self) -> None:
        self.gate.acquire()

    def fail(self, error: BaseException) -> None:
        """Give the job's caller an error, unless its fate is settled: what was committed has not failed."""
        if not self.done:
            self.error, self.done = error, True
            self.wake()

    def finish(self, result: object) -> None:
        self.result, self.done = result, True
        self.wake()

    def wait(self) -> None:
        """Sleep until somebody has done the job or wakes this caller to do it; at most `_PATIENCE` seconds."""
        self.gate.acquire(timeout=_PATIENCE)

    def wake(self) -> None:
        if self.gate.locked():
            self.gate.release()

    def outcome(self) -> Any:
        """Return or raise what became of the job."""
        if self.error is not None or not self.done:
            raise self.error or LedgerUnavailable(_INTERRUPTED)
        return self.result


class Reader(Generic[F]):
    """A ledger followed read-only: no lock, no keys."""

    def __init__(self, place: Place, kind: type[F], outside: Surroundings) -> None:
        check_place(place)
        verifier = read_verifier(place)
        self._place = place
        self._outside = outside
        self._turn = threading.Lock()
        self._owner = 0
        self._connection = self._open()
        self._follower = Follower(self._connection, place, verifier, kind, outside.clock)
        self._broken: LedgerBroken | None = None

    def _open(self) -> sqlite3.Connection:
        return open_reader(self._place.database)

    def look(self, job: Callable[[View[F]], R]) -> R:
        """Run `job` on a consistent, caught-up view. Raises `LedgerError`."""
        with self._my_turn(), self._stop_when_broken(), sqlite_errors("read the ledger"):
            try:
                self._connection.execute("BEGIN")
                self._follower.catch_up()
                reading = read_clock(self._outside.clock(), self._follower.head)
                return job(View(self._connection, self._follower.state, self._follower.head, reading))
            finally:
                self._roll_back()

    def look_all(self, jobs: Sequence[Callable[[View[F]], Any]]) -> list[Ended]:
        """Run several jobs on one view and return what became of each, in their order."""
        ended: list[Ended] = []
        try:
            self.look(lambda view: ended.extend(Ended.of(job, view) for job in jobs))
        except LedgerError as error:
            return [Ended(error=error) for _ in jobs]
        # What a job met of a broken ledger stops every later one too.
        self._broken = self._broken or next((e.error for e in ended if isinstance(e.error, LedgerBroken)), None)
        return ended

    def scrub(self, first: int, count: int) -> int:
        """Recompute hashes, links and subtrees of `count` entries from `first`; open their payloads' commitments.

        In steps, so that others get their turns in between. Return where to go on (0 after the end).
        """
        end = first + count
        while first < end:
            step = min(SCRUB_STEP, end - first)
            with self._my_turn(), self._stop_when_broken(), sqlite_errors("read the ledger"):
                try:
                    self._connection.execute("BEGIN")
                    done = check_links(self._connection, first, step)
                    check_grown(self._connection, first, done)
                    check_listed(self._connection, first, done)
                    check_payloads(self._connection, first, done if done - first == step else END)
                finally:
                    self._roll_back()
            if done - first < step:
                return 0
            first = done
        return end

    def close(self) -> None:
        """Close the connection."""
        with self._my_turn():
            self._connection.close()

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        self._refuse_reentry()
        with self._turn:
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._owner = 0

    def _refuse_reentry(self) -> None:
        if self._owner == threading.get_ident():
            raise RuntimeError("a job called the ledger it runs in: it would wait for itself for ever")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    @contextmanager
    def _stop_when_broken(self) -> Iterator[None]:
        """Once the ledger is not the one followed, every later call fails as this one did."""
        if self._broken is not None:
            raise LedgerBroken(*self._broken.args) from self._broken
        try:
            yield
        except LedgerBroken as error:
            self._broken = error
            raise


class Ledger(Reader[F]):
    """The writer. `transact` runs jobs of many threads and processes one after another, many to a commit."""

    def __init__(self, place: Place, kind: type[F], outside: Surroundings) -> None:
        self._waiting: list[_Ticket] = []
        self._queue = threading.Lock()
        self._head_due = False
        self._snapshot_at = 0
        self._lock, self._head = place.lock, place.head
        self._wal = place.database.with_name(f"{place.database.name}-wal")
        self._wal_size = 0
        self.bell, self._rung_at = Bell(place.run), 0
        self.wrote = False  # whether this process appended anything
        super().__init__(place, kind, outside)

    def _open(self) -> sqlite3.Connection:
        self._keychain = Keychain(self._place.keys)
        with held(self._lock, self._outside.program):
            return open_writer(self._place.database)

    def transact(self, job: Callable[[Transaction[F]], R]) -> R:
        """Run `job` inside the one transaction and return its result once it is durable.

        The job decides on `tx.state` and appends; it must not wait for anything. If it raises, what it appended is
        rolled back alone and the exception comes back here. Raises `LedgerError` when nothing could be committed.
        After a failed COMMIT it is unknown whether the disk keeps the entries: nothing was acknowledged, and the
        next call reads what is there.
        """
        self._refuse_reentry()
        ticket = _Ticket(job)
        try:
            with self._queue:
                self._waiting.append(ticket)
            while not ticket.done:
                self._work_or_wait(ticket)
        except BaseException:
            self._withdraw(ticket)
            raise
        result: R = ticket.outcome()
        return result

    def transact_all(self, jobs: Sequence[Callable[[Transaction[F]], Any]]) -> list[Ended]:
        """Run several jobs as `transact` does, mostly in one commit; return what became of each, in their order."""
        self._refuse_reentry()
        tickets = [_Ticket(job) for job in jobs]
        with self._queue:
            self._waiting += tickets
        for ticket in tickets:
            while not ticket.done:
                self._work_or_wait(ticket)
        return [Ended(ticket.result, ticket.error) for ticket in tickets]

    def close(self) -> None:
        """Close under the ledger lock: the last connection folds the WAL into the file.

        When another process holds the lock for too long, the connection stays open until this process ends.
        """
        with self._my_turn(), suppress(LedgerUnavailable), held(self._lock, self._outside.program):
            self._connection.close()
        self.bell.close()

    def _work_or_wait(self, ticket: _Ticket) -> None:
        if self._turn.locked():
            # Whoever has the turn commits for this caller too, or wakes it afterwards to do so for all that wait
            # then: so the jobs that come in during one commit share the next.
            ticket.wait()
            return
        with self._my_turn():
            if not ticket.done:
                self._run_batch()

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        try:
            with super()._my_turn():
                yield
        finally:
            self._wake_next()

    def _wake_next(self) -> None:
        with self._queue:
            if self._waiting:
                self._waiting[0].wake()

    def _withdraw(self, ticket: _Ticket) -> None:
        """A caller that was interrupted while it waited is gone: nobody may run its job later."""
        with self._queue:
            self._waiting = [waiting for waiting in self._waiting if waiting is not ticket]
        self._wake_next()

    def _run_batch(self) -> None:
        batch: list[_Ticket] = []
        try:
            with self._queue:
                batch, self._waiting = self._waiting, []
            with self._stop_when_broken(), held(self._lock, self._outside.program):
                self._commit(batch)
            self._ring()
        except LedgerError as error:
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - the callers of the whole batch learn it, each in its own thread
            failure = LedgerUnavailable(f"write the ledger: {error!r}; nothing was recorded")
            failure.__cause__ = error
            _fail(batch, failure)
        except BaseException:
            _fail(batch, LedgerUnavailable(_INTERRUPTED))
            raise

    def _ring(self) -> None:
        size = self._follower.head.size
        if size != self._rung_at:
            self._rung_at = size
            self.bell.ring()

    def _commit(self, batch: list[_Ticket]) -> None:
        """One batch. Results are handed out only after COMMIT has returned: after fdatasync."""
        finished: list[tuple[_Ticket, object]] = []
        with sqlite_errors("write the ledger"):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._follower.catch_up()
                self._write_due_head()
                self._keychain.settle(self._follower.head)
                self._run_jobs(batch, finished)
                self._connection.execute("COMMIT")
            except BaseException as error:
                if self._was_committed(error):
                    _finish(finished)
                # Whether a failed COMMIT reached the disk is not knowable here: ask the disk, patch nothing.
                self._follower.reset()
                self._roll_back()
                raise
        _finish(finished)
        # Neither of these can take back what is durable: their failures are no failures of the batch.
        with suppress(LedgerUnavailable):
            self._write_due_head()
            self._keychain.settle(self._follower.head)
        self._fold_wal()

    def _was_committed(self, error: BaseException) -> bool:
        """Tell whether an interruption came after COMMIT: a signal that arrives during it surfaces once it is done.

        SQLite leaves a transaction by itself only together with an error of its own.
        """
        return not isinstance(error, (sqlite3.Error, LedgerError)) and not self._connection.in_transaction

    def _write_due_head(self) -> None:
        """Bring the head record up to date. One that cannot be written keeps the next batch from starting."""
        if self._head_due:
            head = self._follower.head
            write_head(self._head, HeadRecord(head.size, head.leaf))
            self._head_due = False

    def _run_jobs(self, batch: list[_Ticket], finished: list[tuple[_Ticket, object]]) -> None:
        before = self._follower.head
        for ticket in batch:
            self._run(ticket, finished)
        if self._follower.head.size > before.size:
            check_stored(self._connection, before.size, self._follower.head)
            self.wrote = True
        # A snapshot that a revoked key signed helps nobody to start.
        self._snapshot(due=self._follower.head.revoked != before.revoked)
        self._head_due = self._head_due or self._follower.head.size > before.size

    def _run(self, ticket: _Ticket, finished: list[tuple[_Ticket, object]]) -> None:
        follower = self._follower
        reading = read_clock(self._outside.clock(), follower.head)
        pen = Pen(self._keychain.signing(follower.head), self._outside.entropy)
        transaction = Transaction(self._connection, follower.state, follower.head, reading, pen)
        self._connection.execute("SAVEPOINT job")
        try:
            result = ticket.job(transaction)
            transaction.end()
            follower.advance(transaction.appended, transaction.head)
        except (LedgerUnavailable, LedgerBroken, sqlite3.Error):
            raise  # the whole batch fails: the disk or the ledger is the problem, not this job
        except Exception as error:  # noqa: BLE001 - the job's own failure goes back to its caller, whatever it is
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            follower.catch_up()  # from disk, if the fold had begun to take what is gone now
            ticket.fail(error)
            return
        self._connection.execute("RELEASE job")
        finished.append((ticket, result))

    def _snapshot(self, *, due: bool) -> None:
        head = self._follower.head
        if head.size >= self._snapshot_at:
            self._snapshot_at = next_snapshot(self._connection, head.size, helped=self._follower.helped)
        if due or head.size >= self._snapshot_at:
            write_snapshot(self._connection, head, self._follower.state, self._keychain.signing(head))
            self._follower.helped = True

    def _fold_wal(self) -> None:
        """Copy a long WAL into the file, so that the next commit writes it from its beginning again.

        It keeps its length, for overwriting a file costs fdatasync half of what making it longer does; only one that
        outgrew itself is truncated. It grows when it was written to its end: that is when there is much to copy.
        """
        with suppress(OSError, sqlite3.Error):
            size = self._wal.stat().st_size
            if size <= WAL_LIMIT or size == self._wal_size:
                return
            self._wal_size = size
            # Under the lock, so that no writer commits meanwhile. A reader may keep it from finishing: then the
            # next batch tries again, for nobody waits for readers with the lock held.
            self._connection.execute("PRAGMA busy_timeout = 0")
            self._connection.execute(_TRUNCATE if size > 2 * WAL_LIMIT else _COPY).fetchone()
            self._connection.execute(BUSY_TIMEOUT)


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


def _fail(batch: list[_Ticket], error: LedgerError) -> None:
    for ticket in batch:
        ticket.fail(error)


def _finish(finished: list[tuple[_Ticket, object]]) -> None:
    for ticket, result in finished:
        ticket.finish(result)


def read_verifier(place: Place) -> str:
    """Return the verifier string this home pins."""
    try:
        return (place.keys / VERIFIER).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerUnavailable(f"{place.keys / VERIFIER}: {error}; make a home with `keyturn init`") from error
