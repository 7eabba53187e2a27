"""The head record: which entry was durable last, so that a ledger that went backwards is noticed.

Written in place after each commit, under the ledger lock, without a sync of its own. After a crash it may be older
than the ledger, never newer; so a ledger shorter than its record was cut.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable, sqlite_errors
from keyturn.ledger.lock import held
from keyturn.ledger.place import Place
from keyturn.ledger.rows import check_links
from keyturn.ledger.schema import open_reader

MAKE_AGAIN = (
    "if `keyturn audit verify` passes and shows every entry you expect, make the record again with "
    "`keyturn audit rebuild --head`"
)
RESTORE = "to go on with an older copy, signed, with what is lost named: keyturn audit restore FILE -m REASON"
_READS = 3  # readers take no lock: one may meet a record half replaced, and finds it whole the next time


@dataclass(frozen=True, slots=True)
class HeadRecord:
    """Size of the ledger and leaf hash (hex) of its last entry."""

    size: int
    leaf: str


def write_head(path: Path, record: HeadRecord) -> None:
    """Record the newest durable entry (one small write in place)."""
    line = f"{record.size:016d} {record.leaf}"
    data = f"{line} {_check(line)}\n".encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.pwrite(descriptor, data, 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LedgerUnavailable(f"{path}: {error.strerror}") from error


def read_head(path: Path) -> HeadRecord | None:
    """Read the record; None when there is none. Raises `LedgerBroken` when it cannot be understood."""
    for _ in range(_READS):
        try:
            words = path.read_bytes().decode("ascii", errors="replace").split()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerUnavailable(f"{path}: {error.strerror}; make it readable for this account") from error
        match words:
            case [size, leaf, check] if size.isdecimal() and check == _check(f"{size} {leaf}"):
                return HeadRecord(int(size), leaf)
    raise LedgerBroken(f"{path} cannot be understood; {MAKE_AGAIN}")


def remake_head(place: Place, program: str) -> HeadRecord:
    """Write the record again from the newest entry that is there, and return it.

    For an operator who has made sure by other means (a verified backup, receipts of clients) that no entry is missing
    at the end: what was cut off before is not noticed any more afterwards. Only hashes and links are checked here.
    Raises `LedgerError`.
    """
    with (
        held(place.lock, program),
        sqlite_errors("read the ledger"),
        closing(open_reader(place.database)) as connection,
    ):
        check_links(connection, 0, 2**53)
        _refuse_loss(connection, place)
        row = connection.execute("SELECT seq, leaf FROM entry ORDER BY seq DESC LIMIT 1").fetchone()
        if row is None:
            raise LedgerBroken(f"{place.database} holds no entry")
        record = HeadRecord(row[0] + 1, row[1].hex())
        place.head.unlink(missing_ok=True)
        write_head(place.head, record)
    return record


def _refuse_loss(connection: sqlite3.Connection, place: Place) -> None:
    """Refuse to forget a sound record of an entry that is not there: that is a loss, and a person signs for it."""
    try:
        record = read_head(place.head)
    except LedgerBroken:
        return
    if record is None:
        return
    row = connection.execute("SELECT leaf FROM entry WHERE seq = ?", (record.size - 1,)).fetchone()
    if row is None or row[0].hex() != record.leaf:
        raise LedgerBroken(f"{place.head} names entry {record.size - 1}, which is gone; {RESTORE}")


def _check(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:16]
