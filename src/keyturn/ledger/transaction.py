"""What a job sees inside the one transaction: the state to decide on, and appending what it decided."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from keyturn.canon import Json
from keyturn.ledger.clock import Reading
from keyturn.ledger.erasing import delete_payload, prunable, prune_payloads, salt_of
from keyturn.ledger.errors import sqlite_errors
from keyturn.ledger.keys import SigningKey
from keyturn.ledger.rows import environment_of, read_entries, read_entry_at, read_opening, read_payload
from keyturn.ledger.tree import Forest
from keyturn.log.chain import ChainError, Head, follow
from keyturn.log.commitment import SALT_BYTES, commit
from keyturn.log.entry import VERSION, Entry, write_entry
from keyturn.log.fold import Fold
from keyturn.log.keys import VerifyKey
from keyturn.log.kinds import REQUESTS
from keyturn.model.errors import LedgerError
from keyturn.model.time import format_timestamp

F = TypeVar("F", bound=Fold)

_ENTRY = "INSERT INTO entry (seq, body, sig, leaf) VALUES (?, ?, ?, ?)"
_CHECKPOINT = "INSERT OR IGNORE INTO checkpoint (size, note) VALUES (?, ?)"
_NEWEST_CHECKPOINT = "SELECT note FROM checkpoint WHERE size <= ? ORDER BY size DESC LIMIT 1"
_PAYLOAD = "INSERT INTO payload (seq, field, salt, data) VALUES (?, ?, ?, ?)"
# A row that somebody put there before its entry existed is worth nothing: it must not stop an append either.
_LOOKUP = "INSERT OR REPLACE INTO lookup (seq, kind, action, principal, tool, ts) VALUES (?, ?, ?, ?, ?, ?)"

_BEGINNINGS = REQUESTS | {"action.denied"}


class Signs(Protocol):
    """A key that signs entries, wherever its private half is."""

    @property
    def public(self) -> VerifyKey:
        """Its public half."""
        ...

    @property
    def sign(self) -> Callable[[bytes], bytes]:
        """What returns its 64-byte Ed25519 signature over a message."""
        ...


@dataclass(frozen=True, slots=True)
class Pen:
    """What appending takes beside the facts: the entry key and entropy for salts."""

    key: SigningKey
    entropy: Callable[[int], bytes]


class View(Generic[F]):
    """A consistent look at the ledger: the fold, and entries and payloads checked as they are read."""

    def __init__(self, connection: sqlite3.Connection, state: F, head: Head, reading: Reading) -> None:
        self._connection = connection
        self.state = state
        self.head = head
        self.reading = reading

    @property
    def now(self) -> datetime:
        """The time decisions use: the later of wall clock and last entry."""
        return self.reading.now

    @property
    def tree(self) -> Forest:
        """The tree over the entries, for roots and proofs."""
        return Forest(self._connection)

    def checkpoint(self, most: int | None = None) -> bytes | None:
        """Return the newest checkpoint of at most `most` entries, a signed note; None when there is none."""
        row = self._connection.execute(_NEWEST_CHECKPOINT, (self.head.size if most is None else most,)).fetchone()
        return None if row is None else row[0]

    def entry(self, seq: int) -> Entry:
        """Return the entry at `seq`."""
        return read_entry_at(self._connection, seq)

    def payload(self, entry: Entry, field: str) -> bytes | None:
        """Return a payload of `entry` that opens its commitment; None when it has no such field, or an erased one."""
        return read_payload(self._connection, entry, field)

    def opening(self, entry: Entry, field: str) -> tuple[bytes, bytes] | None:
        """Return (salt, payload) that open a commitment of `entry`, as `payload`: for taking it elsewhere."""
        return read_opening(self._connection, entry, field)

    def erased(self, entry: Entry, field: str) -> bool:
        """Tell whether a payload that the entry committed to was erased."""
        return field in entry.data and read_opening(self._connection, entry, field) is None

    def environment(self, entry: Entry) -> str | None:
        """Return the environment that an entry belongs to: its own, or that of its action's request; else None."""
        return environment_of(self._connection, entry)

    def prunable(self, before: int) -> list[int]:
        """Return the entries below `before` that have payloads which may be pruned, in order."""
        return prunable(self._connection, before)

    def salt(self, seq: int) -> bytes | None:
        """Return the salt of a payload of this entry that may be pruned; None when it has none any more."""
        return salt_of(self._connection, seq)

    def history(self, action: str) -> list[Entry]:
        """Return the entries of an action in order, found by the derived table: for showing, not for deciding."""
        return [entry for entry in self._found("action = ? ORDER BY seq", action) if entry.action == action]

    def matching(self, suffix: str, limit: int = 10) -> list[str]:
        """Return ids of actions that end with `suffix`, newest first (derived table: for showing)."""
        rows = self._connection.execute(
            "SELECT DISTINCT action FROM lookup WHERE action IS NOT NULL AND substr(action, ?) = ? "
            "ORDER BY action DESC LIMIT ?",
            (-len(suffix), suffix, limit),
        )
        return [action for (action,) in rows]

    def requests(self, *, principal: str | None = None, limit: int = 100) -> list[Entry]:
        """Return the newest entries that actions and refused calls begin with, newest first (for showing)."""
        condition = (
            "kind IN ('action.requested', 'action.undoing', 'action.denied') "
            "AND (?1 IS NULL OR principal = ?1) ORDER BY seq DESC LIMIT ?2"
        )
        return [
            entry
            for entry in self._found(condition, principal, limit)
            if entry.kind in _BEGINNINGS and principal in {None, entry.facts["principal"]}
        ]

    def newest(self, kind: str, limit: int = 100) -> list[Entry]:
        """Return the newest entries of a kind, newest first (derived table: for showing)."""
        found = self._found("kind = ? ORDER BY seq DESC LIMIT ?", kind, limit)
        return [entry for entry in found if entry.kind == kind]

    def newest_of(self, principal: str) -> Entry | None:
        """Return the newest entry about a principal (for receipts of results that write nothing)."""
        found = self._found("principal = ? ORDER BY seq DESC", principal)
        return next((entry for entry in found if entry.facts.get("principal") == principal), None)

    def entries(self, first: int, end: int = 2**53) -> list[Entry]:
        """Return the entries of [first, end)."""
        return list(read_entries(self._connection, first, end))

    def _found(self, condition: str, *values: object) -> Iterator[Entry]:
        # The derived table only says where to look: rows that name no entry are passed over, and callers hold what
        # they get against the entry itself.
        sql = f"SELECT seq FROM lookup JOIN entry USING (seq) WHERE {condition}"  # noqa: S608 - written above
        rows = self._connection.execute(sql, values)
        return (self.entry(seq) for (seq,) in rows)


