"""Signed snapshots of the fold, so that opening a long ledger reads only its end."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar

from keyturn import canon
from keyturn.canon import Json
from keyturn.ledger.keys import SigningKey
from keyturn.ledger.rows import read_entry_at
from keyturn.ledger.standing import is_borne_out
from keyturn.log.chain import Basis, Head
from keyturn.log.envelope import SNAPSHOT_TYPE, pae
from keyturn.log.fold import Fold, FoldError
from keyturn.log.keys import VerifyKey
from keyturn.model.time import format_timestamp, parse_timestamp

F = TypeVar("F", bound=Fold)

EVERY = 512  # entries between snapshots of a small state
BYTES = 512  # of a larger one, that each entry since is worth: so a snapshot costs a small part of its entries
MOST = 8_000  # entries after which one is due whatever it costs: more would be long to fold again
KEEP = 2
_INSERT = "INSERT OR REPLACE INTO snapshot (seq, body, sig) VALUES (?, ?, ?)"
_LAST = "SELECT seq, length(body) FROM snapshot WHERE seq <= ? ORDER BY seq DESC LIMIT 1"
_FORGET = "DELETE FROM snapshot WHERE seq NOT IN (SELECT seq FROM snapshot WHERE seq <= ? ORDER BY seq DESC LIMIT ?)"


def write_snapshot(connection: sqlite3.Connection, head: Head, state: Fold, key: SigningKey) -> None:
    """Store a snapshot of `state` as of `head`, signed by the entry key; older ones but one go."""
    body = canon.encode_own(
        {
            "v": state.version,
            "log": head.verifier.origin if head.verifier else "",
            "size": head.size,
            "leaf": head.leaf,
            "at": format_timestamp(head.at),
            "boot": head.boot,
            "up": head.up,
            "basis": _basis_json(head.basis),
            "keys": {kid: base64.b64encode(key.raw).decode() for kid, key in head.keys.items()},
            "revoked": dict(head.revoked),
            "closed": head.closed,
            "kid": key.public.kid,
            "fold": state.to_json(),
        }
    )
    connection.execute(_INSERT, (head.size, body, key.sign(pae(SNAPSHOT_TYPE, body))))
    connection.execute(_FORGET, (head.size, KEEP))


def next_snapshot(connection: sqlite3.Connection, size: int, *, helped: bool) -> int:
    """Return from which size on a ledger of `size` entries should have another snapshot, whoever made the last.

    Where what is there did not help (another version wrote it), at once: until then every start folds all entries.
    """
    row = connection.execute(_LAST, (size,)).fetchone()
    return EVERY if row is None or not helped else row[0] + min(max(EVERY, row[1] // BYTES), MOST)


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[F]):
    """A snapshot that fits the entries: head and state as of then, and the entry key that signed it."""

    head: Head
    state: F
    kid: str


def newest_snapshot(
    connection: sqlite3.Connection, genesis: Head, kind: type[F], distrusted: Collection[str] = ()
) -> Snapshot[F] | None:
    """Return the newest snapshot that an entry key signed and that fits the entries, or None.

    A snapshot that does not verify is passed over: it saves work, and adds no authority. Whoever holds the entry key
    can sign any: so policy, catalog, tokens and keys are held against the entries that made them, and one that says
    otherwise ends the search. Those that a key among `distrusted` signed do not count: whoever starts from one and
    finds further on that its key was revoked, starts anew without it.
    """
    for body, signature in connection.execute("SELECT body, sig FROM snapshot ORDER BY seq DESC"):
        found = _read(connection, genesis, kind, body, signature)
        if found is not None and found.kid not in distrusted:
            return found if is_borne_out(connection, found.head, found.state) else None
    return None


def _read(
    connection: sqlite3.Connection, genesis: Head, kind: type[F], body: bytes, signature: bytes
) -> Snapshot[F] | None:
    try:
        value: dict[str, Any] = canon.decode_object(body)
        head, kid = _head(value, genesis), value["kid"]
        # The key is one of those that the snapshot itself names: `is_borne_out` finds the entries that added them.
        if value["v"] != kind.version or not head.signs(kid):
            return None
        if not head.keys[kid].verifies(pae(SNAPSHOT_TYPE, body), signature):
            return None
        if not _fits(connection, value, genesis):
            return None
        return Snapshot(head, kind.from_json(value["fold"]), kid)
    except (FoldError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _head(value: Mapping[str, Any], genesis: Head) -> Head:
    return replace(
        genesis,
        keys={kid: VerifyKey(base64.b64decode(raw, validate=True)) for kid, raw in value["keys"].items()},
        revoked={kid: int(seq) for kid, seq in value["revoked"].items()},
        size=value["size"],
        leaf=value["leaf"],
        at=parse_timestamp(value["at"]),
        boot=value["boot"],
        up=value["up"],
        basis=_basis(value["basis"]),
        closed=value["closed"],
    )


def _basis_json(basis: Basis | None) -> Json:
    if basis is None:
        return None
    ahead = basis.ahead // timedelta(microseconds=1)
    return {"seq": basis.seq, "at": format_timestamp(basis.at), "up": basis.up, "ahead": ahead}


def _basis(value: Mapping[str, Any]) -> Basis:
    at, ahead = parse_timestamp(value["at"]), timedelta(microseconds=value["ahead"])
    return Basis(seq=value["seq"], at=at, up=value["up"], ahead=ahead)


def _fits(connection: sqlite3.Connection, value: Mapping[str, Json], genesis: Head) -> bool:
    size = value["size"]
    if genesis.verifier is None or value["log"] != genesis.verifier.origin or not isinstance(size, int):
        return False
    row = connection.execute("SELECT leaf FROM entry WHERE seq = ?", (size - 1,)).fetchone()
    if row is None or row[0].hex() != value["leaf"]:
        return False
    last = read_entry_at(connection, size - 1)
    return (format_timestamp(last.at), last.boot, last.up) == (value["at"], value["boot"], value["up"])
