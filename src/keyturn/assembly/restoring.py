"""Backing a home's ledger up, putting a copy in its place, and believing a clock again; the last two signed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from keyturn.anchors.judging import Contradicted, difference_from, read_kept
from keyturn.assembly.anchoring import build_anchors, kept_notes
from keyturn.assembly.home import Home, no_home
from keyturn.assembly.outside import entropy, moment, surroundings
from keyturn.assembly.ports import world_of
from keyturn.assembly.standing import kept_verifier, open_desk, remembered_end
from keyturn.assembly.wiring import read_anchors
from keyturn.assembly.writing import log_verifier
from keyturn.fold.state import State
from keyturn.gateway.acts import ActDraft, Sign, sign_act
from keyturn.gateway.desk import Desk
from keyturn.gateway.recoveries import doubted, draft_clock, draft_restored
from keyturn.ledger.copy import copy_ledger, end_of
from keyturn.ledger.errors import LedgerBroken
from keyturn.ledger.head import HeadRecord
from keyturn.ledger.keys import ENTRY_KEY, VERIFIER
from keyturn.ledger.place import Place
from keyturn.ledger.restore import Staged, check_unused, discard, holds, known_end, put_in_place, stage
from keyturn.ledger.writer import Ledger, read_verifier
from keyturn.log.chain import ChainError, Head, verify_signature
from keyturn.log.entry import EntryError, read_entry
from keyturn.log.envelope import EnvelopeError, read_envelope
from keyturn.model.errors import ConfigurationError, ConnectorError, LedgerError
from keyturn.verifier import Report, verify_ledger

Signer: TypeAlias = Callable[[Mapping[str, Sequence[str]]], tuple[str, Sign]]
"""Told who may sign (name → public key lines), gives a name and what signs for it."""

PROGRAM = "keyturn audit restore"
UNKNOWN_LEAF = "0" * 64
"""Stands for the last leaf of a lost ledger of which only the size is known, from an anchor."""
_log = logging.getLogger(__name__)
_DIGITS = 15  # of a size: entries and SQLite count further than any ledger grows


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """A copy as it was verified; `end` is the size and last leaf hash (hex) that it holds."""

    report: Report
    end: HeadRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A ledger that was restored: by whose word, in which entry, what it names as lost, and where the old one is."""

    entry: int
    by: str
    size: int
    missing: HeadRecord | None
    kept: Path | None


