"""Following a ledger: the head and the fold of one process, caught up with what others appended.

A gap, a shorter log, or another leaf at a known seq stops the process.
"""

from __future__ import annotations

import sqlite3
from typing import Generic, TypeVar

from keyturn.ledger.errors import LedgerBroken
from keyturn.ledger.head import HeadRecord, read_head
from keyturn.ledger.place import Place
from keyturn.ledger.rows import check_links, read_entries, read_entry_at
from keyturn.ledger.snapshot import newest_snapshot
from keyturn.log.chain import ChainError, Head, follow, verify_signature
from keyturn.log.entry import Entry
from keyturn.log.fold import Fold, FoldError
from keyturn.log.kinds import ADDS_AUTHORITY
from keyturn.model.errors import LedgerError

F = TypeVar("F", bound=Fold)

TAIL = 10_000  # newest entries whose hashes are recomputed whenever somebody wrote something else than entries
GENESIS = 2  # log.opened and the first key.added: read and verified at every start


class Follower(Generic[F]):
    """Head and state over one connection. Not thread-safe: its owner holds a lock."""

    def __init__(self, connection: sqlite3.Connection, place: Place, verifier: str, kind: type[F]) -> None:
        self._connection = connection
        self._place = place
        self._verifier = verifier
        self._kind = kind
        self._version = -1
        self._loaded = False
        self.head = Head()
        self.state: F = kind.empty()
        self.snapshot_size = 0

    def reset(self) -> None:
        """Forget everything: the next catch-up starts from disk. A fold is rebuilt, never patched."""
        self._loaded = False

    def catch_up(self) -> None:
        """Bring head and state up to the newest entry; inside a transaction of the caller.

        Raises `LedgerBroken` when what is there is not what this process followed.
        """
        try:
            self._catch_up()
        except BaseException:
            # Half followed is not followed: the fold may hold entries that no signature vouches for yet.
            self.reset()
            raise

    def _catch_up(self) -> None:
        if not self._loaded:
            self._start()
        before = self.head.size
        self._check_known_head()
        self._follow_new()
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version and self.head.size == before:
            # Somebody else committed, yet appended nothing: look for edits of what is there.
            check_links(self._connection, max(0, before - TAIL), TAIL)
        self._version = version

    def advance(self, entries: list[Entry], head: Head) -> None:
        """Take entries this process has just inserted itself.

        Raises `LedgerError` when the fold refuses one: whoever appended it must roll it back and catch up again.
        """
        try:
            for entry in entries:
                self.state.apply(entry)
        except BaseException as error:
            self.reset()
            if isinstance(error, FoldError):
                raise LedgerError(f"refused to append: {error}") from error
            raise
        self.head = head

    def _start(self) -> None:
        # Read before SQLite takes its view of the file: an entry committed in between may not look like one that is
        # gone.
        record = read_head(self._place.head)
        self.head, self.state, self.snapshot_size = Head(), self._kind.empty(), 0
        genesis = self._genesis()
        found = newest_snapshot(self._connection, genesis, self._kind)
        if found is not None:
            self.head, self.state = found
            self.snapshot_size = self.head.size
        if record is not None:
            self._expect(record)
        self._follow_new()
        check_links(self._connection, max(0, self.head.size - TAIL), TAIL)
        self._version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        self._loaded = True

    def _genesis(self) -> Head:
        head = Head()
        try:
            for seq in range(GENESIS):
                head = follow(head, read_entry_at(self._connection, seq))
        except ChainError as error:
            raise LedgerBroken(f"{error}; check with `keyturn audit verify`") from error
        if str(head.verifier) != self._verifier:
            raise LedgerBroken(f"this is another log than the one this home pins ({self._verifier})")
        return head

    def _check_known_head(self) -> None:
        self._expect(HeadRecord(self.head.size, self.head.leaf))

    def _expect(self, record: HeadRecord) -> None:
        row = self._connection.execute("SELECT leaf FROM entry WHERE seq = ?", (record.size - 1,)).fetchone()
        if row is None:
            raise LedgerBroken(f"the ledger went backwards: entry {record.size - 1} was durable and is gone")
        if row[0].hex() != record.leaf:
            raise LedgerBroken(f"the ledger was rewritten: entry {record.size - 1} is another one now")

    def _follow_new(self) -> None:
        last = None
        try:
            for entry in read_entries(self._connection, self.head.size):
                self.head = follow(self.head, entry, signed=entry.kind in ADDS_AUTHORITY)
                self.state.apply(entry)
                last = entry
            if last is not None:
                verify_signature(self.head, last)
        except (ChainError, FoldError) as error:
            raise LedgerBroken(f"{error}; check with `keyturn audit verify`") from error
