"""Reads a bundle as evidence: a ZIP in which nothing is believed, nothing is unpacked, and nothing has no bound."""

from __future__ import annotations

import base64
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from keyturn import canon
from keyturn.log.checkpoint import parse_checkpoint
from keyturn.log.entry import MAX_BODY, MAX_FIELDS
from keyturn.log.kinds import record, signature
from keyturn.log.manifest import MAX_MANIFEST, Manifest, ManifestError, read_manifest
from keyturn.log.note import MAX_NOTE, NoteError, parse_note
from keyturn.log.tiles import Tile, bundles, entries_path, payloads_path, signatures_path, tiles
from keyturn.log.tree import HASH_BYTES, TILE, WIDTH
from keyturn.model.errors import LedgerError
from keyturn.verifier.erased import named_in
from keyturn.verifier.proofs import NotProved
from keyturn.verifier.source import Named, Payload, Row

MAX_PAYLOADS = 256 * 1024 * 1024
MAX_PROGRAM = 1024 * 1024
_SIGNATURE = 64
_MOST_QUOTES = WIDTH * (2 + MAX_FIELDS * 10)
"""Quotation marks in the payloads of a group: of each entry's number, and of its fields with two members each."""
_END = struct.Struct("<4s4H2LH")  # the record that ends a ZIP (APPNOTE 4.3.16)
_LENGTHS = struct.Struct("<HH")  # of name and extra field, the last of a member's header (APPNOTE 4.3.7)
_LENGTHS_AT = 26
_MANIFEST, _CHECKPOINT, _PROGRAM = "manifest.json", "checkpoint", "verify.py"
_NOTE = re.compile(r"anchors/(0|[1-9][0-9]{0,15})\.note", re.ASCII)
_SEQ = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_OPENING = record(data=signature, salt=signature)
_UNSOUND = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
    OverflowError,
    LookupError,
)
"""What reading a hostile ZIP may raise."""

Payloads = Mapping[int, Mapping[str, Payload]]


class Archive:
    """The members of a ZIP, each a plain file with a name of its own. Raises `NotProved` (8)."""

    def __init__(self, file: BinaryIO) -> None:
        self._members: dict[str, zipfile.ZipInfo] = {}
        with _sound("it is no sound ZIP"):
            self._zip = zipfile.ZipFile(file)
            _check_end(self._zip, file)
        for info in self._zip.infolist():
            _check_member(info)
            _need(info.filename not in self._members, f"the member {info.filename!r} is there twice")
            self._members[info.filename] = info
        with _sound("it is no sound ZIP"):
            _check_places(self._zip, file)

    @property
    def names(self) -> frozenset[str]:
        """The names of the members."""
        return frozenset(self._members)

    def read(self, name: str, most: int) -> bytes:
        """Return a member of at most so many bytes."""
        info = self._members.get(name)
        if info is None:
            raise NotProved(None, 8, f"the member {name!r} is missing")
        _need(info.file_size <= most, f"the member {name!r} is larger than it may be")
        with _sound(f"the member {name!r} cannot be read"), self._zip.open(info) as member:
            data = member.read(most + 1)
        _need(len(data) == info.file_size, f"the member {name!r} is not as long as it says")
        return data


