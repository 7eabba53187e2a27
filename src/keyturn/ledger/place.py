"""Where a ledger lives on disk, and what is refused about a place."""

from __future__ import annotations

import os
import re
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
    "davfs",
    "beegfs",
    "orangefs",
    "gpfs",
    "ocfs2",
    "gfs2",
    "vboxsf",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.rclone",
    "fuse.gcsfuse",
    "fuse.glusterfs",
    "fuse.ceph",
)
_OCTAL = re.compile(r"\\([0-7]{3})")  # how mountinfo writes a space, a tab, a newline and a backslash
MOUNTS = Path("/proc/self/mountinfo")


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


def check_place(place: Place, mounts: Path = MOUNTS) -> None:
    """Refuse a missing state folder, one that others may enter, and network file systems.

    `mounts` lists what is mounted where, in the form of proc(5), /proc/pid/mountinfo.
    """
    try:
        status = place.folder.stat()
    except OSError as error:
        raise LedgerUnavailable(f"{place.folder}: {error.strerror}; make a home with `keyturn init`") from error
    if not stat.S_ISDIR(status.st_mode):
        raise LedgerUnavailable(f"{place.folder} is not a folder; make a home with `keyturn init`")
    if status.st_uid != os.geteuid():
        raise LedgerUnavailable(f"{place.folder} belongs to another account; run Keyturn as its owner")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise LedgerUnavailable(f"{place.folder} is open to other accounts; run: chmod 700 {place.folder}")
    kind = _file_system(place.folder, mounts)
    if kind.startswith(_NETWORK):
        raise LedgerUnavailable(f"{place.folder} is on a network file system ({kind}); keep state/ on a local disk")


def _file_system(folder: Path, mounts: Path) -> str:
    try:
        lines = os.fsdecode(mounts.read_bytes()).split("\n")
    except OSError:
        return "unknown"
    path = str(folder.resolve())
    best = ("", "unknown")
    for line in filter(None, lines):
        before, _, after = line.partition(" - ")
        mount = _OCTAL.sub(lambda match: chr(int(match[1], 8)), before.split(" ")[4])
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best[0]):
            best = (mount, after.split(" ")[0])
    return best[1]
