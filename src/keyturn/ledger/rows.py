"""Reading entries and payloads back, each checked against the hash or commitment that names it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NoReturn

from keyturn.ledger.errors import LedgerBroken
from keyturn.log import commitment
from keyturn.log.chain import ChainError, Head, parse
from keyturn.log.entry import Entry, leaf_hash
from keyturn.log.kinds import REQUESTS
from keyturn.log.manifest import EVERYWHERE

END = 2**62  # beyond every seq
_ENTRIES = "SELECT seq, body, sig, leaf FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq"
_PAYLOADS = "SELECT seq, field, salt, data FROM payload WHERE seq >= ? AND seq < ? ORDER BY seq, field"
_ERASURES = "SELECT seq FROM lookup JOIN entry USING (seq) WHERE kind = 'payload.erased' ORDER BY seq"
_PRUNINGS = "SELECT seq FROM lookup JOIN entry USING (seq) WHERE kind = 'payloads.pruned' ORDER BY seq DESC"
_ACTION = "SELECT seq FROM lookup JOIN entry USING (seq) WHERE action = ? ORDER BY seq LIMIT 1"
_LINKS = "SELECT seq, body, leaf FROM entry WHERE seq >= ? ORDER BY seq LIMIT ?"


def read_entries(connection: sqlite3.Connection, first: int, end: int = 2**53) -> Iterator[Entry]:
    """Yield the entries of [first, end); each parsed, its leaf recomputed. Raises `LedgerBroken`."""
    for seq, body, signature, leaf in connection.execute(_ENTRIES, (first, end)):
        yield _entry(seq, body, signature, leaf)


def read_entry_at(connection: sqlite3.Connection, seq: int) -> Entry:
    """Return one entry. Raises `LedgerBroken` when it is not there."""
    for entry in read_entries(connection, seq, seq + 1):
        return entry
    raise LedgerBroken(f"entry {seq} is not in the ledger; check with `keyturn audit verify`")


def read_payload(connection: sqlite3.Connection, entry: Entry, field: str) -> bytes | None:
    """Return a payload that opens its commitment; None when the entry has no such field, or an erased one.

    Raises `LedgerBroken` when it is missing although no entry says that it was erased, or is not what the entry
    committed to.
    """
    opening = read_opening(connection, entry, field)
    return None if opening is None else opening[1]


def read_opening(connection: sqlite3.Connection, entry: Entry, field: str) -> tuple[bytes, bytes] | None:
    """Return (salt, data) that open the entry's commitment for `field`; else as `read_payload`."""
    if field not in entry.data:
        return None
    row = read_payload_row(connection, entry.seq, field)
    if row is None and is_gone(connection, entry, field):
        return None
    if row is None or not commitment.opens(entry.data[field], row[0], field, row[1]):
        raise LedgerBroken(f"entry {entry.seq}: payload {field} is missing or was changed")
    return row


def is_gone(connection: sqlite3.Connection, entry: Entry, field: str) -> bool:
    """Tell whether a later entry says that this payload was erased, or pruned. Asked only of what is missing."""
    pruned = field not in EVERYWHERE and _is_pruned(connection, entry, _prunings(connection))
    return pruned or (entry.seq, field) in _erased(connection)


def environment_of(connection: sqlite3.Connection, entry: Entry) -> str | None:
    """Return the environment that an entry belongs to: its own, else that of its action's request, else None."""
    own = entry.facts.get("environment")
    if own is None and entry.action is not None:
        # The derived table only says where to look: what it hides belongs to no environment, and then seems lost.
        row = connection.execute(_ACTION, (entry.action,)).fetchone()
        request = None if row is None else read_entry_at(connection, row[0])
        asks = request is not None and request.kind in REQUESTS and request.action == entry.action
        own = request.facts["environment"] if request is not None and asks else None
    return own if isinstance(own, str) else None


def _is_pruned(connection: sqlite3.Connection, entry: Entry, prunings: Iterable[tuple[object, int]]) -> bool:
    own: list[str | None] = []  # looked up once, and only where it matters
    for environment, before in prunings:
        if before > entry.seq:
            if environment is None:
                return True
            if environment in (own := own or [environment_of(connection, entry)]):
                return True
    return False


def _prunings(connection: sqlite3.Connection) -> Iterator[tuple[object, int]]:
    """Yield environment and bound of each pruning, the newest first: as a rule it reaches furthest."""
    for (seq,) in connection.execute(_PRUNINGS):
        entry = read_entry_at(connection, seq)
        before = entry.facts.get("before")
        if entry.kind == "payloads.pruned" and isinstance(before, int):
            yield entry.facts["environment"], before


