"""How much room a ledger takes on its disk, and how much there is left."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from keyturn.ledger.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Bytes of the ledger's file and of the write-ahead log beside it, and bytes this account may still write there.

    What cannot be told is 0.
    """

    ledger: int
    wal: int
    free: int


def room_of(place: Place) -> Room:
    """Measure the room of one ledger."""
    wal = place.database.with_name(f"{place.database.name}-wal")
    return Room(ledger=_bytes_in(place.database), wal=_bytes_in(wal), free=_free_bytes(place.folder))


def _bytes_in(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _free_bytes(folder: Path) -> int:
    with suppress(OSError):
        disk = os.statvfs(folder)
        return disk.f_bavail * disk.f_frsize
    return 0
