"""Git's object formats as pure bytes: ids, trees and commits, for SHA-1 and SHA-256 repositories.

Ids are worked out here as well as by git. That lets a probe know which commit to look for without writing anything,
and makes every object read or written checked against its id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from keyturn.connectors.forge.names import shown
from keyturn.model.errors import ConnectorError

FOLDER = 0o040000
LINK = 0o120000
SUBMODULE = 0o160000
REGULAR = 0o100000


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry of a tree: its mode as an integer and the id of what it names."""

    mode: int
    oid: str

    @property
    def form(self) -> int:
        """Return the file type bits: `FOLDER`, `LINK`, `SUBMODULE` or `REGULAR`."""
        return self.mode & 0o170000


def object_id(kind: str, body: bytes, width: int) -> str:
    """Return the id git gives an object; `width` is the length of ids in the repository (40 or 64 digits)."""
    data = f"{kind} {len(body)}\0".encode("ascii") + body
    if width == 64:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()  # git's own naming, not ours to choose


def parse_tree(body: bytes, width: int) -> dict[bytes, TreeEntry]:
    """Read a tree. Refused: a damaged one, and one that names an entry twice (which of the two would count?)."""
    entries: dict[bytes, TreeEntry] = {}
    at = 0
    while at < len(body):
        space, end = body.find(b" ", at), body.find(b"\0", at)
        stop = end + 1 + width // 2
        if not at < space < end or stop > len(body) or not body[at:space].isdigit():
            raise ConnectorError("the repository holds a damaged tree; run git fsck there")
        name = body[space + 1 : end]
        if name in entries:
            raise ConnectorError(f"the repository holds a tree that names {shown(repr(name))} twice; run git fsck")
        entries[name] = TreeEntry(int(body[at:space], 8), body[end + 1 : stop].hex())
        at = stop
    return entries


def tree_bytes(entries: Mapping[bytes, TreeEntry]) -> bytes:
    """Write a tree in git's order: names as bytes, a folder's as if it ended in a slash."""
    ordered = sorted(entries.items(), key=lambda item: item[0] + b"/" if item[1].form == FOLDER else item[0])
    return b"".join(b"%o %s\0%s" % (entry.mode, name, bytes.fromhex(entry.oid)) for name, entry in ordered)


def tree_listing(entries: Mapping[bytes, TreeEntry]) -> bytes:
    """Write a tree as `git mktree -z --batch` reads it, with the empty record that ends it."""
    kinds = {FOLDER: b"tree", SUBMODULE: b"commit"}
    records = [
        b"%06o %s %s\t%s\0" % (entry.mode, kinds.get(entry.form, b"blob"), entry.oid.encode("ascii"), name)
        for name, entry in entries.items()
    ]
    return b"".join(records) + b"\0"


def commit_bytes(tree: str, parents: tuple[str, ...], who: str, at: datetime, message: str) -> bytes:
    """Write a commit; `who` is `Name <mail>`, and author and committer are the same."""
    stamp = f"{who} {int(at.timestamp())} +0000"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {stamp}", f"committer {stamp}"]
    return ("\n".join(lines) + "\n\n" + message).encode("utf-8")


def commit_tree(body: bytes) -> str:
    """Return the id of a commit's tree."""
    first, _, _ = body.partition(b"\n")
    if not first.startswith(b"tree "):
        raise ConnectorError("the repository holds a damaged commit; run git fsck there")
    return first[5:].decode("ascii", "replace")
