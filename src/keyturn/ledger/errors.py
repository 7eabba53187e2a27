"""What can go wrong with the ledger, split by whether trying again can help."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from keyturn.model.errors import LedgerError


class LedgerUnavailable(LedgerError):
    """Nothing was written and nothing is wrong with what is there: a full or read-only disk, a held lock.

    The call that met it fails; a later one may succeed.
    """


class LedgerBroken(LedgerError):
    """What is on disk is not the ledger this process followed: edited, cut, forked or of another log.

    Every later call of the process fails with it. `keyturn audit verify` names the entry.
    """


@contextmanager
def sqlite_errors(doing: str) -> Iterator[None]:
    """Turn SQLite's errors into the two kinds, saying what was being done."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise LedgerBroken(f"{doing}: {error}; check with `keyturn audit verify`") from error
        raise LedgerUnavailable(f"{doing}: {error} ({name}); nothing was recorded, so nothing was done") from error
