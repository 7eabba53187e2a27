"""Putting a copy in the place of a ledger: whole or not at all, and the old one kept.

1. The copy is made ready beside the ledger, in a folder of its own that is a ledger's place like `state/`: there it
   is verified, and the signed `recovery` entry is appended to it.
2. Under the ledger lock, with nobody having the old file open: the old files get a second name in `replacing-…`.
3. The head record is brought to the end that the new ledger holds or names as lost: the old one's, as a rule.
4. One rename puts the new file in the place of the old. Before it there is the old ledger and after it the new one.
5. The head record follows, and `replacing-…` becomes `replaced-…`.

A crash between 4 and 5 leaves the record of 3: where the new ledger does not hold that end, its recovery names it as
lost, with a person's signature, and so every process accepts it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from keyturn.ledger.copy import copy_file, end_of, sync
from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable, sqlite_errors
from keyturn.ledger.head import HeadRecord, read_head, write_head
from keyturn.ledger.lock import held, take_instance
from keyturn.ledger.place import Place
from keyturn.ledger.rows import read_entry_at
from keyturn.ledger.schema import open_reader, open_writer
from keyturn.model.errors import LedgerError

STAGED, REPLACING, REPLACED = "restoring-", "replacing-", "replaced-"
_BODIES = "SELECT seq, body FROM entry ORDER BY seq DESC"
_RECOVERY = b'"kind":"recovery"'
# SQLite's file format: every connection in WAL mode holds a shared lock on these bytes for as long as it is open.
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510
_BESIDE = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Placed:
    """A copy in its place: where the old ledger is kept, None where there was none."""

    kept: Path | None


@dataclass(frozen=True, slots=True)
class Staged(Place):
    """A copy made ready beside a ledger: a place of its own, with the keys of the other."""

    beside: Place

    @property
    def keys(self) -> Path:
        """The folder of private keys of the ledger it is to replace."""
        return self.beside.keys


def accepts_loss(connection: sqlite3.Connection, record: HeadRecord) -> bool:
    """Tell whether a recovery in the ledger names exactly this end as lost. Whose word that is, the fold proves."""
    lost = {"size": record.size, "leaf": record.leaf}
    places = (seq for seq, body in connection.execute(_BODIES) if _RECOVERY in body)
    entries = (read_entry_at(connection, seq) for seq in places)
    return any(entry.kind == "recovery" and entry.facts["missing"] == lost for entry in entries)


def known_end(place: Place) -> HeadRecord | None:
    """Return the newest end of the present ledger that anything here knows of: its file, or its head record."""
    found = []
    with suppress(LedgerError):
        found.append(end_of(place.database))
    with suppress(LedgerError):
        found.append(read_head(place.head))
    return max((end for end in found if end is not None), key=lambda end: end.size, default=None)


def holds(database: Path, end: HeadRecord) -> bool:
    """Tell whether a ledger file has the entry that `end` names as the last. Raises `LedgerError`."""
    with sqlite_errors(f"read {database}"), closing(open_reader(database)) as connection:
        row = connection.execute("SELECT leaf FROM entry WHERE seq = ?", (end.size - 1,)).fetchone()
    return row is not None and row[0].hex() == end.leaf


def stage(place: Place, source: Path, name: str) -> Staged:
    """Make a copy of the file `source` ready in `restoring-<name>` of the state folder, with the keys of the home.

    Nothing in it is proved. Raises `LedgerError`; what was begun is taken away then.
    """
    staged = Staged(place.folder / f"{STAGED}{name}", place)
    try:
        staged.folder.mkdir(mode=0o700)
        copy_file(source, staged.database)
        write_head(staged.head, _end(staged))
    except BaseException as error:
        discard(staged)
        if isinstance(error, OSError):
            raise LedgerUnavailable(f"{staged.folder}: {error.strerror}") from error
        raise
    return staged


def discard(staged: Staged) -> None:
    """Take a staged copy away."""
    shutil.rmtree(staged.folder, ignore_errors=True)


def check_unused(place: Place) -> None:
    """Refuse while a process serves, executes or has the ledger open. Raises `LedgerUnavailable` naming the file."""
    for path in sorted(place.run.iterdir()) if place.run.is_dir() else ():
        if path.is_file() and not path.is_symlink() and path.suffix != ".log":
            _check_free(place, path)
    if place.database.exists() and _is_open(place.database):
        raise LedgerUnavailable(
            f"{place.database} is open in another process: end the servers, workers and commands of this home first"
        )


def put_in_place(
    place: Place,
    staged: Staged,
    before: HeadRecord | None,
    program: str,
    name: str,
    *,
    missing: HeadRecord | None = None,
) -> Placed:
    """Put a staged ledger in place of the one whose end was `before`; the old one is kept in `replaced-<name>`.

    `missing` is the end that the staged ledger's recovery names as lost; without one it holds `before`. Raises
    `LedgerUnavailable` where somebody uses the old one or has written to it meanwhile; nothing is changed then.
    """
    with held(place.lock, program):
        check_unused(place)
        if known_end(place) != before:
            raise LedgerUnavailable("the ledger has moved on since its end was looked up; try again")
        try:
            return _put(place, staged, name, missing or before)
        except OSError as error:
            raise LedgerUnavailable(f"{error.filename or place.folder}: {error.strerror}; run it again") from error


def _put(place: Place, staged: Staged, name: str, known: HeadRecord | None) -> Placed:
    _settle_leftovers(place, staged)
    with closing(open_writer(staged.database)) as connection:
        _fold(connection)
    end = _end(staged)
    aside = _put_aside(place, name)
    _record(place, staged, known or _beginning(staged))
    # What is left of the old write-ahead log must be gone before the new file has the name: SQLite would take it for
    # the new file's own. It has another name in `aside` by now.
    for suffix in _BESIDE:
        place.database.with_name(place.database.name + suffix).unlink(missing_ok=True)
    sync(staged.database)
    sync(place.folder)
    staged.database.rename(place.database)
    sync(place.folder)
    _record(place, staged, end)
    kept = None if aside is None else aside.rename(aside.with_name(f"{REPLACED}{name}"))
    sync(place.folder)
    return Placed(kept)


def _record(place: Place, staged: Staged, record: HeadRecord) -> None:
    """Replace the head record, at once and durably, unless it says so already."""
    with suppress(LedgerBroken):
        if read_head(place.head) == record:
            return
    staged.head.unlink(missing_ok=True)
    write_head(staged.head, record)
    sync(staged.head)
    staged.head.rename(place.head)


def _beginning(staged: Staged) -> HeadRecord:
    """Return an end that every ledger of this log has had: all there is to record where nothing is known."""
    with sqlite_errors(f"read {staged.database}"), closing(open_reader(staged.database)) as connection:
        return HeadRecord(1, read_entry_at(connection, 0).leaf)


def _end(staged: Staged) -> HeadRecord:
    end = end_of(staged.database)
    if end is None:
        raise LedgerBroken("the copy holds no entry")
    return end


def _put_aside(place: Place, name: str) -> Path | None:
    """Give the old files a second name, so that there is a ledger in place at every moment."""
    old = place.database
    if not old.exists():
        return None
    aside = place.folder / f"{REPLACING}{name}"
    try:
        _keep_all(place, aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return aside


def _keep_all(place: Place, aside: Path) -> None:
    old = place.database
    aside.mkdir(mode=0o700)
    for path in (old, *(old.with_name(old.name + suffix) for suffix in _BESIDE), place.head):
        if path.exists():
            _keep(path, aside / path.name)
            sync(aside / path.name)
    for folder in (aside, place.folder):
        sync(folder)
    # Only now: SQLite throws away a log that it takes for none of the file's. Folded in, it is not needed any more.
    if _folded(old):
        for suffix in _BESIDE:
            (aside / f"{old.name}{suffix}").unlink(missing_ok=True)
    if _is_open(old):
        raise LedgerUnavailable(f"{old} is open in another process: end it first")


def _keep(path: Path, to: Path) -> None:
    """Give a file a second name, or, where the file system has none or it will be written in place, copy it."""
    if path.suffix == ".db":
        with suppress(OSError):
            os.link(path, to)
            return
    shutil.copy(path, to)


def _folded(database: Path) -> bool:
    """Fold the write-ahead log into its file, if it is sound: then the file stands alone."""
    try:
        with closing(open_writer(database)) as connection:
            _fold(connection)
    except LedgerError:
        return False
    return True


def _fold(connection: sqlite3.Connection) -> None:
    """Bring all there is into the one file. Raises `LedgerUnavailable` while somebody else is at work in it.

    The file stays in WAL mode, so that whoever has it open is noticed, readers too; and to leave that mode takes a
    rollback journal for a moment, with which no reader could open it after a kill.
    """
    with sqlite_errors("fold the write-ahead log"):
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise LedgerUnavailable("the write-ahead log is in use by another process")


def _settle_leftovers(place: Place, staged: Staged) -> None:
    """See to what an interrupted restore left: copies go; an old ledger, or a log of it, with no other name stays."""
    for folder in _folders(place, STAGED):
        if folder != staged.folder:
            shutil.rmtree(folder, ignore_errors=True)
    for folder in _folders(place, REPLACING):
        kept = folder / place.database.name
        if (
            kept.exists()
            and place.database.exists()
            and kept.samefile(place.database)
            and not _has_log(folder, place)
        ):
            shutil.rmtree(folder)
        else:
            folder.rename(folder.with_name(folder.name.replace(REPLACING, REPLACED, 1)))


def _has_log(folder: Path, place: Place) -> bool:
    """Tell whether a folder keeps a write-ahead log: what is in it may be nowhere else."""
    log = folder / f"{place.database.name}-wal"
    return log.exists() and log.stat().st_size > 0


def _folders(place: Place, prefix: str) -> Iterator[Path]:
    return (path for path in sorted(place.folder.iterdir()) if path.name.startswith(prefix) and path.is_dir())


def _check_free(place: Place, path: Path) -> None:
    lock = take_instance(place.run, path.name)
    if lock is None:
        raise LedgerUnavailable(f"{path} is held by a process: end the servers and workers of this home first")
    lock.release()


def _is_open(database: Path) -> bool:
    try:
        descriptor = os.open(database, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise LedgerUnavailable(f"{database}: {error.strerror}") from error
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
