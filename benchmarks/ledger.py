"""Durable appends and signature checks of the ledger, as ratios against their raw counterparts in the same run.

Run: `uv run python benchmarks/ledger.py`. Durability: WAL with synchronous=FULL on both sides, so every commit waits
for fdatasync. The figures are medians of rounds that alternate between the two sides, because machines are noisy.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyturn.assembly.outside import entropy, surroundings
from keyturn.canon import Json
from keyturn.ledger.founding import found
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ledger
from keyturn.log.chain import Head, follow
from keyturn.log.entry import Entry, read_entry

ROUNDS = 5
APPENDS = 300
CHECKS = 400


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


def main() -> None:
    """Measure and print one table."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        outside = surroundings("benchmark")
        ledger = Ledger(found(folder / "state", "bench", Nothing, outside, lambda tx: None).place, Nothing, outside)
        raw = sqlite3.connect(folder / "raw.db", isolation_level=None)
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("CREATE TABLE entry (seq INTEGER PRIMARY KEY, body BLOB)")
        ours, theirs = alternate(
            lambda: rate(APPENDS, lambda: ledger.transact(append)), lambda: rate(APPENDS, one(raw))
        )
        entries = ledger.look(lambda view: view.entries(0))
        ledger.close()
    show("durable append with one payload", ours, "one-row commit", theirs)
    ours, theirs = alternate(lambda: verified(entries), raw_checks)
    show("parse, link and verify an entry", ours, "Ed25519 verify", theirs)


def show(name: str, ours: float, raw: str, theirs: float) -> None:
    print(f"{name:34} {ours:>8,.0f}/s   raw {raw:16} {theirs:>8,.0f}/s   ratio {ours / theirs:.2f}")


def append(tx: Transaction[Nothing]) -> None:
    facts: dict[str, Json] = {
        "principal": "claude",
        "count": 1,
        "code": "limit",
        "since": "2026-11-21T09:00:00.000000Z",
        "until": "2026-11-21T09:00:01.000000Z",
    }
    tx.append("requests.throttled", facts, data={"note": b'"one payload"'})


def one(raw: sqlite3.Connection) -> Callable[[], object]:
    return lambda: raw.execute("INSERT INTO entry (body) VALUES (?)", (b"x" * 600,))


def rate(count: int, work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        work()
    return count / (time.perf_counter() - begin)


def verified(entries: list[Entry]) -> float:
    begin, head = time.perf_counter(), Head()
    for entry in entries:
        head = follow(head, read_entry(entry.body, entry.signature))
    return len(entries) / (time.perf_counter() - begin)


def raw_checks() -> float:
    key = Ed25519PrivateKey.from_private_bytes(entropy(32))
    message = entropy(700)
    signature, public = key.sign(message), key.public_key()
    return rate(CHECKS, lambda: public.verify(signature, message))


def alternate(ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, float]:
    pairs = [(ours(), theirs()) for _ in range(ROUNDS)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


if __name__ == "__main__":
    main()
