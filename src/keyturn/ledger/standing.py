"""Holds what a snapshot says stands (keys, policy, catalog, tokens) against the entries that make it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from keyturn.ledger.rows import read_entry_at
from keyturn.log.chain import ChainError, Head, follow
from keyturn.log.entry import Entry
from keyturn.log.fold import STANDING, Fold, FoldError

_BODIES = "SELECT seq, body FROM entry WHERE seq < ? ORDER BY seq"
_KINDS = re.compile(b'"kind":"(?:%b)"' % "|".join(re.escape(kind) for kind in sorted(STANDING)).encode())


def is_borne_out(connection: sqlite3.Connection, head: Head, state: Fold) -> bool:
    """Tell whether the entries below `head`, each verified here, give the keys of `head` and what stands in `state`.

    Goes through the bytes of every body (a bit more than a microsecond each) and not through a table that somebody
    could have thinned out. A body is canonical, so its kind stands in it in this one way; one that merely contains
    the words costs a look. Raises `LedgerBroken` when such an entry is not what its leaf hash says.
    """
    places = [seq for seq, body in connection.execute(_BODIES, (head.size,)) if _KINDS.search(body)]
    entries = [entry for entry in (read_entry_at(connection, seq) for seq in places) if entry.kind in STANDING]
    proved = Head()
    try:
        for entry in entries:
            # The links between them are for whoever follows the chain: here it is who signed, and whether they could.
            proved = follow(replace(proved, size=entry.seq, leaf=entry.prev), entry)
        standing = state.standing_of(entries, head.size)
    except (ChainError, FoldError):
        return False
    same = (proved.verifier, proved.keys, standing) == (head.verifier, head.keys, state.standing())
    signed = [entry for entry in entries if entry.kind == "recovery" and entry.facts["clock"] is not None]
    ahead = proved.basis.ahead if proved.basis else None
    return same and head.basis is not None and head.basis.ahead == ahead and _clock_stands(connection, head, signed)


def _clock_stands(connection: sqlite3.Connection, head: Head, signed: Sequence[Entry]) -> bool:
    """Tell whether what clocks are held against in `head` begins its boot, or is the last of `signed`."""
    basis, last = head.basis, signed[-1].seq if signed else -1
    if basis is None or not max(last, 0) <= basis.seq < head.size:
        return False
    entry = read_entry_at(connection, basis.seq)
    if (entry.boot, entry.at, entry.up) != (head.boot, basis.at, basis.up):
        return False
    return basis.seq in {0, last} or read_entry_at(connection, basis.seq - 1).boot != entry.boot