class Transaction(View[F]):
    """A view that can append. Entries appended by a job reach the fold once the job has returned."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        state: F,
        head: Head,
        reading: Reading,
        pen: Pen,
    ) -> None:
        super().__init__(connection, state, head, reading)
        self._pen = pen
        self._stopped: LedgerError | None = None
        self.appended: list[Entry] = []

    def end(self) -> None:
        """Take no more entries. Raises the error of an append that failed, whatever the job made of it."""
        if self._stopped is not None:
            raise self._stopped
        self._stopped = LedgerError("the job is over; entries are appended inside it")

    def append(
        self,
        kind: str,
        facts: Mapping[str, Json],
        *,
        action: str | None = None,
        data: Mapping[str, bytes] | None = None,
        salts: Mapping[str, bytes] | None = None,
        key: Signs | None = None,
    ) -> Entry:
        """Sign and insert one entry with its payloads; durable when the batch commits.

        `salts` gives the salt of a payload whose commitment somebody has signed already; others are fresh.
        Raises `EntryError` when a fact is not as the kind defines, `LedgerError` when SQLite cannot take it.
        """
        if self._stopped is not None:
            raise self._stopped
        given = salts or {}
        payloads = {
            field: (given.get(field) or self._pen.entropy(SALT_BYTES), value) for field, value in (data or {}).items()
        }
        commitments = {field: commit(salt, field, value) for field, (salt, value) in payloads.items()}
        entry, head = self._sign(kind, facts, commitments, action, key or self._pen.key)
        try:
            with sqlite_errors("append"):
                self._insert(entry, payloads)
        except LedgerError as error:
            self._stopped = error  # half an entry may be there: a job that goes on must not be committed
            raise
        self.appended.append(entry)
        self.head = head
        return entry

    def erase(self, entry: Entry, field: str) -> None:
        """Delete a payload of `entry` with its salt; the job appends the `payload.erased` entry that says so.

        Whoever commits this sweeps the files afterwards. Raises `LedgerError` when there is no such payload.
        """
        with sqlite_errors("erase a payload"):
            count = delete_payload(self._connection, entry.seq, field)
        if count != 1:
            raise LedgerError(f"entry {entry.seq} has no payload {field} that could be erased")

    def prune(self, places: Iterable[int]) -> int:
        """Delete the payloads of these entries, as `erase`; the job appends the `payloads.pruned` entry that says so.

        Returns how many there were.
        """
        with sqlite_errors("prune payloads"):
            return prune_payloads(self._connection, places)

    def keep_checkpoint(self, size: int, note: bytes) -> None:
        """Keep a signed checkpoint of the first `size` entries. The first one of a size stays."""
        with sqlite_errors("keep a checkpoint"):
            self._connection.execute(_CHECKPOINT, (size, note))

    def _sign(
        self,
        kind: str,
        facts: Mapping[str, Json],
        commitments: Mapping[str, str],
        action: str | None,
        key: Signs,
    ) -> tuple[Entry, Head]:
        moment = self.reading.moment
        origin = self.head.verifier.origin if self.head.verifier else str(facts["verifier"]).split("+", 1)[0]
        frame: dict[str, Json] = {
            "v": VERSION,
            "log": origin,
            "seq": self.head.size,
            "prev": self.head.leaf,
            "ts": format_timestamp(self.now),
            "boot": moment.boot,
            "up": moment.up,
            "kid": key.public.kid,
            "kind": kind,
        }
        entry = write_entry(frame, facts, commitments, action, key.sign)
        try:
            return entry, follow(self.head, entry, signed=False)
        except ChainError as error:
            raise LedgerError(f"this process may not append: {error}") from error

    def _insert(self, entry: Entry, payloads: Mapping[str, tuple[bytes, bytes]]) -> None:
        execute = self._connection.execute
        execute(_ENTRY, (entry.seq, entry.body, entry.signature, bytes.fromhex(entry.leaf)))
        rows = ((entry.seq, field, salt, value) for field, (salt, value) in payloads.items())
        self._connection.executemany(_PAYLOAD, rows)
        execute(_LOOKUP, lookup_row(entry))
        self.tree.grow(entry.seq + 1)


def lookup_row(entry: Entry) -> tuple[int, str, str | None, str | None, str | None, str]:
    """Return the derived `lookup` row of an entry."""
    principal, tool = entry.facts.get("principal"), entry.facts.get("tool")
    return (
        entry.seq,
        entry.kind,
        entry.action,
        principal if isinstance(principal, str) else None,
        tool if isinstance(tool, str) else None,
        format_timestamp(entry.at),
    )
