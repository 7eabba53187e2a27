"""Reads a ledger file as evidence: read-only, trusting nothing in it, leaving it as it lies.

A file without a write-ahead log beside it is opened as immutable: SQLite then takes no locks and makes no files, so
a copy on read-only media can be checked where it is. With a write-ahead log the newest entries are in there: then
SQLite reads both, under its usual read locks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

from keyturn.log.entry import MAX_FIELDS
from keyturn.model.errors import LedgerError
from keyturn.verifier.erased import MARKS, named_in
from keyturn.verifier.proofs import NotProved
from keyturn.verifier.schema import check_schema
from keyturn.verifier.source import Named, Payload, Row

_ENTRIES = "SELECT seq, body, sig, leaf FROM entry ORDER BY seq"
_ENTRY = "SELECT seq, body, sig, leaf FROM entry WHERE seq = ?"
_PAYLOADS = "SELECT seq, field, salt, data FROM payload ORDER BY seq, field"
_PAYLOADS_OF = "SELECT seq, field, salt, data FROM payload WHERE seq = ? ORDER BY field"
_CHECKPOINTS = "SELECT size, note FROM checkpoint ORDER BY size"
_ERASED = "SELECT body FROM entry WHERE instr(body, ?) OR instr(body, ?) ORDER BY seq"
_SUBTREE = "SELECT hash FROM subtree WHERE level = ? AND idx = ?"
_SUBTREES = "SELECT count(*) FROM subtree"
_NO_VERDICT = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_CANTOPEN",
    "SQLITE_IOERR",
    "SQLITE_PERM",
    "SQLITE_READONLY",
    "SQLITE_NOMEM",
    "SQLITE_PROTOCOL",
)
"""Errors about reaching the file, which say nothing about what is in it."""


class LedgerFile:
    """One open ledger file: a `Source` of rows. Its connection sees one state of the file throughout."""

    def __init__(self, connection: sqlite3.Connection, size: int, opened: str) -> None:
        self._connection = connection
        self._size = size
        self._opened = opened
        self._reading: WeakSet[Generator[tuple[Any, ...], None, None]] = WeakSet()

    def close(self) -> None:
        """End what is still being read, which outlives a failed proof in its traceback, and close the file."""
        for rows in list(self._reading):
            rows.close()
        self._connection.close()

    @property
    def size(self) -> int:
        """One more than the highest `seq` in the file."""
        return self._size

    @property
    def opened(self) -> str:
        """How the file is read, in words."""
        return self._opened

    def rows(self) -> Iterator[Row]:
        """Yield the entries in order with their payloads. Raises `NotProved` (6, 7 or 8), `LedgerError`."""
        stored = self._stored(_PAYLOADS, ())
        waiting = next(stored, None)
        for place, columns in enumerate(self._rows(_ENTRIES, ())):
            seq, body, signature, leaf = columns
            _check_columns(place, columns)
            payloads: dict[str, Payload] = {}
            while waiting is not None and waiting[0] <= seq:
                _belongs(waiting[0] == seq, waiting[0])
                _fits(payloads, seq, waiting[1])
                payloads[waiting[1]] = waiting[2]
                waiting = next(stored, None)
            yield Row(seq=seq, body=body, signature=signature, leaf=leaf, payloads=payloads)
        if waiting is not None:
            _belongs(False, waiting[0])

    def row(self, seq: int) -> Row:
        """Return one entry with its payloads. Raises as `rows` does."""
        columns = next(self._rows(_ENTRY, (seq,)), None)
        if columns is None:
            raise NotProved(seq, 2, f"entry {seq} is missing")
        _check_columns(seq, columns)
        _, body, signature, leaf = columns
        return Row(seq=seq, body=body, signature=signature, leaf=leaf, payloads=self.payloads(seq))

    def payloads(self, seq: int) -> Mapping[str, Payload]:
        """Return the payloads of one entry, by field. Raises as `rows` does."""
        return {field: payload for _, field, payload in self._stored(_PAYLOADS_OF, (seq,))}

    def erased(self) -> Iterator[Named]:
        """Yield what entries name as gone. Raises `NotProved` (8), `LedgerError`."""
        found = (body for (body,) in self._rows(_ERASED, MARKS))
        return named_in(body for body in found if type(body) is bytes)

    def withholds(self, seq: int, field: str) -> bool:
        """A ledger leaves nothing out."""
        return False

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """Yield the checkpoint notes by size. Raises `NotProved` (7 or 8), `LedgerError`."""
        for size, note in self._rows(_CHECKPOINTS, ()):
            if type(size) is not int or type(note) is not bytes:
                raise NotProved(None, 7, f"the checkpoint of {size!r}: a column is of another type")
            yield size, note

    def subtree(self, level: int, index: int) -> bytes | None:
        """Return the root kept of a complete subtree. Raises as `checkpoints` does."""
        columns = next(self._rows(_SUBTREE, (level, index)), None)
        if columns is None:
            return None
        if type(columns[0]) is not bytes:
            raise NotProved(None, 7, f"the subtree {index} of level {level}: a column is of another type")
        return columns[0]

    def subtrees(self) -> int:
        """Return how many subtrees are kept. Raises `NotProved` (8), `LedgerError`."""
        count: int = next(self._rows(_SUBTREES, ()))[0]
        return count

    def _stored(self, sql: str, values: tuple[int, ...]) -> Iterator[tuple[int, str, Payload]]:
        for seq, field, salt, data in self._rows(sql, values):
            # 7. columns are of their types, whatever the schema says about them
            if [type(column) for column in (seq, field, salt, data)] != [int, str, bytes, bytes]:
                place = seq if type(seq) is int else None
                raise NotProved(place, 7, f"payload {field!r}: a column is of another type")
            yield seq, field, Payload(salt, data)

    def _rows(self, sql: str, values: tuple[int | bytes, ...]) -> Iterator[tuple[Any, ...]]:
        rows = _read(self._connection, sql, values)
        self._reading.add(rows)
        return rows


def _read(
    connection: sqlite3.Connection, sql: str, values: tuple[int | bytes, ...]
) -> Generator[tuple[Any, ...], None, None]:
    with sqlite_errors("read the ledger"):
        yield from connection.execute(sql, values)


def _check_columns(place: int, columns: tuple[Any, ...]) -> None:
    """Proof 7, of the types; the contents follow when the body is read."""
    seq, *blobs = columns
    if seq != place:
        raise NotProved(place, 2, f"entry {place} is missing: the next one stored is {seq!r}")
    for name, value in zip(("body", "sig", "leaf"), blobs, strict=True):
        if type(value) is not bytes:
            raise NotProved(place, 7, f"the column {name} holds {type(value).__name__}, not bytes")


def _fits(payloads: Mapping[str, Payload], seq: int, field: str) -> None:
    """Proof 6, where the primary key does not hold: a file can be made whose table keeps a payload twice."""
    if field in payloads:
        raise NotProved(seq, 6, f"payload {field!r} is stored twice")
    if len(payloads) >= MAX_FIELDS:
        raise NotProved(seq, 6, f"more than {MAX_FIELDS} payloads are stored for it: no entry commits to so many")


def _belongs(belongs: bool, seq: int) -> None:
    if not belongs:
        raise NotProved(seq, 6, f"a payload is stored for entry {seq}, which is not there")


@contextmanager
def open_file(path: Path) -> Iterator[LedgerFile]:
    """Open a ledger file and prove 8. Raises `NotProved`, or `LedgerError` when it cannot be reached."""
    path = path.resolve()  # as SQLite does: a write-ahead log lies beside the file, not beside a link to it
    alone = not _log_of(path)
    opened = "as it lies; no write-ahead log is beside it" if alone else "together with its write-ahead log"
    uri = f"{path.as_uri()}?{'immutable=1&' if alone else ''}mode=ro"
    with sqlite_errors(f"open {path}"):
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0)
    try:
        with sqlite_errors(f"open {path}"):
            _prepare(connection)
            check_schema(connection)
            last = connection.execute("SELECT max(seq) FROM entry").fetchone()[0]
        with closing(LedgerFile(connection, last + 1 if type(last) is int else 0, opened)) as file:
            yield file
    finally:
        connection.close()


def stillness(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when somebody writes to a file that is read as immutable; None for one read with its log.

    With a write-ahead log SQLite's own locks keep one state in view. Raises `LedgerError` when there is no file.
    """
    if not path.is_file():
        raise LedgerError(f"{path} is no file; name the ledger, such as state/ledger.db of a home")
    status = path.stat()
    return None if _log_of(path.resolve()) else (status.st_ino, status.st_size, status.st_mtime_ns)


def _log_of(path: Path) -> bool:
    """Tell whether a write-ahead log may hold entries: one that is not empty, or that somebody has open."""
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    return log.exists() and (log.stat().st_size > 0 or index.exists())


def _prepare(connection: sqlite3.Connection) -> None:
    # Text that is not UTF-8 must become a value that equals nothing expected, not an exception of its own.
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON", "mmap_size = 0"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN")


@contextmanager
def sqlite_errors(doing: str) -> Iterator[None]:
    """Tell a file that cannot be reached (`LedgerError`) from one that is no sound database (`NotProved`, 8)."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        if name.startswith(_NO_VERDICT):
            raise LedgerError(
                f"{doing}: {error} ({name}); no verdict. Close programs that hold the file, or copy it with its -wal "
                "file to a folder you may write to, and verify the copy"
            ) from error
        raise NotProved(None, 8, f"{doing}: it is no sound SQLite database: {error}") from error
    except UnicodeDecodeError as error:
        # SQLite's message quotes the file, and what it quotes is no UTF-8.
        raise NotProved(None, 8, f"{doing}: it is no sound SQLite database: a name in it is no text") from error
