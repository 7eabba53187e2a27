"""A consistent copy of a ledger in one file, newest entries included."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from keyturn.ledger.errors import LedgerUnavailable, sqlite_errors
from keyturn.ledger.head import HeadRecord
from keyturn.ledger.place import Place
from keyturn.ledger.schema import open_reader

_LAST = "SELECT seq, leaf FROM entry ORDER BY seq DESC LIMIT 1"


def copy_ledger(place: Place, to: Path) -> None:
    """Copy the ledger to a new file by SQLite's backup API; a bare copy of the file would miss what is in the WAL.

    The copy is on disk when this returns; one that could not be made whole is taken away again. Raises
    `FileExistsError` rather than replace a file, and `LedgerError`.
    """
    with sqlite_errors(f"copy the ledger to {to}"), closing(open_reader(place.database)) as source:
        _copy(source, to)


def copy_file(database: Path, to: Path) -> None:
    """Copy any ledger file as `copy_ledger` does, entries in a write-ahead log beside it included.

    What is in it, nobody has looked at. A file without such a log is read as it lies, on read-only media as well.
    """
    log = database.with_name(f"{database.name}-wal")
    alone = not log.exists() or log.stat().st_size == 0
    uri = f"{database.resolve().as_uri()}?{'immutable=1&' if alone else ''}mode=ro"
    with sqlite_errors(f"copy {database} to {to}"), closing(sqlite3.connect(uri, uri=True)) as source:
        _copy(source, to)


def end_of(database: Path) -> HeadRecord | None:
    """Return size and last leaf hash of a ledger file as stored, unproved; None for one without an entry."""
    with sqlite_errors(f"read {database}"), closing(open_reader(database)) as connection:
        row = connection.execute(_LAST).fetchone()
    return None if row is None else HeadRecord(row[0] + 1, row[1].hex())


def _copy(source: sqlite3.Connection, to: Path) -> None:
    try:
        os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        raise
    except OSError as error:
        raise LedgerUnavailable(f"{to}: {error.strerror}") from error
    try:
        with closing(sqlite3.connect(to, isolation_level=None)) as target:
            source.backup(target)
            # One file, no WAL beside it: it can be verified on a read-only medium.
            target.execute("PRAGMA journal_mode = DELETE")
        for path in (to, to.absolute().parent):
            sync(path)
    except BaseException:
        to.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk. Raises `LedgerUnavailable`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LedgerUnavailable(f"{path}: {error.strerror}") from error