class BundleFile:
    """One open bundle: a `Source` of rows."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        try:
            self._manifest = read_manifest(archive.read(_MANIFEST, MAX_MANIFEST))
        except ManifestError as error:
            raise NotProved(None, 8, f"{_MANIFEST}: {error}") from error
        self._expect()
        self._notes = sorted(self._read_notes())
        # The last of each that was read: entries are asked for in order, and earlier ones now and then.
        self._bodies = lru_cache(maxsize=2)(self._read_bodies)
        self._hashes = lru_cache(maxsize=4)(self._read_hashes)
        self._opened = lru_cache(maxsize=2)(self._read_payloads)
        self._action = lru_cache(maxsize=4)(self._read_action)

    @property
    def size(self) -> int:
        """The number of entries that the manifest promises."""
        return self._manifest.size

    @property
    def opened(self) -> str:
        """How it is read, in words."""
        return f"as a bundle{_choice(self._manifest)}"

    def rows(self) -> Iterator[Row]:
        """Yield the entries in order with the payloads that are disclosed. Raises `NotProved` (8)."""
        for index, _ in bundles(self.size):
            bodies, hashes = self._bodies(index), self._hashes(Tile(0, index, self._width(index)))
            signatures, payloads = self._signatures(index), self._opened(index)
            for place, body in enumerate(bodies):
                seq = index * WIDTH + place
                part = signatures[place * _SIGNATURE : (place + 1) * _SIGNATURE]
                found = payloads.get(seq, {})
                if seq == 0:
                    self._check_opening(body)
                yield Row(seq=seq, body=body, signature=part, leaf=hashes[place], payloads=found)

    def row(self, seq: int) -> Row:
        """Return one entry by its number. Raises `NotProved` (2 or 8)."""
        if not 0 <= seq < self.size:
            raise NotProved(seq, 2, f"entry {seq} is missing")
        index, place = divmod(seq, WIDTH)
        signed = self._signatures(index)[place * _SIGNATURE : (place + 1) * _SIGNATURE]
        leaf = self._hashes(Tile(0, index, self._width(index)))[place]
        payloads = self.payloads(seq)
        return Row(seq=seq, body=self._bodies(index)[place], signature=signed, leaf=leaf, payloads=payloads)

    def payloads(self, seq: int) -> Mapping[str, Payload]:
        """Return the disclosed payloads of one entry, by field. Raises `NotProved` (8)."""
        return self._opened(seq // WIDTH).get(seq, {})

    def erased(self) -> Iterator[Named]:
        """Yield what entries name as gone. Raises `NotProved` (8)."""
        for index, _ in bundles(self.size):
            yield from named_in(self._bodies(index))

    def withholds(self, seq: int, field: str) -> bool:
        """Tell whether the manifest leaves a payload out."""
        return not self._manifest.discloses(seq, self._action(seq), field)

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """Yield the checkpoint and the notes of anchors, by size."""
        yield from ((size, self._archive.read(name, MAX_NOTE)) for size, name in self._notes)

    def subtree(self, level: int, index: int) -> bytes | None:
        """Return a hash of a tile above the lowest: the root of a complete subtree. Raises `NotProved` (8)."""
        count = self.size >> level
        if level % TILE or index >= count:
            return None
        tile, place = divmod(index, WIDTH)
        return self._hashes(Tile(level // TILE, tile, min(WIDTH, count - tile * WIDTH)))[place]

    def subtrees(self) -> int:
        """Return how many hashes the tiles above the lowest hold."""
        return sum(tile.width for tile in tiles(self.size) if tile.level)

    # --- the parts ------------------------------------------------------------------------------------------------

    def _expect(self) -> None:
        """Prove 8 of the names: those that a log of this size has, and no other."""
        names, groups = self._archive.names, -(-self.size // WIDTH)
        _need(groups <= len(names), "the manifest promises more entries than there are members")
        expected = {_MANIFEST, _CHECKPOINT, _PROGRAM, *(tile.path for tile in tiles(self.size))}
        for index, width in bundles(self.size):
            expected |= {entries_path(index, width), signatures_path(index)}
        if missing := expected - names:
            raise NotProved(None, 8, f"the member {min(missing)!r} is missing")
        expected |= {payloads_path(index) for index, _ in bundles(self.size)}
        for name in sorted(names - expected):
            _need(_NOTE.fullmatch(name), f"the member {name!r} is not part of a bundle")
        self._archive.read(_PROGRAM, MAX_PROGRAM)

    def _read_notes(self) -> Iterator[tuple[int, str]]:
        """Yield the sizes of the notes with their names: a small file may hold many large ones."""
        for name in sorted(self._archive.names):
            if name == _CHECKPOINT or _NOTE.fullmatch(name):
                data = self._archive.read(name, MAX_NOTE)
                try:
                    yield parse_checkpoint(parse_note(data).text).size, name
                except NoteError as error:
                    raise NotProved(None, 8, f"{name}: {error}") from error

    def _check_opening(self, body: bytes) -> None:
        """Prove 8 of the manifest: the log that it names is the one that entry 0 opens."""
        try:
            verifier = canon.decode_object(body).get("verifier")
        except canon.CanonError:
            return  # it fails by 1
        if verifier != str(self._manifest.verifier):
            raise NotProved(0, 8, f"{_MANIFEST} names another log than the one that is opened here")

    def _width(self, index: int) -> int:
        return min(WIDTH, self.size - index * WIDTH)

    def _read_bodies(self, index: int) -> list[bytes]:
        data = self._archive.read(entries_path(index, self._width(index)), WIDTH * (2 + MAX_BODY))
        bodies, place = [], 0
        while place < len(data):
            start = place + 2
            place = start + int.from_bytes(data[place:start], "big")
            _need(start <= len(data) and place <= len(data), "a bundle of entries ends too early")
            bodies.append(data[start:place])
        wanted = self._width(index)
        _need(len(bodies) == wanted, f"a bundle holds {len(bodies)} entries, not {wanted}")
        return bodies

    def _read_hashes(self, tile: Tile) -> list[bytes]:
        data = self._archive.read(tile.path, HASH_BYTES * WIDTH)
        _need(len(data) == HASH_BYTES * tile.width, f"a tile holds {len(data)} bytes, not {HASH_BYTES * tile.width}")
        return [data[place : place + HASH_BYTES] for place in range(0, len(data), HASH_BYTES)]

    def _signatures(self, index: int) -> bytes:
        data = self._archive.read(signatures_path(index), _SIGNATURE * WIDTH)
        _need(len(data) == _SIGNATURE * self._width(index), "a signature has 64 bytes, and some have not")
        return data

    def _read_payloads(self, index: int) -> Payloads:
        name = payloads_path(index)
        if name not in self._archive.names:
            return {}
        data = self._archive.read(name, MAX_PAYLOADS)
        # Counted before it is parsed: of a few hundred kilobytes a parser could make gigabytes.
        _need(b"[" not in data and data.count(b'"') <= _MOST_QUOTES, f"{name}: it is no table of payloads")
        try:
            value = canon.decode_object(data)
            return dict(_openings(seq, fields, index * WIDTH, self._width(index)) for seq, fields in value.items())
        except ValueError as error:
            raise NotProved(None, 8, f"{name}: {error}") from error

    def _read_action(self, seq: int) -> str | None:
        try:
            action = canon.decode_object(self._bodies(seq // WIDTH)[seq % WIDTH]).get("action")
        except canon.CanonError:
            return None  # it fails by 1
        return action if isinstance(action, str) else None


@contextmanager
def open_bundle(path: Path) -> Iterator[BundleFile]:
    """Open a bundle and prove 8. Raises `NotProved`, or `LedgerError` when it cannot be reached."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror}") from error
    with file:
        yield BundleFile(Archive(file))