class NotProvedWhole(Exception):
    """A copy does not verify; the report says why."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.verdict)
        self.report = report


def back_up(home: Home, to: Path) -> BackedUp:
    """Copy the ledger of a home to a new file and verify the copy; servers may go on meanwhile.

    Raises `ConfigurationError` when the file exists, `NotProvedWhole`, and `LedgerError`.
    """
    verifier, remembered = kept_verifier(home), remembered_end(home)
    try:
        copy_ledger(home.place, to)
    except FileExistsError as error:
        raise ConfigurationError(f"{to} exists; name a new file") from error
    report = _proved(to, verifier, remembered)
    return BackedUp(report=report, end=_end(to))


def restore(home: Home, file: Path, *, expected: str | None, reason: str, signer: Signer) -> Restored:
    """Put the copy `file` in the place of a home's ledger, and have a reviewer sign for it.

    `expected` names the newest entry that somebody knows of: `SIZE:LEAF`, or a file with a receipt. Nothing is
    changed unless all of it succeeds. Raises `NotProvedWhole`, `ConfigurationError`, `Refused` and `LedgerError`.
    """
    place = _require_keys(home)
    check_unused(place)
    before = known_end(place)
    staged = _staged(place, file)
    try:
        _proved(staged.database, read_verifier(place), None)
        with _desk(staged) as desk:
            head = desk.ledger.look(lambda view: view.head)
            missing = _missing(staged, before, None if expected is None else read_end(expected, head))
            missing = _beyond_anchors(home, desk, missing)
            entry, by = _signed(desk, signer, lambda name: draft_restored(desk, missing, reason=reason, by=name))
        size = _end(staged.database).size
        lost = None if missing is None else HeadRecord(*missing)
        placed = put_in_place(place, staged, before, PROGRAM, _name(), missing=lost)
    finally:
        discard(staged)
    return Restored(entry=entry, by=by, size=size, missing=lost, kept=placed.kept)


def recover_clock(home: Home, *, reason: str, signer: Signer) -> tuple[int, str]:
    """Have a reviewer sign that the wall clock is right; returns the entry's place, and who signed.

    Raises `Refused` when nothing is wrong with the clock.
    """
    desk = open_desk(home, "keyturn audit recover-clock")
    with closing(desk.ledger):
        doubted(desk)
        return _signed(desk, signer, lambda name: draft_clock(desk, reason=reason, by=name))


def read_end(expected: str, head: Head) -> HeadRecord:
    """Read `SIZE:LEAF`, or the end that a receipt of the log of `head` proves. Raises `ConfigurationError`."""
    size, colon, leaf = expected.partition(":")
    if colon and size.isascii() and size.isdigit() and len(leaf) == 64 and set(leaf) <= set("0123456789abcdef"):
        if len(size) > _DIGITS or int(size) == 0:
            raise ConfigurationError(f"--expect {expected[:100]}: a ledger had from 1 to {_DIGITS} digits of entries")
        return HeadRecord(int(size), leaf)
    try:
        value = json.loads(Path(expected).read_bytes())
        envelope = read_envelope(value if isinstance(value, dict) else {})
        entry = read_entry(envelope.body, envelope.signature)
    except (OSError, ValueError, EnvelopeError, EntryError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(
            f"--expect {expected[:4096]}: neither SIZE:LEAF (64 hex digits) nor a file with a receipt: {why}"
        ) from error
    try:
        verify_signature(head, entry)
    except ChainError as error:
        raise ConfigurationError(f"--expect {expected}: it is no receipt of the log of the copy: {error}") from error
    return HeadRecord(entry.seq + 1, entry.leaf)


def _staged(place: Place, file: Path) -> Staged:
    try:
        return stage(place, file, _name())
    except LedgerBroken:
        _proved(file, read_verifier(place), None)  # it says more
        raise


def _signed(desk: Desk, signer: Signer, draft: Callable[[str], ActDraft]) -> tuple[int, str]:
    force = desk.ledger.look(lambda view: view.state.policy)
    name, sign = signer(force.reviewers if force else {})
    return sign_act(desk.ledger, draft(name), sign).seq, name


def _missing(staged: Staged, before: HeadRecord | None, expected: HeadRecord | None) -> tuple[int, str] | None:
    """Return the newest end anybody knows of, unless the copy holds it."""
    known = max((end for end in (before, expected) if end is not None), key=lambda end: end.size, default=None)
    if known is None or holds(staged.database, known):
        return None
    return known.size, known.leaf


def _beyond_anchors(home: Home, desk: Desk, missing: tuple[int, str] | None) -> tuple[int, str] | None:
    """Return what is missing, as far as an anchor knows of more: then its size, for no anchor knows the last leaf.

    Raises `LedgerBroken` where an anchor keeps a checkpoint under the log's name by another key.
    """
    if not home.wiring.exists() or not (declared := read_anchors(home.wiring)):
        return missing
    verifier = log_verifier(home)
    for one, note in kept_notes(build_anchors(declared, world_of(home, commands=True)), verifier):
        try:
            checkpoint = read_kept(note, verifier)
        except Contradicted as error:
            raise LedgerBroken(f"{one.title}: {error}") from error
        except ConnectorError as error:
            _log.warning("%s: %s", one.title, str(error))
            continue
        lost = desk.ledger.look(lambda view, checkpoint=checkpoint: difference_from(view, checkpoint))  # type: ignore[misc]  # bound now
        if lost is not None and (missing is None or missing[0] < checkpoint.size):
            missing = checkpoint.size, UNKNOWN_LEAF
    return missing


@contextmanager
def _desk(place: Place) -> Iterator[Desk]:
    with closing(Ledger(place, State, surroundings(PROGRAM))) as ledger:
        yield Desk(ledger=ledger, entropy=entropy)


def _require_keys(home: Home) -> Place:
    """Refuse a folder that is no home, and one whose keys are gone: they are in no copy of a ledger."""
    place = home.place
    if not place.folder.exists():
        raise ConfigurationError(no_home(home.folder))
    for name in (VERIFIER, ENTRY_KEY):
        if not (place.keys / name).exists():
            raise ConfigurationError(
                f"{place.keys / name} is missing: put state/keys back first; a backup of the ledger holds no keys"
            )
    return place


def _proved(database: Path, verifier: str, head: tuple[int, str] | None) -> Report:
    report = verify_ledger(database, pinned=verifier, head=head)
    if report.verdict == "FAIL":
        raise NotProvedWhole(report)
    return report


def _end(database: Path) -> HeadRecord:
    end = end_of(database)
    if end is None:
        raise LedgerError(f"{database} holds no entry")
    return end


def _name() -> str:
    return f"{moment().wall:%Y%m%dT%H%M%SZ}-{entropy(3).hex()}"
