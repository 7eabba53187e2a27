"""The end of a ledger, read as it grows, for those who count and decide nothing: no lock, no fold, short reads.

Every entry is held against the chain, and each read ends with a signature that is verified and vouches for what came
before it. What people signed, and whether they could, is for the fold.
"""

from __future__ import annotations

import sqlite3

from keyturn.ledger.errors import LedgerBroken, sqlite_errors
from keyturn.ledger.head import read_head
from keyturn.ledger.place import Place
from keyturn.ledger.rows import read_entries
from keyturn.ledger.schema import open_reader
from keyturn.log.chain import ChainError, Head, follow, verify_signature
from keyturn.log.entry import Entry


class Tail:
    """Follows a ledger from `head` on, over a connection of its own. Not thread-safe."""

    def __init__(self, place: Place, head: Head) -> None:
        self.head = head
        self._place = place
        self._connection: sqlite3.Connection = open_reader(place.database)

    def read(self, count: int) -> list[Entry]:
        """Return the next entries, at most `count`. Raises `LedgerError`; then `head` stays where it is."""
        with sqlite_errors("follow the ledger"):
            found = list(read_entries(self._connection, self.head.size, self.head.size + count))
        head = self.head
        try:
            for entry in found:
                head = follow(head, entry, signed=False)
            if found:
                verify_signature(head, found[-1])
        except ChainError as error:
            raise LedgerBroken(f"{error}; check with `keyturn audit verify`") from error
        self.head = head
        return found

    def size(self) -> int:
        """Return how many entries were durable last. Raises `LedgerError`."""
        record = read_head(self._place.head)
        return self.head.size if record is None else max(record.size, self.head.size)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
