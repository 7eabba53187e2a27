"""Writes a bundle: one ZIP that holds a log, its checkpoint and chosen payloads, and the program that checks it.

The same ledger, checkpoint and choice give the same bytes: times in the ZIP are fixed, and its directory is sorted by
name. Entries are read once, in order, and never more than 256 of them are held.
"""

from __future__ import annotations

import base64
import zipfile
from collections.abc import Callable, Sequence
from importlib import resources
from typing import BinaryIO, Protocol

from keyturn import canon
from keyturn.canon import Json
from keyturn.log.entry import Entry
from keyturn.log.manifest import Manifest
from keyturn.log.note import Note, parse_note
from keyturn.log.tiles import Tile, bundles, entries_path, payloads_path, signatures_path
from keyturn.log.tree import WIDTH, fold_nodes
from keyturn.model.errors import LedgerError

CHECKPOINT, MANIFEST, PROGRAM = "checkpoint", "manifest.json", "verify.py"
ANCHOR_NOTE = "anchor.note"
MAX_PAYLOADS = 256 * 1024 * 1024
"""Bytes of the payloads of 256 entries, as a bundle writes them: readers take no more."""

_TIME = (1980, 1, 1, 0, 0, 0)
_FILE = 0o100_644 << 16  # a regular file, in the half of the attributes that Unix reads
_LEVEL = 6

Opening = tuple[bytes, bytes]


class Shelf(Protocol):
    """What a bundle is made from: a consistent look at a ledger."""

    def entries(self, first: int, end: int) -> list[Entry]:
        """Return the entries of [first, end)."""
        ...

    def opening(self, entry: Entry, field: str) -> Opening | None:
        """Return salt and bytes of a payload; None where it was erased."""
        ...


class _Writing:
    """A bundle on its way: the ZIP, the nodes that no tile holds yet by level, and the notes of anchors met."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._nodes: list[list[bytes]] = []
        self._full: list[int] = []
        self.notes: list[Note] = []

    def put(self, name: str, data: bytes, *, packed: bool = True) -> None:
        """Add one member; hashes and signatures do not get smaller by packing."""
        info = zipfile.ZipInfo(name, _TIME)
        info.create_system = 3  # Unix, wherever this runs
        info.external_attr = _FILE
        info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        self._archive.writestr(info, data, compresslevel=_LEVEL)

    def grow(self, node: bytes, level: int = 0) -> None:
        """Take the next node of a level; a tile is written when it is full, and is a node of the next level."""
        if level == len(self._nodes):
            self._nodes.append([])
            self._full.append(0)
        self._nodes[level].append(node)
        if len(self._nodes[level]) == WIDTH:
            root = fold_nodes(self._nodes[level])
            self._put_tile(level)
            self._full[level] += 1
            self._nodes[level] = []
            self.grow(root, level + 1)

    def end(self) -> None:
        """Write the tiles that are not full."""
        for level in range(len(self._nodes)):
            if self._nodes[level]:
                self._put_tile(level)

    def _put_tile(self, level: int) -> None:
        nodes = self._nodes[level]
        self.put(Tile(level, self._full[level], len(nodes)).path, b"".join(nodes), packed=False)


def write_bundle(
    out: BinaryIO,
    shelf: Shelf,
    manifest: Manifest,
    checkpoint: bytes,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the bundle of the first `manifest.size` entries to `out`.

    `checkpoint` is a note of the log of at most as many entries; the cosignatures that anchors gave it are added.
    Raises what `shelf` raises, and `LedgerError` for payloads too large for a bundle.
    """
    with zipfile.ZipFile(out, "w") as archive:
        writing = _Writing(archive)
        for index, width in bundles(manifest.size):
            _put_entries(writing, shelf, manifest, index, width)
            if progress is not None:
                progress(index * WIDTH + width, manifest.size)
        writing.end()
        writing.put(CHECKPOINT, bytes(cosigned(parse_note(checkpoint), writing.notes)))
        writing.put(MANIFEST, bytes(manifest))
        writing.put(PROGRAM, program())
        archive.filelist.sort(key=lambda info: info.filename)


def program() -> bytes:
    """Return the program that checks bundles with nothing but Python's standard library."""
    return resources.files("keyturn.evidence").joinpath(PROGRAM).read_bytes()


def cosigned(note: Note, others: Sequence[Note]) -> Note:
    """Return `note` with the signatures that other notes of the same text carry, each once."""
    same = [note, *(other for other in others if other.text == note.text)]
    return Note(note.text, tuple(dict.fromkeys(signature for each in same for signature in each.signatures)))


def _put_entries(writing: _Writing, shelf: Shelf, manifest: Manifest, index: int, width: int) -> None:
    first = index * WIDTH
    entries = shelf.entries(first, first + width)
    if len(entries) != width:
        raise LedgerError(f"entries from {first} on are not all there; check with `keyturn audit verify`")
    writing.put(entries_path(index, width), b"".join(_prefixed(entry.body) for entry in entries))
    writing.put(signatures_path(index), b"".join(entry.signature for entry in entries), packed=False)
    disclosed = {str(entry.seq): found for entry in entries if (found := _disclosed(writing, shelf, manifest, entry))}
    if disclosed:
        _put_payloads(writing, index, canon.encode_own(disclosed))
    for entry in entries:
        writing.grow(bytes.fromhex(entry.leaf))


def _put_payloads(writing: _Writing, index: int, data: bytes) -> None:
    if len(data) > MAX_PAYLOADS:
        raise LedgerError(
            f"the payloads of entries {index * WIDTH} to {index * WIDTH + WIDTH - 1} are too large for one bundle: "
            "choose actions or withhold fields"
        )
    writing.put(payloads_path(index), data)


def _disclosed(writing: _Writing, shelf: Shelf, manifest: Manifest, entry: Entry) -> dict[str, Json]:
    """Return the payloads of an entry that go into the bundle, by field; and put the notes of anchors aside."""
    found: dict[str, Json] = {}
    for name in sorted(entry.data):
        opening = shelf.opening(entry, name) if manifest.discloses(entry.seq, entry.action, name) else None
        if opening is None:
            continue
        if name == ANCHOR_NOTE:
            _put_note(writing, entry.seq, opening[1])
        found[name] = opened(opening)
    return found


def opened(opening: Opening) -> dict[str, Json]:
    """Return salt and bytes of a payload as JSON writes them."""
    salt, data = (base64.b64encode(part).decode("ascii") for part in opening)
    return {"data": data, "salt": salt}


def _put_note(writing: _Writing, seq: int, payload: bytes) -> None:
    text = canon.decode(payload)
    if isinstance(text, str):
        note = text.encode("utf-8")
        writing.put(f"anchors/{seq}.note", note)
        writing.notes.append(parse_note(note))


def _prefixed(body: bytes) -> bytes:
    return len(body).to_bytes(2, "big") + body
