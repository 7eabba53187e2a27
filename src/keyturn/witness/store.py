"""What a witness remembers: the latest checkpoint it cosigned of every log, in one SQLite file.

Checking and recording are one transaction with the write lock taken first: of two submissions that race, the second
meets what the first recorded. A cosignature is given out only once the checkpoint is on the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeVar

from keyturn.log.checkpoint import Checkpoint, parse_checkpoint
from keyturn.log.note import NoteError
from keyturn.model.errors import ConfigurationError, LedgerError

R = TypeVar("R")

APPLICATION_ID = 0x4B545731  # "KTW1"
USER_VERSION = 1
PATIENCE = 5.0  # seconds that a submission waits for the one before it
_TABLE = """CREATE TABLE seen (
  origin TEXT PRIMARY KEY,
  size INTEGER NOT NULL CHECK (size >= 0),
  text TEXT NOT NULL
) STRICT, WITHOUT ROWID"""
_CONNECTION = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA synchronous = EXTRA",  # COMMIT returns once the file, and the removal of its journal, are on the disk
    f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}",
)
_GET = "SELECT text FROM seen WHERE origin = ?"
_ALL = "SELECT text FROM seen ORDER BY origin"
_PUT = "INSERT INTO seen (origin, size, text) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET size = ?2, text = ?3"


def create_store(path: Path) -> None:
    """Make a witness's memory. Raises `ConfigurationError` when there is one: two would contradict each other."""
    try:
        path.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; a witness's memory is made once") from error
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {USER_VERSION}; {_TABLE};"
        )


class Store:
    """The memory of one witness, made before: one that is lost must never be made anew under the same key."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(self._open()) as connection:
            _check(connection, path)

    def update(self, origin: str, judge: Callable[[Checkpoint | None], tuple[R, Checkpoint | None]]) -> R:
        """Have `judge` look at the latest checkpoint of a log and say what takes its place (None: nothing does).

        Returns what else it says, once the disk has it. Raises `LedgerError` when that is not sure.
        """
        try:
            with closing(self._open()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                row = connection.execute(_GET, (origin,)).fetchone()
                answer, new = judge(None if row is None else _remembered(row[0], self._path))
                if new is not None:
                    connection.execute(_PUT, (origin, new.size, new.text))
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise LedgerError(f"{self._path}: {error}; nothing is cosigned") from error
        return answer

    def latest(self) -> list[Checkpoint]:
        """Return the latest checkpoint of every log, by origin."""
        try:
            with closing(self._open()) as connection:
                return [_remembered(text, self._path) for (text,) in connection.execute(_ALL)]
        except sqlite3.Error as error:
            raise LedgerError(f"{self._path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        # mode=rw makes no file where there is none.
        uri = f"{self._path.resolve().as_uri()}?mode=rw"
        try:
            with ExitStack() as cleanup:
                connection = cleanup.enter_context(closing(sqlite3.connect(uri, uri=True, isolation_level=None)))
                for statement in _CONNECTION:
                    connection.execute(statement)
                cleanup.pop_all()
        except sqlite3.Error as error:
            lost = (
                ""
                if self._path.exists()
                else "; a witness whose memory is lost is retired with its key: make another"
            )
            raise LedgerError(f"{self._path}: {error}; nothing is cosigned{lost}") from error
        return connection


def _remembered(text: str, path: Path) -> Checkpoint:
    try:
        return parse_checkpoint(text)
    except NoteError as error:
        raise LedgerError(f"{path}: what is remembered is no checkpoint: {error}") from error


def _check(connection: sqlite3.Connection, path: Path) -> None:
    try:
        found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        tables = connection.execute("SELECT sql FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: {error}") from error
    if found != [APPLICATION_ID, USER_VERSION] or tables != [(_TABLE,)]:
        raise LedgerError(f"{path} is not the memory of a witness")
