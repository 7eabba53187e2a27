"""What can go wrong with the ledger, split by whether trying again can help."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from keyturn.model.errors import LedgerError

_ADVICE = {
    "SQLITE_FULL": "free some disk space; nothing is done without the ledger",
    "SQLITE_READONLY": "make the folder and its files writable for this account",
    "SQLITE_CANTOPEN": "the file must exist, and this account must be able to read and write it and its folder",
    "SQLITE_PERM": "make the folder and its files readable and writable for this account",
    "SQLITE_BUSY": "another program keeps the database locked; close it and try again",
    "SQLITE_IOERR": "look for disk errors or a full disk (dmesg, df)",
}


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
    """Turn SQLite's errors into the two kinds, saying what was being done and what mends it."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        # Our statements name only our own tables: one that is not there was taken away.
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or str(error).startswith("no such "):
            raise LedgerBroken(f"{doing}: {error}; check with `keyturn audit verify`") from error
        advice = next((text for prefix, text in _ADVICE.items() if name.startswith(prefix)), "try again")
        raise LedgerUnavailable(f"{doing}: {error} ({name}); {advice}") from error