def _erased(connection: sqlite3.Connection) -> set[tuple[object, object]]:
    # The derived table only says where to look; one that hides such an entry makes the payload seem lost.
    places = connection.execute(_ERASURES).fetchall()
    found = (read_entry_at(connection, seq) for (seq,) in places)
    return {(entry.facts["entry"], entry.facts["field"]) for entry in found if entry.kind == "payload.erased"}


def read_payload_row(connection: sqlite3.Connection, seq: int, field: str) -> tuple[bytes, bytes] | None:
    """Return (salt, data) as stored, unchecked, or None."""
    row = connection.execute("SELECT salt, data FROM payload WHERE seq = ? AND field = ?", (seq, field)).fetchone()
    return None if row is None else (row[0], row[1])


def check_links(connection: sqlite3.Connection, first: int, count: int) -> int:
    """Recompute leaf hashes and links of up to `count` entries from `first`; return the next seq to check.

    Finds any edit of a stored body by hashing alone. Raises `LedgerBroken` naming the entry.
    """
    expected_seq, previous = first, _leaf_at(connection, first - 1)
    for seq, body, leaf in connection.execute(_LINKS, (first, count)):
        if seq != expected_seq or leaf_hash(body) != leaf.hex():
            raise LedgerBroken(f"entry {expected_seq} was changed or removed; check with `keyturn audit verify`")
        if previous is not None and b'"prev":"%b"' % previous.encode() not in body:
            raise LedgerBroken(f"entry {seq} does not follow the one before; check with `keyturn audit verify`")
        expected_seq, previous = seq + 1, leaf.hex()
    return expected_seq


def check_payloads(connection: sqlite3.Connection, first: int, end: int) -> None:
    """Open every commitment of the entries [first, end) with what is stored, and find payloads that none commits to.

    From 0 and up to `END`, rows that belong to no entry at all are found too. Raises `LedgerBroken` naming the entry.
    """
    rows = connection.execute(_PAYLOADS, (first or -END, end))
    row = next(rows, None)
    erased: set[tuple[object, object]] | None = None
    pruned: list[tuple[object, int]] = []
    for entry in read_entries(connection, first, end):
        opened, stored = set(), set()
        while row is not None and row[0] <= entry.seq:
            seq, field, salt, data = row
            if seq != entry.seq or field not in entry.data:
                _surplus(seq, field)
            stored.add(field)
            if commitment.opens(entry.data[field], salt, field, data):
                opened.add(field)
            row = next(rows, None)
        lost = entry.data.keys() - opened
        if lost and erased is None:
            erased, pruned = _erased(connection), list(_prunings(connection))
        if lost and _is_pruned(connection, entry, pruned):
            lost &= stored | EVERYWHERE
        if lost := {field for field in lost if field in stored or (entry.seq, field) not in (erased or ())}:
            raise LedgerBroken(
                f"entry {entry.seq}: payload {min(lost)} is missing or was changed; check with `keyturn audit verify`"
            )
    if row is not None:
        _surplus(row[0], row[1])


def _surplus(seq: int, field: str) -> NoReturn:
    raise LedgerBroken(f"entry {seq} commits to no payload {field!r}; check with `keyturn audit verify`")


def check_stored(connection: sqlite3.Connection, before: int, head: Head) -> None:
    """Read back, before they are committed, that the entries from `before` up to `head` are stored, and no others.

    Raises `LedgerBroken`: something in the file took one back or added one.
    """
    found = connection.execute("SELECT count(*), max(seq) FROM entry WHERE seq >= ?", (before,)).fetchone()
    if found != (head.size - before, head.size - 1) or _leaf_at(connection, head.size - 1) != head.leaf:
        raise LedgerBroken(
            f"entries from {before} on were not stored as they were appended; check with `keyturn audit verify`"
        )


def _leaf_at(connection: sqlite3.Connection, seq: int) -> str | None:
    row = connection.execute("SELECT leaf FROM entry WHERE seq = ?", (seq,)).fetchone()
    return None if row is None else row[0].hex()


def _entry(seq: int, body: bytes, signature: bytes, leaf: bytes) -> Entry:
    try:
        entry = parse(seq, body, signature)
    except ChainError as error:
        raise LedgerBroken(f"{error}; check with `keyturn audit verify`") from error
    if entry.leaf != leaf.hex() or entry.seq != seq:
        raise LedgerBroken(f"entry {seq} was changed; check with `keyturn audit verify`")
    return entry
