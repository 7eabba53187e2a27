"""Founding a ledger: both keys, the file, and the first entries, all of it or nothing."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from keyturn.ledger.clock import Reading
from keyturn.ledger.errors import LedgerUnavailable, sqlite_errors
from keyturn.ledger.head import HeadRecord, write_head
from keyturn.ledger.keys import ENTRY_KEY, LOG_KEY, VERIFIER, SigningKey, make_key, store_key
from keyturn.ledger.place import Place, check_place
from keyturn.ledger.schema import create, open_writer
from keyturn.ledger.transaction import Pen, Transaction
from keyturn.ledger.writer import Surroundings
from keyturn.log.chain import Head, key_proof
from keyturn.log.fold import Fold, FoldError
from keyturn.log.keys import LogVerifier, check_origin
from keyturn.log.kinds import FORMAT
from keyturn.model.errors import LedgerError


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
    renamed into place at the end: an interrupted founding leaves no half-made ledger, at most a folder
    `<name>.new-…` that nothing reads. Raises `LedgerUnavailable` when the folder exists or cannot be made, `BadKey`
    when `name` cannot name a log, `LedgerError` when the fold refuses an entry, and what `first` raises.
    """
    if os.path.lexists(folder):
        raise LedgerUnavailable(f"{folder} exists: a ledger is founded once")
    building = folder.with_name(f"{folder.name}.new-{outside.entropy(4).hex()}")
    try:
        verifier = _build(Place(building), name, kind, outside, first)
        building.rename(folder)  # fails when another founding was faster: a folder with files is never replaced
        _sync(folder.parent)
    except BaseException as error:
        shutil.rmtree(building, ignore_errors=True)
        if isinstance(error, OSError):
            raise LedgerUnavailable(f"found a ledger at {folder}: {error.strerror}") from error
        raise
    return Founded(Place(folder), verifier)


def _build(
    place: Place, name: str, kind: type[Fold], outside: Surroundings, first: Callable[[Transaction[Fold]], None]
) -> str:
    for path in (place.folder, place.keys, place.run):
        path.mkdir(mode=0o700)
    check_place(place)
    log_key, entry_key = make_key(outside.entropy(32)), make_key(outside.entropy(32))
    store_key(place.keys / LOG_KEY, log_key, for_ssh=True)
    store_key(place.keys / ENTRY_KEY, entry_key)
    origin = f"{name}/{outside.entropy(16).hex()}"
    check_origin(origin)
    verifier = str(LogVerifier(origin, log_key.public))
    (place.keys / VERIFIER).write_text(verifier + "\n", encoding="ascii")
    create(place.database)
    moment = outside.clock()
    with sqlite_errors("found the ledger"), closing(open_writer(place.database)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        reading = Reading(moment.wall, moment, None)
        tx = Transaction(connection, kind.empty(), Head(), reading, Pen(entry_key, outside.entropy))
        _genesis(tx, verifier, log_key, entry_key, outside)
        first(tx)
        tx.end()
        _try_fold(tx)
        connection.execute("COMMIT")
    write_head(place.head, HeadRecord(tx.head.size, tx.head.leaf))
    # The rename must not reach the disk before what it names: an empty verifier or head would bar the ledger.
    for path in (place.keys / VERIFIER, place.head, place.keys, place.folder):
        _sync(path)
    return verifier


def _try_fold(tx: Transaction[Fold]) -> None:
    """A ledger that its own fold refuses could never be opened: it is not founded."""
    try:
        for entry in tx.appended:
            tx.state.apply(entry)
    except FoldError as error:
        raise LedgerError(f"refused to found: {error}") from error


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