def is_bundle(path: Path) -> bool:
    """Tell whether a file is meant as a bundle: it begins like a ZIP, or is called one."""
    try:
        with path.open("rb") as file:
            return file.read(2) == b"PK" or path.suffix == ".zip"
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror}") from error


def _openings(place: str, fields: Any, first: int, count: int) -> tuple[int, dict[str, Payload]]:
    if not _SEQ.fullmatch(place) or not 0 <= int(place) - first < count:
        raise ValueError(f"{place!r} is no entry of this group")
    if not isinstance(fields, dict) or any(_OPENING(opening) for opening in fields.values()):
        raise ValueError(f"entry {place}: a payload has data and salt, in base64")
    found = {
        name: Payload(base64.b64decode(opening["salt"]), base64.b64decode(opening["data"]))
        for name, opening in fields.items()
    }
    return int(place), found


def _choice(manifest: Manifest) -> str:
    """Say what the manifest leaves out, in words."""
    parts = []
    first, end = manifest.first, min(manifest.end, manifest.size)
    if first >= end:
        return "; no payloads are in it but those that every bundle has"
    if (first, end) != (0, manifest.size):
        parts.append(f"of entries {first} to {end - 1}")
    if manifest.actions is not None:
        parts.append(f"of {len(manifest.actions)} action{'' if len(manifest.actions) == 1 else 's'}")
    if manifest.withheld:
        parts.append(f"without {', '.join(sorted(manifest.withheld))}")
    return f"; payloads {' '.join(parts)} are in it" if parts else ", with all payloads"


def _check_end(archive: zipfile.ZipFile, file: BinaryIO) -> None:
    """Prove 8 of both ends: no bytes are beyond them, and the last record says of the directory what was read."""
    file.seek(-_END.size, 2)
    mark, _, _, _, count, _, offset, comment = _END.unpack(file.read(_END.size))
    first = min((info.header_offset for info in archive.infolist()), default=0)
    _need(mark == b"PK\5\6" and not comment and first == 0, "something stands around the ZIP")
    # Readers that pass over the record for large files (ZIP64) would see another archive.
    read = (count in (len(archive.infolist()), 0xFFFF), offset in (archive.start_dir, 0xFFFFFFFF))
    _need(all(read), "the ZIP says in two ways where its members are")


def _check_places(archive: zipfile.ZipFile, file: BinaryIO) -> None:
    """Prove 8 of the places: no member reaches into what comes after it."""
    place = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        _need(place <= info.header_offset, "members of the ZIP overlap")
        file.seek(info.header_offset + _LENGTHS_AT)
        name, extra = _LENGTHS.unpack(file.read(_LENGTHS.size))
        place = info.header_offset + _LENGTHS_AT + _LENGTHS.size + name + extra + info.compress_size
    _need(place <= archive.start_dir, "members of the ZIP overlap")


def _check_member(info: zipfile.ZipInfo) -> None:
    name, mode = info.orig_filename, info.external_attr >> 16
    leads_out = name.startswith(("/", "\\")) or ".." in name.split("/") or ":" in name or "\\" in name
    _need(not leads_out, f"the member {name!r} leads out of the archive")
    plain = stat.S_IFMT(mode) in (0, stat.S_IFREG) and not info.flag_bits & 1 and name == info.filename
    _need(plain, f"the member {name!r} is no plain file")
    packed = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    _need(packed, f"the member {name!r} is packed in another way")


def _need(holds: object, reason: str) -> None:
    if not holds:
        raise NotProved(None, 8, reason)


@contextmanager
def _sound(otherwise: str) -> Iterator[None]:
    try:
        yield
    except NotProved:
        raise
    except _UNSOUND as error:
        raise NotProved(None, 8, f"{otherwise}: {error}") from error
