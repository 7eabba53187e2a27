"""The tables of a ledger file, and opening connections to it.

`entry`, `payload` and `checkpoint` are the ledger; their triggers are seat belts, not security. `subtree`, `snapshot`
and `lookup` are derived: they can be dropped and rebuilt, and no decision reads `lookup`.
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path

from keyturn.ledger.errors import LedgerBroken, sqlite_errors
from keyturn.ledger.tree import plant

APPLICATION_ID = 0x4B545231  # "KTR1"
USER_VERSION = 2

_TREE = """
CREATE TABLE subtree (
  level INTEGER NOT NULL CHECK (level > 0),
  idx INTEGER NOT NULL CHECK (idx >= 0),
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoint (
  size INTEGER PRIMARY KEY CHECK (size > 0),
  note BLOB NOT NULL
) STRICT;
CREATE TRIGGER checkpoint_stays BEFORE UPDATE ON checkpoint
BEGIN SELECT raise(ABORT, 'checkpoints are never changed'); END;
CREATE TRIGGER checkpoint_remains BEFORE DELETE ON checkpoint
BEGIN SELECT raise(ABORT, 'checkpoints are never removed'); END;
"""
_ENTRIES = """
CREATE TABLE entry (
  seq INTEGER PRIMARY KEY CHECK (seq >= 0),
  body BLOB NOT NULL,
  sig BLOB NOT NULL CHECK (length(sig) = 64),
  leaf BLOB NOT NULL CHECK (length(leaf) = 32)
) STRICT;
CREATE TABLE payload (
  seq INTEGER NOT NULL REFERENCES entry (seq),
  field TEXT NOT NULL,
  salt BLOB NOT NULL CHECK (length(salt) = 32),
  data BLOB NOT NULL,
  PRIMARY KEY (seq, field)
) STRICT, WITHOUT ROWID;
CREATE TABLE snapshot (
  seq INTEGER PRIMARY KEY,
  body BLOB NOT NULL,
  sig BLOB NOT NULL CHECK (length(sig) = 64)
) STRICT;
CREATE TABLE lookup (
  seq INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  action TEXT,
  principal TEXT,
  tool TEXT,
  ts TEXT NOT NULL
) STRICT;
CREATE INDEX lookup_action ON lookup (action, seq) WHERE action IS NOT NULL;
CREATE INDEX lookup_principal ON lookup (principal, seq) WHERE principal IS NOT NULL;
CREATE INDEX lookup_kind ON lookup (kind, seq);
CREATE TRIGGER entry_follows BEFORE INSERT ON entry
WHEN NEW.seq <> (SELECT coalesce(max(seq) + 1, 0) FROM entry)
BEGIN SELECT raise(ABORT, 'an entry follows the last one'); END;
CREATE TRIGGER entry_stays BEFORE UPDATE ON entry
BEGIN SELECT raise(ABORT, 'entries are never changed'); END;
CREATE TRIGGER entry_remains BEFORE DELETE ON entry
BEGIN SELECT raise(ABORT, 'entries are never removed'); END;
CREATE TRIGGER payload_stays BEFORE UPDATE ON payload
BEGIN SELECT raise(ABORT, 'payloads are never changed'); END;
CREATE TRIGGER payload_remains BEFORE DELETE ON payload
BEGIN SELECT raise(ABORT, 'payloads are never removed'); END;
"""
TABLES = _ENTRIES + _TREE

_EVERY_CONNECTION = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA mmap_size = 0",
)
_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master"
BUSY_TIMEOUT = "PRAGMA busy_timeout = 5000"
_WRITER = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # COMMIT returns after fdatasync: an acknowledgement never precedes it
    "PRAGMA wal_autocheckpoint = 0",  # truncated under the ledger lock only
    "PRAGMA secure_delete = ON",
    BUSY_TIMEOUT,
)


def create(path: Path) -> None:
    """Make a new, empty ledger file. Refuses to touch a file that exists."""
    path.touch(mode=0o600, exist_ok=False)
    with sqlite_errors(f"create {path}"), closing(_connect(path, "rw")) as connection:
        for statement in _WRITER:
            connection.execute(statement)
        connection.executescript(
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {USER_VERSION};"
            f"BEGIN IMMEDIATE; {TABLES} COMMIT;"
        )


def open_writer(path: Path) -> sqlite3.Connection:
    """Open for writing: WAL, synchronous FULL, no automatic checkpoints. The caller holds the ledger lock.

    A file of an earlier layout is brought up to this one, in one transaction.
    """
    return _open(path, "rw", _WRITER)


def open_reader(path: Path) -> sqlite3.Connection:
    """Open read-only; `PRAGMA data_version` on it changes when anybody else writes."""
    return _open(path, "ro", ())


def check_schema(connection: sqlite3.Connection, tables: str = TABLES) -> None:
    """Hold what the file defines against what a ledger defines, to the letter. Raises `LedgerBroken`.

    A trigger more could take back an entry in the very statement that stores it.
    """
    missing = set(_expected(tables))
    for row in connection.execute(_SCHEMA):
        if row not in missing:
            raise LedgerBroken(
                f"the {row[0]} {row[1]!r} is not part of a ledger, or not as it must be; "
                "check with `keyturn audit verify`"
            )
        missing.discard(row)
    if missing:
        raise LedgerBroken(f"the {' '.join(min(missing)[:2])} is missing; check with `keyturn audit verify`")


@cache
def _expected(tables: str) -> frozenset[tuple[str, str, str, str]]:
    """Return what SQLite keeps of these definitions."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(tables)
        return frozenset(connection.execute(_SCHEMA))


def _open(path: Path, mode: str, statements: tuple[str, ...]) -> sqlite3.Connection:
    with sqlite_errors(f"open {path}"), ExitStack() as cleanup:
        connection = cleanup.enter_context(closing(_connect(path, mode)))
        layout = _layout(connection, path)
        if layout < USER_VERSION and mode == "rw":
            _upgrade(connection)
        elif layout != USER_VERSION:
            raise LedgerBroken(f"{path} has layout {layout}; this Keyturn knows {USER_VERSION}: {_mend(layout)}")
        check_schema(connection)
        for statement in statements:
            connection.execute(statement)
        cleanup.pop_all()
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0)
    for statement in _EVERY_CONNECTION:
        connection.execute(statement)
    return connection


def _layout(connection: sqlite3.Connection, path: Path) -> int:
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    if found != APPLICATION_ID:
        raise LedgerBroken(f"{path} is not a Keyturn ledger (application id {found:#x})")
    layout: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return layout


def _mend(layout: int) -> str:
    return "start a server or worker on it once" if layout == 1 else "use the version that made it"


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring layout 1, which had neither tree nor checkpoints, up to this one. Raises `LedgerBroken`."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Somebody else may have done it while this process waited for its turn.
        if connection.execute("PRAGMA user_version").fetchone()[0] == 1:
            check_schema(connection, _ENTRIES)
            for statement in _statements(_TREE):
                connection.execute(statement)
            plant(connection)
            connection.execute(f"PRAGMA user_version = {USER_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    """Return the statements of a script; `executescript` would commit before it."""
    found, text = [], ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found
