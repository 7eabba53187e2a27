"""Holds what a snapshot says stands (keys, policy, catalog, tokens) against the entries that make it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from keyturn.ledger.errors import LedgerBroken
from keyturn.ledger.rows import read_entry_at
from keyturn.log.chain import ChainError, Head, follow
from keyturn.log.entry import Entry
from keyturn.log.fold import STANDING, Fold, FoldError

LOOKED_OVER = 20_000  # entries up to which all are gone through, whatever the lookup table says
_BODIES = "SELECT seq, body FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq"
_LISTED = "SELECT seq FROM lookup WHERE kind IN (SELECT value FROM json_each(?)) AND seq < ? ORDER BY seq"
_NAMES = json.dumps(sorted(STANDING))
_KIND = "SELECT kind FROM lookup WHERE seq = ?"
_KINDS = re.compile(b'"kind":"(?:%b)"' % "|".join(re.escape(kind) for kind in sorted(STANDING)).encode())


def is_borne_out(connection: sqlite3.Connection, head: Head, state: Fold) -> bool:
    """Tell whether the entries below `head`, each verified here, give the keys of `head` and what stands in `state`.

    Of a short ledger the bytes of every body are gone through (more than a microsecond each), and no table that
    somebody could have thinned out. Of a long one the lookup table says where these entries are; `check_listed`
    finds out what it leaves out. Raises `LedgerBroken` when such an entry is not what its leaf hash says.
    """
    if head.size <= LOOKED_OVER:
        entries = _standing(connection, 0, head.size)
    else:
        listed = connection.execute(_LISTED, (_NAMES, head.size)).fetchall()
        found = (read_entry_at(connection, seq) for (seq,) in listed)
        entries = [entry for entry in found if entry.kind in STANDING]
    proved = Head()
    try:
        for entry in entries:
            # The links between them are for whoever follows the chain: here it is who signed, and whether they could.
            proved = follow(replace(proved, size=entry.seq, leaf=entry.prev), entry)
        standing = state.standing_of(entries, head.size)
    except (ChainError, FoldError):
        return False
    same = (_keys(proved), standing) == (_keys(head), state.standing())
    signed = [entry for entry in entries if entry.kind == "recovery" and entry.facts["clock"] is not None]
    ahead = proved.basis.ahead if proved.basis else None
    return same and head.basis is not None and head.basis.ahead == ahead and _clock_stands(connection, head, signed)


def _keys(head: Head) -> tuple[object, ...]:
    """Return what entries of the log key make of a head: whose signatures count, and whether any counts at all."""
    return head.verifier, head.keys, head.revoked, head.closed


def check_listed(connection: sqlite3.Connection, first: int, end: int) -> None:
    """Hold the lookup table against the entries of [first, end) that make what stands. Raises `LedgerBroken`."""
    for entry in _standing(connection, first, end):
        if connection.execute(_KIND, (entry.seq,)).fetchone() != (entry.kind,):
            raise LedgerBroken(
                f"the lookup table hides entry {entry.seq} ({entry.kind}); check with `keyturn audit verify`, then "
                "make the table again with `keyturn audit rebuild`"
            )


def _standing(connection: sqlite3.Connection, first: int, end: int) -> list[Entry]:
    # A body is canonical, so its kind stands in it in one way; one that merely contains the words costs a look.
    places = [seq for seq, body in connection.execute(_BODIES, (first, end)) if _KINDS.search(body)]
    return [entry for entry in (read_entry_at(connection, seq) for seq in places) if entry.kind in STANDING]


def _clock_stands(connection: sqlite3.Connection, head: Head, signed: Sequence[Entry]) -> bool:
    """Tell whether what clocks are held against in `head` begins its boot, or is the last of `signed`."""
    basis, last = head.basis, signed[-1].seq if signed else -1
    if basis is None or not max(last, 0) <= basis.seq < head.size:
        return False
    entry = read_entry_at(connection, basis.seq)
    if (entry.boot, entry.at, entry.up) != (head.boot, basis.at, basis.up):
        return False
    return basis.seq in {0, last} or read_entry_at(connection, basis.seq - 1).boot != entry.boot
