"""Describes a folder tree by a manifest of kinds, modes, sizes and digests, never following a symlink."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from keyturn.connectors.files import Folder, kind_of, opened_below, refusing
from keyturn.model.errors import ConnectorError

MAX_ENTRIES = 20_000
MAX_BYTES = 1024**3
MAX_DEPTH = 64
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of a tree.

    mode    permission bits
    size    bytes of a file or of a symlink's text; 0 for a folder
    digest  `sha256:<hex>` of a file's bytes, the text of a symlink, "" for a folder
    lines   line ends in a file: line feeds, carriage returns, or both together
    """

    kind: Literal["file", "folder", "symlink"]
    mode: int
    size: int
    digest: str
    lines: int = 0


Tree: TypeAlias = Mapping[str, Entry]
"""Path relative to the tree's root (bytes that are no UTF-8 as lone surrogates) → entry, sorted by path."""


def scan_tree(root: Folder) -> Tree:
    """Read a whole tree. Raises `ConnectorError` beyond the bounds, or at a FIFO, socket or device."""
    found: dict[str, Entry] = {}
    total = 0
    for path, entry in _walk(root, "", 0):
        total += entry.size
        found[path] = entry
        if len(found) > MAX_ENTRIES:
            raise ConnectorError(f"{root.place}: holds more than {MAX_ENTRIES} entries")
        if total > MAX_BYTES:
            raise ConnectorError(f"{root.place}: holds more than {MAX_BYTES} bytes")
    return dict(sorted(found.items()))


def tree_digest(tree: Tree) -> str:
    """Return `sha256:<hex>` over the sorted entries: kind, octal mode, size, digest and path, each path NUL-ended."""
    digest = hashlib.sha256()
    for path, entry in sorted(tree.items()):
        head = f"{entry.kind} {entry.mode:o} {entry.size} ".encode()
        digest.update(head + os.fsencode(entry.digest) + b"\0" + os.fsencode(path) + b"\0")
    return f"sha256:{digest.hexdigest()}"


def read_entry(root: Folder, path: str, entry: Entry) -> bytes:
    """Return the bytes a scan saw at `path`; a file that has changed since is a `ConnectorError` (retry)."""
    if entry.kind == "symlink":
        return os.fsencode(entry.digest)
    *parents, name = path.split("/")
    with opened_below(root, tuple(parents)) as folder:
        data = folder.read(name, entry.size)
    if data is None or f"sha256:{hashlib.sha256(data).hexdigest()}" != entry.digest:
        raise ConnectorError(f"{root.at(path)}: changed while it was read", kind="retry", retry_after=5)
    return data


def _walk(folder: Folder, prefix: str, depth: int) -> Iterator[tuple[str, Entry]]:
    if depth > MAX_DEPTH:
        raise ConnectorError(f"{folder.place}: is nested deeper than {MAX_DEPTH} folders")
    for name in folder.names():
        path = prefix + name
        found = folder.stat(name)
        mode = stat.S_IMODE(found.st_mode) if found else 0
        match kind_of(found.st_mode) if found else None:
            case "folder":
                yield path, Entry("folder", mode, 0, "")
                with folder.child(name) as inner:
                    yield from _walk(inner, path + "/", depth + 1)
            case "symlink":
                text = folder.link_text(name) or ""
                yield path, Entry("symlink", 0o777, len(os.fsencode(text)), text)
            case "file":
                yield path, _file(folder, name)
            case _:
                raise ConnectorError(f"{folder.at(name)}: is neither file, folder nor symlink")


def _file(folder: Folder, name: str) -> Entry:
    digest, size, lines, last = hashlib.sha256(), 0, 0, b""
    with folder.reading(name) as fd, refusing(folder.at(name)):
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        while chunk := os.read(fd, _CHUNK):
            digest.update(chunk)
            size += len(chunk)
            lines += chunk.count(b"\n") + chunk.count(b"\r") - (last + chunk).count(b"\r\n")
            last = chunk[-1:]
            if size > MAX_BYTES:
                raise ConnectorError(f"{folder.at(name)}: holds more than {MAX_BYTES} bytes")
    return Entry("file", mode, size, f"sha256:{digest.hexdigest()}", lines)
