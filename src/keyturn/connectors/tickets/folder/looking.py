"""Looks at a folder of tickets: is it there, can it be read and written, and is every ticket in it sound."""

from __future__ import annotations

import os
from pathlib import Path

from keyturn.connectors.checking import Finding
from keyturn.connectors.files import Disk, Folder
from keyturn.connectors.tickets.folder.numbers import deduced_prefix
from keyturn.connectors.tickets.folder.reading import SUFFIX, read_ticket, ticket_files
from keyturn.model.errors import ConnectorError

_MOUNTS = Path("/proc/self/mountinfo")  # https://docs.kernel.org/filesystems/proc.html#proc-pid-mountinfo
_SHARED = frozenset({"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "nfs", "nfs4", "smb3"})
_NO_LINKS = frozenset({"exfat", "msdos", "vfat"})


def look(folder: Path, place: str, prefix: str | None) -> tuple[Finding, ...]:
    """Return what there is to say of a tracker's folder; `place` is what messages call it."""
    try:
        with Folder.open(folder, place, Disk()) as root:
            return (*_access(root), *_disk(root), *_tickets(root, prefix))
    except ConnectorError as error:
        advice = "make the folder, or mend `path`; if it lies on a disk of its own, is that mounted?"
        return (Finding("wrong", str(error), advice),)


def filesystem(mounts: str, device: int) -> str:
    """Return the type of the file system with a device number, from the text of `mountinfo`; "" where unknown."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) > 6 and fields[2] == wanted and "-" in fields[6:-1]:
            return fields[fields.index("-", 6) + 1]
    return ""


def disk_findings(place: str, kind: str, *, free: bool, read_only: bool) -> tuple[Finding, ...]:
    """Judge a file system: its type, whether it has room left, whether it is mounted for reading only."""
    found = []
    if read_only:
        found.append(Finding("wrong", f"{place}: its disk is mounted for reading only", "mount it for writing"))
    if not free:
        found.append(Finding("wrong", f"{place}: its disk is full", "make room"))
    if kind in _NO_LINKS:
        text = f"{place}: its disk ({kind}) has no hard links, which the journal needs"
        found.append(Finding("wrong", text, "move the folder to a disk such as ext4, xfs or btrfs"))
    if kind in _SHARED:
        text = f"{place}: lies on a disk that several machines share ({kind})"
        advice = "let one machine alone act on it: whether locks hold between machines depends on how it is served"
        found.append(Finding("note", text, advice))
    return tuple(found)


def _access(root: Folder) -> tuple[Finding, ...]:
    wanted = {"read": os.R_OK | os.X_OK, "write": os.W_OK | os.X_OK}
    lacking = [word for word, mode in wanted.items() if not _may(root, mode)]
    if lacking:
        text = f"{root.place}: this account may not {' or '.join(lacking)} there"
        return (Finding("wrong", text, "give the account that runs Keyturn the rights, or make it the owner"),)
    return (Finding("ok", f"{root.place}: is there and may be read and written"),)


def _may(root: Folder, mode: int) -> bool:
    return os.access(".", mode, dir_fd=root.fd, effective_ids=os.access in os.supports_effective_ids)


def _disk(root: Folder) -> tuple[Finding, ...]:
    state = os.fstatvfs(root.fd)
    try:
        kind = filesystem(_MOUNTS.read_text(), os.fstat(root.fd).st_dev)
    except OSError:  # a system without /proc: nothing is known, and nothing is said
        kind = ""
    free, read_only = state.f_bavail > 0, bool(state.f_flag & os.ST_RDONLY)
    return disk_findings(root.place, kind, free=free, read_only=read_only)


def _tickets(root: Folder, prefix: str | None) -> tuple[Finding, ...]:
    names = ticket_files(root)
    problems = [problem for problem in (_problem(root, name) for name in names) if problem]
    found = [Finding("ok", f"{root.place}: {len(names)} tickets")]
    if problems:
        found = [
            Finding(
                "wrong",
                f"{root.place}: {len(problems)} of {len(names)} tickets cannot be used; the first: {problems[0]}",
                "mend their front matter, or name files that are no tickets otherwise",
            )
        ]
    if prefix is None and deduced_prefix(root) is None:
        text = f"{root.place}: new tickets cannot be made: their prefix cannot be told from the files"
        found.append(Finding("note", text, 'set `prefix`, such as prefix = "OPS"'))
    return tuple(found)


def _problem(root: Folder, name: str) -> str | None:
    try:
        read_ticket(root, name.removesuffix(SUFFIX))
    except ConnectorError as error:
        return str(error)
    return None
