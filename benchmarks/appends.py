"""Durable appends of the ledger, and proving what it holds, against their raw counterparts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import anyio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.homes import folder
from benchmarks.measure import Effort, Row, Topic, alternate, rate
from keyturn.assembly.outside import entropy, surroundings
from keyturn.canon import Json
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.founding import found
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ledger
from keyturn.log.chain import Head, follow
from keyturn.log.entry import Entry, read_entry

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


def measure(effort: Effort) -> Topic:
    with folder() as where:
        outside = surroundings("benchmark")
        ledger = Ledger(found(where / "state", "bench", Nothing, outside, lambda tx: None).place, Nothing, outside)
        rows = [_single(ledger, raw_commits(where / "raw.db"), effort), *_many(ledger, effort)]
        entries = ledger.look(lambda view: view.entries(0, 4_000))
        ledger.close()
    return Topic(
        "The ledger",
        "Both sides of the first row commit with WAL and `synchronous=FULL`, so each commit waits for fdatasync; so "
        "do all appends. Signatures and verifications are Ed25519 of the same library, one key, one process; what "
        "only computes is measured in the process's own time.",
        [*rows, *_proofs(entries, effort)],
    )


def raw_commits(path: Path) -> Callable[[], object]:
    """Return what commits one row of 600 bytes: SQLite's own connection, WAL, synchronous FULL."""
    raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute("CREATE TABLE IF NOT EXISTS entry (seq INTEGER PRIMARY KEY, body BLOB)")
    return lambda: raw.execute("INSERT INTO entry (body) VALUES (?)", (BODY,))


def _single(ledger: Ledger[Nothing], commit: Callable[[], object], effort: Effort) -> Row:
    count = effort.count(1_000)
    rate(count, lambda: ledger.transact(append))  # both WALs reach the length they keep
    rate(count, commit)
    ours, theirs = alternate(
        effort.rounds, lambda: rate(count, lambda: ledger.transact(append)), lambda: rate(count, commit)
    )
    return Row(
        what="one append: decide, sign, entry, payload, lookup row, commit",
        ours=f"{ours:,.0f}/s",
        against="one-row commit of SQLite",
        theirs=f"{theirs:,.0f}/s",
        ratio=ours / theirs,
        aim="≥ 0.28",
    )


def _many(ledger: Ledger[Nothing], effort: Effort) -> list[Row]:
    count = effort.count(5_000)
    key = Ed25519PrivateKey.from_private_bytes(entropy(32))
    door, threads, signing = alternate(
        effort.rounds,
        lambda: anyio.run(_through_the_door, ledger, count),
        lambda: _in_threads(ledger, count),
        lambda: rate(count, lambda: key.sign(BODY)),
    )
    against = {"against": "Ed25519 signatures", "theirs": f"{signing:,.0f}/s"}
    return [
        Row(
            what="appends of 256 threads", ours=f"{threads:,.0f}/s", ratio=threads / signing, aim="≥ 0.28", **against
        ),
        Row(
            what="appends of 256 tasks, through the async door",
            ours=f"{door:,.0f}/s",
            ratio=door / signing,
            aim="≥ 0.20",
            **against,
        ),
    ]


async def _through_the_door(ledger: Ledger[Nothing], count: int) -> float:
    async def work() -> None:
        for _ in range(count // 256 + 1):
            await on_ledger(ledger.transact, append)

    begin = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(256):
            tasks.start_soon(work)
    return 256 * (count // 256 + 1) / (time.perf_counter() - begin)


def _in_threads(ledger: Ledger[Nothing], count: int) -> float:
    with ThreadPoolExecutor(256) as pool:
        begin = time.perf_counter()
        list(pool.map(lambda _: ledger.transact(append), range(count)))
        return count / (time.perf_counter() - begin)


def _proofs(entries: list[Entry], effort: Effort) -> list[Row]:
    key = Ed25519PrivateKey.from_private_bytes(entropy(32))
    public, signature = key.public_key(), key.sign(BODY)
    proved, parsed, checks = alternate(
        effort.rounds,
        lambda: _followed(entries, signed=True),
        lambda: _followed(entries, signed=False),
        lambda: rate(effort.count(4_000), lambda: public.verify(signature, BODY), time.process_time),
    )
    against = {"against": "Ed25519 verifications", "theirs": f"{checks:,.0f}/s"}
    return [
        Row(
            what="verify entries: parse strictly, link, signature",
            ours=f"{proved:,.0f}/s",
            ratio=proved / checks,
            aim="≥ 0.80",
            **against,
        ),
        Row(
            what="hash entries only: parse strictly, link",
            ours=f"{parsed:,.0f}/s",
            ratio=parsed / checks,
            aim="≥ 3",
            **against,
        ),
    ]


def _followed(entries: list[Entry], *, signed: bool) -> float:
    head = Head()
    begin = time.process_time()
    for entry in entries:
        head = follow(head, read_entry(entry.body, entry.signature), signed=signed)
    return len(entries) / (time.process_time() - begin)


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
