"""Taking evidence out of a home: what is chosen of its ledger, written where somebody asked for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from keyturn.assembly.home import Home
from keyturn.assembly.outward import checkpoint_now
from keyturn.assembly.standing import open_reader
from keyturn.assembly.writing import log_verifier
from keyturn.evidence.bundle import Opening, write_bundle
from keyturn.gateway.desk import Look
from keyturn.log.entry import Entry
from keyturn.log.keys import LogVerifier
from keyturn.log.manifest import EVERYWHERE, Manifest
from keyturn.model.errors import ConfigurationError, Refused

ERASED = "payload.erased"
_EVERY = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Whose payloads are wanted: of entries from `since` to before `until`, of some actions, without some fields."""

    since: datetime | None = None
    until: datetime | None = None
    actions: frozenset[str] | None = None
    withheld: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A bundle that was written: how many entries it holds, and how many its checkpoint covers."""

    manifest: Manifest
    checkpoint: int


class EvidenceShelf:
    """A look at a ledger from which evidence is made; payloads that were erased are not there."""

    def __init__(self, view: Look) -> None:
        self._view = view
        self._erased: set[tuple[Any, Any]] = {
            (entry.facts["entry"], entry.facts["field"]) for entry in view.newest(ERASED, _EVERY)
        }

    def entries(self, first: int, end: int) -> list[Entry]:
        """Return the entries of [first, end)."""
        return self._view.entries(first, end)

    def opening(self, entry: Entry, field: str) -> Opening | None:
        """Return salt and bytes of a payload; None where it was erased. Raises `LedgerBroken`."""
        return None if (entry.seq, field) in self._erased else self._view.opening(entry, field)


def export_bundle(
    home: Home, out: Path, choice: Choice, progress: Callable[[int, int], None] | None = None
) -> Exported:
    """Write a bundle to the new file `out`.

    Its checkpoint is signed now, where the log key is at hand, else the newest there is. Raises `ConfigurationError`
    when the file cannot be made or a field may not be withheld, `Refused` for actions or times that nothing is of,
    `LedgerError` when the ledger cannot be read or no checkpoint was ever signed; nothing is left behind then.
    """
    if structural := choice.withheld & EVERYWHERE:
        raise ConfigurationError(f"{min(structural)} is never withheld: nobody could check the rest without it")
    kept, verifier = checkpoint_now(home), log_verifier(home)

    def write(view: Look) -> Exported:
        manifest = _manifest(view, verifier, choice)
        with new_file(out) as file:
            write_bundle(file, EvidenceShelf(view), manifest, kept.note, progress)
        return Exported(manifest=manifest, checkpoint=kept.checkpoint.size)

    with closing(open_reader(home, "keyturn audit export")) as reader:
        return reader.look(write)


def range_of(view: Look, since: datetime | None, until: datetime | None) -> tuple[int, int]:
    """Return the first and the end of the entries written from `since` to before `until`."""
    first = 0 if since is None else _first_at(view, since)
    return first, view.head.size if until is None else max(first, _first_at(view, until))


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Make a file that only its owner can read, or none at all. Raises `ConfigurationError`."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; name another with --out") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _manifest(view: Look, verifier: LogVerifier, choice: Choice) -> Manifest:
    first, end = range_of(view, choice.since, choice.until)
    if first == end:
        raise Refused("not_found", "no entry was written in that time")
    return Manifest(
        verifier=verifier,
        size=view.head.size,
        first=first,
        end=end,
        actions=choice.actions,
        withheld=choice.withheld,
    )


def _first_at(view: Look, at: datetime) -> int:
    """Return the first entry not written before a time: times in a log do not go back."""
    low, high = 0, view.head.size
    while low < high:
        middle = (low + high) // 2
        if view.entry(middle).at < at:
            low = middle + 1
        else:
            high = middle
    return low
