"""A consistent copy of a ledger in one file, newest entries included."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from keyturn.ledger.errors import sqlite_errors
from keyturn.ledger.place import Place
from keyturn.ledger.schema import open_reader


def copy_ledger(place: Place, to: Path) -> None:
    """Copy the ledger to a new file by SQLite's backup API; a bare copy of the file would miss what is in the WAL.

    Raises `FileExistsError` rather than replace a file.
    """
    to.touch(mode=0o600, exist_ok=False)
    with (
        sqlite_errors(f"copy the ledger to {to}"),
        closing(open_reader(place.database)) as source,
        closing(sqlite3.connect(to, isolation_level=None)) as target,
    ):
        source.backup(target)
        # One file, no WAL beside it: it can be verified on a read-only medium.
        target.execute("PRAGMA journal_mode = DELETE")
