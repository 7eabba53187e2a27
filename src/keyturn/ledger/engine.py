"""Which SQLite this program runs on."""

from __future__ import annotations

import sqlite3

WAL_RESET_MENDED = (3, 51, 3)
"""The first version without the WAL-reset bug (sqlite.org/wal.html, "The WAL-Reset Bug")."""


def engine_version() -> tuple[int, ...]:
    """Return the version of the SQLite library that is loaded."""
    return sqlite3.sqlite_version_info
