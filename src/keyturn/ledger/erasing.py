"""Erasing payloads: the row goes in the transaction that says so, and then every trace of it in the files.

SQLite writes zeros over what it deletes (`secure_delete`). That is not enough: a page that was split before keeps
old bytes in the gap between its cells, and the write-ahead log has the pages as they were. So afterwards the whole
file is written anew (`VACUUM`) and the log is cut to nothing, under the ledger lock. What stands in other files is
not ours to change: it is looked for, by the salts, and named.
"""

from __future__ import annotations

import json
import mmap
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from keyturn.ledger.copy import sync
from keyturn.ledger.errors import LedgerUnavailable, sqlite_errors
from keyturn.ledger.lock import held
from keyturn.ledger.place import Place
from keyturn.ledger.schema import open_writer
from keyturn.log.manifest import EVERYWHERE

_BELT = "payload_remains"
_BELT_TEXT = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?"
_DELETE = "DELETE FROM payload WHERE seq = ? AND field = ?"
_MAY_GO = "field NOT IN (SELECT value FROM json_each(?))"
_LEFT = f"SELECT DISTINCT seq FROM payload WHERE seq < ? AND {_MAY_GO} ORDER BY seq"  # noqa: S608 - written here
_PRUNE = f"DELETE FROM payload WHERE seq = ? AND {_MAY_GO}"  # noqa: S608 - written here
_SALT = f"SELECT salt FROM payload WHERE seq = ? AND {_MAY_GO} LIMIT 1"  # noqa: S608 - written here
_UNSWEPT = "what was erased is deleted and recorded, but its bytes may still be in the ledger's files"
_KEPT = json.dumps(sorted(EVERYWHERE))


def delete_payload(connection: sqlite3.Connection, seq: int, field: str) -> int:
    """Delete one payload with its salt, inside a transaction of the caller; return how many rows there were."""
    with _unbelted(connection):
        return connection.execute(_DELETE, (seq, field)).rowcount


def prunable(connection: sqlite3.Connection, before: int) -> list[int]:
    """Return the entries below `before` that have payloads which may be pruned."""
    return [seq for (seq,) in connection.execute(_LEFT, (before, _KEPT))]


def salt_of(connection: sqlite3.Connection, seq: int) -> bytes | None:
    """Return the salt of a payload of an entry that may be pruned: traces of its others lie where its own do."""
    row = connection.execute(_SALT, (seq, _KEPT)).fetchone()
    return None if row is None else row[0]


def prune_payloads(connection: sqlite3.Connection, places: Iterable[int]) -> int:
    """Delete the payloads of these entries with their salts, but for those that no log is read without.

    Inside a transaction of the caller; returns how many payloads there were.
    """
    with _unbelted(connection):
        return sum(connection.execute(_PRUNE, (seq, _KEPT)).rowcount for seq in places)


@contextmanager
def _unbelted(connection: sqlite3.Connection) -> Iterator[None]:
    """Take the trigger that keeps payloads away, for nobody but this transaction, and put it back to the letter."""
    text: str = connection.execute(_BELT_TEXT, (_BELT,)).fetchone()[0]
    connection.execute(f"DROP TRIGGER {_BELT}")
    yield
    connection.execute(text)


def sweep(place: Place, program: str) -> None:
    """Write the ledger file anew and cut its log, so that nothing deleted is left in them. Others wait meanwhile.

    Takes free space of twice the ledger. Raises `LedgerUnavailable` when the lock is not to be had, when there is no
    such space, or when readers keep the log from being cut: what was erased is recorded then, and may still be there.
    """
    try:
        _sweep(place, program)
    except LedgerUnavailable as error:
        raise LedgerUnavailable(f"{_UNSWEPT}; run the same command again. What kept it: {error}") from error


def _sweep(place: Place, program: str) -> None:
    with (
        held(place.lock, program),
        sqlite_errors("sweep the ledger"),
        closing(open_writer(place.database)) as connection,
    ):
        connection.execute("VACUUM")
        if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise LedgerUnavailable("readers keep the write-ahead log from being cut; end the servers first")
        sync(place.database)


def traces(folder: Path, salts: Collection[bytes]) -> list[Path]:
    """Return the files below `folder` that hold one of these salts. What cannot be read is not looked at."""
    return [path for path in _files(folder) if _holds(path, salts)]


def _files(folder: Path) -> Iterator[Path]:
    for name, _, files in os.walk(folder):
        yield from (Path(name, file) for file in sorted(files))


def _holds(path: Path, salts: Collection[bytes]) -> bool:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size == 0:
            return False
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return any(data.find(salt) >= 0 for salt in salts)
    except (OSError, ValueError):
        return False
