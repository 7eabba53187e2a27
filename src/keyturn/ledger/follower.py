"""Following a ledger: the head and the fold of one process, caught up with what others appended.

A gap, a shorter log, or another leaf at a known seq stops the process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Generic, TypeVar

from keyturn.ledger.errors import LedgerBroken
from keyturn.ledger.head import MAKE_AGAIN, RESTORE, HeadRecord, read_head
from keyturn.ledger.place import Place
from keyturn.ledger.restore import accepts_loss
from keyturn.ledger.rows import check_links, read_entries, read_entry_at
from keyturn.ledger.schema import check_schema
from keyturn.ledger.snapshot import newest_snapshot
from keyturn.log.chain import ChainError, Head, follow, verify_signature
from keyturn.log.entry import Entry
from keyturn.log.fold import Fold, FoldError
from keyturn.log.kinds import ADDS_AUTHORITY
from keyturn.model.errors import LedgerError
from keyturn.model.time import Moment

F = TypeVar("F", bound=Fold)

TAIL = 10_000  # newest entries whose hashes are recomputed when somebody else wrote
NEAR = 32  # of these, the ones that are looked at every time
TAIL_EVERY = 1_000_000  # microseconds between two looks at the whole tail while others write
GENESIS = 2  # log.opened and the first key.added: read and verified at every start

_CHECK = "check with `keyturn audit verify`"


class Follower(Generic[F]):
    """Head and state over one connection. Not thread-safe: its owner holds a lock."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        place: Place,
        verifier: str,
        kind: type[F],
        clock: Callable[[], Moment],
    ) -> None:
        self._connection = connection
        self._place = place
        self._verifier = verifier
        self._kind = kind
        self._clock = clock
        self._schema = -1
        self._version = -1
        self._tail_due = False
        self._tail_seen = 0
        self._loaded = False
        self.helped = False  # by a snapshot, when it started
        self.head = Head()
        self.state: F = kind.empty()

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
        self._check_schema()
        before = self.head.size
        self._check_known_head()
        self._follow_new()
        self._look_for_edits(before)

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
        self.head, self.state = Head(), self._kind.empty()
        if record is None:
            raise LedgerBroken(
                f"{self._place.head} is missing: nothing says whether entries were cut off at the end; {MAKE_AGAIN}"
            )
        genesis = self._genesis()
        self._expect_unless_lost(record)
        self._follow_all(genesis)
        check_links(self._connection, max(0, self.head.size - TAIL), TAIL)
        self._version, self._tail_due = self._data_version(), False
        self._loaded = True

    def _follow_all(self, genesis: Head) -> None:
        """Follow from the newest snapshot on that no key signed which has been revoked by the end."""
        distrusted: frozenset[str] = frozenset()
        while True:
            self.head, self.state = Head(), self._kind.empty()
            found = newest_snapshot(self._connection, genesis, self._kind, distrusted)
            self.helped = found is not None
            if found is not None:
                self.head, self.state = found.head, found.state
            self._follow_new()
            if found is None or found.kid not in self.head.revoked:
                return
            distrusted |= self.head.revoked.keys()

    def _check_schema(self) -> None:
        """Look at the definitions again when they moved: a trigger added meanwhile acts on this connection too."""
        version = self._connection.execute("PRAGMA schema_version").fetchone()[0]
        if version != self._schema:
            check_schema(self._connection)
            self._schema = version

    def _look_for_edits(self, before: int) -> None:
        """Recompute hashes below `before` when somebody else committed: an edit may hide behind a new entry.

        With many busy processes every call finds that others wrote. So then only the newest entries are looked at
        at once, and the whole tail once a second, at the next call that finds it due: some percent of a core. Nothing
        is decided on an edit meanwhile: what decisions read was folded before, or is held against the fold again
        (the story of an action at its claim, a payload against its commitment).
        """
        version = self._data_version()
        if version != self._version:
            self._version, self._tail_due = version, True
            check_links(self._connection, max(0, before - NEAR), NEAR)
        if not self._tail_due:
            return
        # Where others wrote nothing that could be followed, they wrote something else.
        up = self._tail_seen if self.head.size == before else self._clock().up
        if self.head.size == before or abs(up - self._tail_seen) >= TAIL_EVERY:
            check_links(self._connection, max(0, before - TAIL), TAIL)
            self._tail_due, self._tail_seen = False, up

    def _data_version(self) -> int:
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version

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
            raise LedgerBroken(
                f"the ledger went backwards: entry {record.size - 1} was durable and is gone; {_CHECK}; {RESTORE}"
            )
        if row[0].hex() != record.leaf:
            raise LedgerBroken(
                f"the ledger was rewritten: entry {record.size - 1} is another one now; {_CHECK}; {RESTORE}"
            )

    def _expect_unless_lost(self, record: HeadRecord) -> None:
        """Expect what the head record names, unless somebody signed for its loss and was cut off before the record.

        The recovery that says so lies in the entries followed next, its signature verified there.
        """
        try:
            self._expect(record)
        except LedgerBroken:
            if not accepts_loss(self._connection, record):
                raise

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
