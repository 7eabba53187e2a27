"""Follows the chain row by row; signatures are verified on the way, or by processes of their own.

Several processes change nothing but the time it takes: what comes out, and what fails first, is the same. A row is
handed on only when its signature was found good, and while processes work on some rows others are read ahead: a
bounded number of them, so that memory does not grow with the ledger.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context

from keyturn.log.chain import Head, follow, parse, verify_signature
from keyturn.log.entry import Entry
from keyturn.log.kinds import BY_THE_LOG_KEY
from keyturn.log.signatures import Signature, first_bad_signature
from keyturn.model.errors import LedgerError
from keyturn.verifier.proofs import NotProved, proving
from keyturn.verifier.source import Row

CHUNK = 256  # rows that are verified together
CHUNK_BYTES = 1 << 20  # or fewer, where they carry much
AHEAD = 2  # chunks read ahead for each process


@dataclass(frozen=True, slots=True)
class Step:
    """One row, the entry it holds, and the head before and after it."""

    row: Row
    entry: Entry
    before: Head
    head: Head


@dataclass(slots=True)
class _Chunk:
    """Rows followed without their signatures, and what failed after them, if anything did."""

    steps: list[Step] = field(default_factory=list)
    work: list[Signature] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    weight: int = 0
    failure: NotProved | None = None

    def add(self, step: Step) -> None:
        """Take a row; entries of the log key were verified as they were followed."""
        if step.entry.kind not in BY_THE_LOG_KEY:
            raw = step.before.keys[step.entry.kid].raw
            self.work.append((raw, step.entry.body, step.entry.signature))
            self.places.append(len(self.steps))
        self.steps.append(step)
        self.weight += len(step.row.body) + sum(len(payload.data) for payload in step.row.payloads.values())

    @property
    def full(self) -> bool:
        """Whether it is time to hand it over."""
        return len(self.steps) >= CHUNK or self.weight >= CHUNK_BYTES


def follow_rows(rows: Iterator[Row], jobs: int) -> Generator[Step, None, None]:
    """Prove 1 to 5 of row after row, with `jobs` processes for the signatures if there is more than one.

    Raises `NotProved` in place of the first row that does not stand, and `LedgerError` when a process dies.
    """
    if jobs > 1:
        yield from _apart(rows, jobs)
        return
    head = Head()
    for row in rows:
        step = _step(head, row, signed=True)
        head = step.head
        yield step


def _step(head: Head, row: Row, *, signed: bool) -> Step:
    try:
        entry = parse(row.seq, row.body, row.signature)
        return Step(row, entry, head, follow(head, entry, signed=signed))
    except Exception:
        # Guarded only once something is wrong: what stands is most of a ledger.
        with proving(row.seq, 1):
            raise
        raise


def _apart(rows: Iterator[Row], jobs: int) -> Iterator[Step]:
    # Fresh processes: a forked one would hold this one's database connection. Ctrl-C is left to this process.
    ignoring = (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=signal.signal, initargs=ignoring)
    waiting: deque[tuple[_Chunk, Future[int | None]]] = deque()
    try:
        for chunk in _chunks(rows):
            waiting.append((chunk, pool.submit(first_bad_signature, chunk.work)))
            if len(waiting) > AHEAD * jobs:
                yield from _settled(*waiting.popleft())
        while waiting:
            yield from _settled(*waiting.popleft())
    except BrokenProcessPool as error:
        raise LedgerError("a process that verified signatures ended; no verdict: try again with --jobs 1") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(rows: Iterator[Row]) -> Iterator[_Chunk]:
    chunk, head = _Chunk(), Head()
    try:
        for row in rows:
            step = _step(head, row, signed=False)
            head = step.head
            chunk.add(step)
            if chunk.full:
                yield chunk
                chunk = _Chunk()
    except NotProved as failure:
        # Told when its turn comes: a signature before it may be bad.
        chunk.failure = failure.with_traceback(None)
    yield chunk


def _settled(chunk: _Chunk, verdict: Future[int | None]) -> Iterator[Step]:
    bad = verdict.result()
    good = len(chunk.steps) if bad is None else chunk.places[bad]
    yield from chunk.steps[:good]
    if bad is not None:
        step = chunk.steps[good]
        with proving(step.entry.seq, 5):
            verify_signature(step.before, step.entry)
        raise LedgerError(f"two processes disagree on the signature of entry {step.entry.seq}; no verdict")
    if chunk.failure is not None:
        raise chunk.failure
