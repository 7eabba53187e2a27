"""Durable appends of the ledger, and the commits of SQLite that they are held against."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import anyio

from keyturn.canon import Json
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ledger
from keyturn.log.entry import Entry

BODY = b"x" * 600


class Nothing:
    """A fold that keeps nothing: what is measured is the ledger."""

    version = 1

    @classmethod
    def empty(cls) -> Self:
        return cls()

    @classmethod
    def from_json(cls, value: Json) -> Self:
        return cls()

    def to_json(self) -> Json:
        return {}

    def apply(self, entry: Entry) -> None:
        """Take any entry."""

    def standing(self) -> Json:
        return {}

    @classmethod
    def standing_of(cls, entries: Iterable[Entry], size: int) -> Json:
        return {}


def raw_commits(path: Path) -> Callable[[], object]:
    """Return what commits one row of 600 bytes: SQLite's own connection, WAL, synchronous FULL."""
    raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute("CREATE TABLE IF NOT EXISTS entry (seq INTEGER PRIMARY KEY, body BLOB)")
    return lambda: raw.execute("INSERT INTO entry (body) VALUES (?)", (BODY,))


def door(ledger: Ledger[Nothing], count: int, callers: int) -> float:
    """Return the appends per second of so many tasks of one event loop, each waiting for its own."""
    return anyio.run(_through_the_door, ledger, count, callers)


async def _through_the_door(ledger: Ledger[Nothing], count: int, callers: int) -> float:
    each = -(-count // callers)

    async def work() -> None:
        for _ in range(each):
            await on_ledger(ledger.transact, append)

    begin = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(work)
    return callers * each / (time.perf_counter() - begin)


def threads(ledger: Ledger[Nothing], count: int) -> float:
    """Return the appends per second of 256 threads."""
    with ThreadPoolExecutor(256) as pool:
        begin = time.perf_counter()
        list(pool.map(lambda _: ledger.transact(append), range(count)))
        return count / (time.perf_counter() - begin)


def append(tx: Transaction[Nothing]) -> None:
    """Append one entry with one payload."""
    facts: dict[str, Json] = {
        "principal": "claude",
        "count": 1,
        "code": "limit",
        "since": "2026-11-21T09:00:00.000000Z",
        "until": "2026-11-21T09:00:01.000000Z",
    }
    tx.append("requests.throttled", facts, data={"note": b'"one payload"'})
