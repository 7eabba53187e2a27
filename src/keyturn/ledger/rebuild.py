"""Rebuilding what is derived from the entries: the `lookup` table."""

from __future__ import annotations

from contextlib import closing

import sqlite_utils

from keyturn.ledger.errors import sqlite_errors
from keyturn.ledger.lock import held
from keyturn.ledger.place import Place
from keyturn.ledger.rows import read_entries
from keyturn.ledger.schema import open_writer
from keyturn.ledger.transaction import lookup_row

_COLUMNS = ("seq", "kind", "action", "principal", "tool", "ts")


def rebuild_lookup(place: Place, program: str) -> int:
    """Make the derived table again from the entries, in one transaction; return how many rows it has.

    The ledger lock is held, so sqlite-utils' deferred transaction meets no other writer.
    """
    with (
        held(place.lock, program),
        sqlite_errors("rebuild lookup"),
        closing(open_writer(place.database)) as connection,
    ):
        database = sqlite_utils.Database(connection)
        with database.atomic():
            database.execute("DELETE FROM lookup")
            rows = (dict(zip(_COLUMNS, lookup_row(entry), strict=True)) for entry in read_entries(connection, 0))
            database.table("lookup").insert_all(rows)
        count: int = database.table("lookup").count
        return count
