"""Where a ledger lives on disk, and what is refused about a place."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from keyturn.ledger.errors import LedgerUnavailable

_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.rclone",
)


@dataclass(frozen=True, slots=True)
class Place:
    """The `state/` folder of one home and the files in it."""

    folder: Path

    @property
    def database(self) -> Path:
        """The SQLite file of entries and payloads."""
        return self.folder / "ledger.db"

    @property
    def lock(self) -> Path:
        """The file whose flock serialises writers."""
        return self.folder / "ledger.lock"

    @property
    def head(self) -> Path:
        """The record of the newest durable entry: a shorter ledger is refused."""
        return self.folder / "head"

    @property
    def keys(self) -> Path:
        """The folder of private keys (0700)."""
        return self.folder / "keys"

    @property
    def run(self) -> Path:
        """The folder of instance locks."""
        return self.folder / "run"


def check_place(place: Place) -> None:
    """Refuse a missing state folder, one that others may enter, and network file systems."""
    try:
        status = place.folder.stat()
    except OSError as error:
        raise LedgerUnavailable(f"{place.folder}: {error.strerror}; make a home with `keyturn init`") from error
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise LedgerUnavailable(f"{place.folder} is open to other accounts; run: chmod 700 {place.folder}")
    if status.st_uid != os.geteuid():
        raise LedgerUnavailable(f"{place.folder} belongs to another account; run Keyturn as its owner")
    kind = _file_system(place.folder)
    if kind.startswith(_NETWORK):
        raise LedgerUnavailable(f"{place.folder} is on a network file system ({kind}); keep state/ on a local disk")


def _file_system(folder: Path) -> str:
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    path = str(folder.resolve())
    best = ("", "unknown")
    for line in lines:
        before, _, after = line.partition(" - ")
        mount = before.split(" ")[4].encode().decode("unicode_escape")
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best[0]):
            best = (mount, after.split(" ")[0])
    return best[1]
