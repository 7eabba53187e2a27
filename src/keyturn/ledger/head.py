"""The head record: which entry was durable last, so that a ledger that went backwards is noticed.

Written in place after each commit, under the ledger lock, without a sync of its own. After a crash it may be older
than the ledger, never newer; so a ledger shorter than its record was cut.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable

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
    """Read the record; None when there is none yet. Raises `LedgerBroken` when it cannot be understood."""
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
    raise LedgerBroken(
        f"{path} cannot be understood; if `keyturn audit verify` passes and shows every entry you expect, remove it"
    )


def _check(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:16]
