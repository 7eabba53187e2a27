"""Founding a ledger: both keys, the file, and the first entries, all of it or nothing."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keyturn.ledger.clock import Reading
from keyturn.ledger.errors import LedgerUnavailable, sqlite_errors
from keyturn.ledger.head import HeadRecord, write_head
from keyturn.ledger.keys import ENTRY_KEY, LOG_KEY, VERIFIER, SigningKey, make_key, store_key
from keyturn.ledger.place import Place
from keyturn.ledger.schema import create, open_writer
from keyturn.ledger.transaction import Pen, Transaction
from keyturn.ledger.writer import Surroundings
from keyturn.log.chain import Head, key_proof
from keyturn.log.fold import Fold
from keyturn.log.keys import LogVerifier, check_origin

FORMAT = "keyturn-ledger/v1"


@dataclass(frozen=True, slots=True)
class Founded:
    """A new ledger: where it is and the verifier string auditors pin."""

    place: Place
    verifier: str


def found(
    folder: Path, name: str, kind: type[Fold], outside: Surroundings, first: Callable[[Transaction[Fold]], None]
) -> Founded:
    """Make the state folder at `folder` with keys and a ledger whose first entries are genesis and `first`'s.

    `first` appends the policy, the catalog and the first tokens. Everything is built beside the final name and
    renamed into place at the end: an interrupted founding leaves no half-made ledger. Raises `LedgerUnavailable`
    when the folder exists.
    """
    if folder.exists():
        raise LedgerUnavailable(f"{folder} exists: a ledger is founded once")
    building = folder.with_name(f"{folder.name}.new-{outside.entropy(4).hex()}")
    try:
        verifier = _build(Place(building), name, kind, outside, first)
        building.rename(folder)
        _sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return Founded(Place(folder), verifier)


def _build(
    place: Place, name: str, kind: type[Fold], outside: Surroundings, first: Callable[[Transaction[Fold]], None]
) -> str:
    for path in (place.folder, place.keys, place.run):
        path.mkdir(mode=0o700)
    log_key, entry_key = make_key(outside.entropy(32)), make_key(outside.entropy(32))
    store_key(place.keys / LOG_KEY, log_key)
    store_key(place.keys / ENTRY_KEY, entry_key)
    origin = f"{name}/{outside.entropy(16).hex()}"
    check_origin(origin)
    verifier = str(LogVerifier(origin, log_key.public))
    (place.keys / VERIFIER).write_text(verifier + "\n", encoding="ascii")
    create(place.database)
    connection = open_writer(place.database)
    moment = outside.clock()
    with sqlite_errors("found the ledger"):
        connection.execute("BEGIN IMMEDIATE")
        reading = Reading(moment.wall, moment, None)
        tx = Transaction(connection, kind.empty(), Head(), reading, Pen(entry_key, outside.entropy))
        _genesis(tx, verifier, log_key, entry_key, outside)
        first(tx)
        connection.execute("COMMIT")
        connection.close()
    write_head(place.head, HeadRecord(tx.head.size, tx.head.leaf))
    _sync_folder(place.folder)
    return verifier


def _genesis(
    tx: Transaction[Fold], verifier: str, log_key: SigningKey, entry_key: SigningKey, outside: Surroundings
) -> None:
    opened = {"format": FORMAT, "nonce": outside.entropy(32).hex(), "verifier": verifier}
    first = tx.append("log.opened", opened, key=log_key)
    proof = entry_key.sign(key_proof(first.log, 1, first.leaf, entry_key.public.raw))
    added = {
        "key": base64.b64encode(entry_key.public.raw).decode("ascii"),
        "proof": base64.b64encode(proof).decode("ascii"),
    }
    tx.append("key.added", added, key=log_key)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
