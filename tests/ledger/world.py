"""A small ledger to test with: a fold that counts uses of a limit, clocks, and hands that tamper."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from keyturn.canon import Json
from keyturn.ledger.founding import Founded, found
from keyturn.ledger.keys import ENTRY_KEY, SigningKey, load_key
from keyturn.ledger.place import Place
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ledger, Surroundings
from keyturn.log.chain import Head, follow, parse
from keyturn.log.entry import Entry, leaf_hash
from keyturn.log.envelope import ENTRY_TYPE, pae
from keyturn.log.fold import Fold, FoldError
from keyturn.model.time import Moment

DIGEST = "sha256:" + "5" * 64
EPOCH = "2026-01-01T00:00:00.000000Z"


@dataclass
class Uses:
    """How often each principal used what is limited, and how many entries went by."""

    version = 1
    entries: int = 0
    uses: dict[str, int] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> Self:
        return cls()

    @classmethod
    def from_json(cls, value: Json) -> Self:
        match value:
            case {"entries": int(entries), "uses": dict(uses)}:
                return cls(entries, dict(uses))
        raise FoldError("not a count of uses")

    def to_json(self) -> Json:
        return {"entries": self.entries, "uses": dict(self.uses)}

    def standing(self) -> Json:
        return None

    @classmethod
    def standing_of(cls, entries: Iterable[Entry], size: int) -> Json:
        return None

    def apply(self, entry: Entry) -> None:
        self.entries += 1
        if entry.kind != "requests.throttled":
            return
        if entry.text("code") == "impossible":
            raise FoldError(f"entry {entry.seq}: impossible")
        if entry.text("code") == "bug":
            raise ZeroDivisionError("a mistake in the fold")
        principal = entry.text("principal")
        self.uses[principal] = self.uses.get(principal, 0) + entry.number("count")


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    wall: datetime = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    boot: str = "b" * 32
    up: int = 1_000_000

    def __call__(self) -> Moment:
        return Moment(self.wall, self.boot, self.up)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += timedelta(seconds=seconds)
        self.up += int(seconds * 1_000_000)


def real_clock() -> Moment:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return Moment(datetime.now(UTC), boot, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000)


def surroundings(clock: Callable[[], Moment] = real_clock) -> Surroundings:
    return Surroundings(clock, os.urandom, f"tests, process {os.getpid()}")


def found_ledger(
    folder: Path, kind: type[Fold] = Uses, clock: Callable[[], Moment] = real_clock, name: str = "tests"
) -> Founded:
    return found(folder, name, kind, surroundings(clock), catalog)


@contextmanager
def opened(place: Place, clock: Callable[[], Moment] = real_clock) -> Iterator[Ledger[Uses]]:
    ledger = Ledger(place, Uses, surroundings(clock))
    try:
        yield ledger
    finally:
        ledger.close()


def catalog(tx: Transaction[Any]) -> None:
    tx.append("catalog.published", {"catalog": DIGEST, "contracts": {}})


def use(tx: Transaction[Any], principal: str = "claude", *, code: str = "limit", **data: bytes) -> Entry:
    facts: dict[str, Json] = {"principal": principal, "count": 1, "code": code, "since": EPOCH, "until": EPOCH}
    return tx.append("requests.throttled", facts, data={f"argument.{name}": value for name, value in data.items()})


def denied(tx: Transaction[Any], principal: str = "claude") -> Entry:
    facts: dict[str, Json] = {
        "principal": principal,
        "owner": None,
        "token": DIGEST,
        "transport": "stdio",
        "tool": None,
        "stage": "screen",
        "codes": [],
        "arguments_bytes": 2,
        "policy": DIGEST,
        "target": None,
        "environment": None,
    }
    return tx.append("action.denied", facts, action="0197a1b2-c3d4-7e5f-8a6b-" + f"{tx.head.size:012x}")


def used(ledger: Ledger[Uses], principal: str = "claude") -> int:
    return ledger.look(lambda view: view.state.uses.get(principal, 0))


def verified(place: Place) -> list[Entry]:
    """Prove the whole chain from genesis with every signature; return its entries."""
    head, entries = Head(), []
    with raw(place) as db:
        for seq, body, signature in db.execute("SELECT seq, body, sig FROM entry ORDER BY seq"):
            entry = parse(seq, body, signature)
            head = follow(head, entry, signed=True)
            entries.append(entry)
    return entries


@contextmanager
def raw(place: Place) -> Iterator[sqlite3.Connection]:
    """A connection that knows nothing of the ledger's rules."""
    with closing(sqlite3.connect(place.database, isolation_level=None, timeout=10)) as db:
        yield db


def tamper(place: Place, *statements: str | tuple[str, Sequence[object]]) -> None:
    """Change the file by hand, with the triggers out of the way."""
    with raw(place) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        db.execute("BEGIN IMMEDIATE")
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            sql, values = (statement, ()) if isinstance(statement, str) else statement
            assert db.execute(sql, values).rowcount > 0
        for _, sql in triggers:
            db.execute(sql)
        db.execute("COMMIT")


def body_at(place: Place, seq: int) -> bytes:
    with raw(place) as db:
        body: bytes = db.execute("SELECT body FROM entry WHERE seq = ?", (seq,)).fetchone()[0]
    return body


def forged(place: Place, body: bytes, seq: int, key: SigningKey | None = None) -> tuple[str, Sequence[object]]:
    """The statement that stores `body` at `seq` with a matching leaf, signed by `key` (default: nobody)."""
    signature = key.sign(pae(ENTRY_TYPE, body)) if key else bytes(64)
    return (
        "INSERT OR REPLACE INTO entry (seq, body, sig, leaf) VALUES (?, ?, ?, ?)",
        (seq, body, signature, bytes.fromhex(leaf_hash(body))),
    )


def entry_key(place: Place) -> SigningKey:
    return load_key(place.keys / ENTRY_KEY)
