"""What the schema of a ledger file is, stated apart from the code that makes one.

Compared as exact text with what SQLite keeps: a view in place of a table, a changed CHECK, a table that is not
STRICT, an extra trigger or a missing one are all another text or another row.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from keyturn.verifier.proofs import NotProved

APPLICATION_ID: Final = 0x4B545231
USER_VERSION: Final = 2

_ENTRY = """CREATE TABLE entry (
  seq INTEGER PRIMARY KEY CHECK (seq >= 0),
  body BLOB NOT NULL,
  sig BLOB NOT NULL CHECK (length(sig) = 64),
  leaf BLOB NOT NULL CHECK (length(leaf) = 32)
) STRICT"""
_PAYLOAD = """CREATE TABLE payload (
  seq INTEGER NOT NULL REFERENCES entry (seq),
  field TEXT NOT NULL,
  salt BLOB NOT NULL CHECK (length(salt) = 32),
  data BLOB NOT NULL,
  PRIMARY KEY (seq, field)
) STRICT, WITHOUT ROWID"""
_SNAPSHOT = """CREATE TABLE snapshot (
  seq INTEGER PRIMARY KEY,
  body BLOB NOT NULL,
  sig BLOB NOT NULL CHECK (length(sig) = 64)
) STRICT"""
_LOOKUP = """CREATE TABLE lookup (
  seq INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  action TEXT,
  principal TEXT,
  tool TEXT,
  ts TEXT NOT NULL
) STRICT"""
_SUBTREE = """CREATE TABLE subtree (
  level INTEGER NOT NULL CHECK (level > 0),
  idx INTEGER NOT NULL CHECK (idx >= 0),
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID"""
_CHECKPOINT = """CREATE TABLE checkpoint (
  size INTEGER PRIMARY KEY CHECK (size > 0),
  note BLOB NOT NULL
) STRICT"""
_FOLLOWS = """CREATE TRIGGER entry_follows BEFORE INSERT ON entry
WHEN NEW.seq <> (SELECT coalesce(max(seq) + 1, 0) FROM entry)
BEGIN SELECT raise(ABORT, 'an entry follows the last one'); END"""


def _seat_belt(table: str, name: str, event: str, message: str) -> tuple[str, str, str, str]:
    sql = f"CREATE TRIGGER {table}_{name} BEFORE {event} ON {table}\nBEGIN SELECT raise(ABORT, '{message}'); END"
    return ("trigger", f"{table}_{name}", table, sql)


def _index(name: str, rest: str) -> tuple[str, str, str, str]:
    return ("index", f"lookup_{name}", "lookup", f"CREATE INDEX lookup_{name} ON lookup {rest}")


EXPECTED: Final = frozenset(
    {
        ("table", "entry", "entry", _ENTRY),
        ("table", "payload", "payload", _PAYLOAD),
        ("table", "snapshot", "snapshot", _SNAPSHOT),
        ("table", "lookup", "lookup", _LOOKUP),
        ("table", "subtree", "subtree", _SUBTREE),
        ("table", "checkpoint", "checkpoint", _CHECKPOINT),
        _index("action", "(action, seq) WHERE action IS NOT NULL"),
        _index("principal", "(principal, seq) WHERE principal IS NOT NULL"),
        _index("kind", "(kind, seq)"),
        ("trigger", "entry_follows", "entry", _FOLLOWS),
        _seat_belt("entry", "stays", "UPDATE", "entries are never changed"),
        _seat_belt("entry", "remains", "DELETE", "entries are never removed"),
        _seat_belt("payload", "stays", "UPDATE", "payloads are never changed"),
        _seat_belt("payload", "remains", "DELETE", "payloads are never removed"),
        _seat_belt("checkpoint", "stays", "UPDATE", "checkpoints are never changed"),
        _seat_belt("checkpoint", "remains", "DELETE", "checkpoints are never removed"),
    }
)
"""Every row of `sqlite_schema` as (type, name, table, SQL), and no other."""


def check_schema(connection: sqlite3.Connection) -> None:
    """Proof 8: the file calls itself a Keyturn ledger and has exactly its schema. Raises `NotProved`."""
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    if found != APPLICATION_ID:
        raise NotProved(None, 8, f"it is not a Keyturn ledger: its application id is {found:#x}")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != USER_VERSION:
        raise NotProved(None, 8, f"its layout is {version}; this verifier knows {USER_VERSION}")
    missing = set(EXPECTED)
    # One row after the other: a hostile file may have millions, and the first wrong one is enough.
    for row in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
        if row not in missing:
            raise NotProved(None, 8, f"the {row[0]} {row[1]!r} is not part of a ledger, or not as it must be")
        missing.discard(row)
    if missing:
        kind, name, _, _ = min(missing)
        raise NotProved(None, 8, f"the {kind} {name!r} is missing")
