"""Taking evidence out of a home: what is chosen of its ledger, written where somebody asked for it."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from keyturn import canon
from keyturn.assembly.home import Home
from keyturn.assembly.outward import checkpoint_now
from keyturn.assembly.standing import open_reader
from keyturn.assembly.writing import log_verifier
from keyturn.evidence.bundle import Opening, cosigned, write_bundle
from keyturn.evidence.exports import cef_lines, json_lines, ocsf_lines
from keyturn.evidence.proving import Evidence, files_of
from keyturn.evidence.statements import Attester, statement_lines
from keyturn.gateway.desk import Look
from keyturn.gateway.finding import find_beginning, find_entries
from keyturn.ledger.keychain import Keychain
from keyturn.log.checkpoint import parse_checkpoint
from keyturn.log.entry import Entry
from keyturn.log.keys import LogVerifier, VerifyKey
from keyturn.log.manifest import EVERYWHERE, Manifest
from keyturn.log.note import Note, parse_note
from keyturn.model.errors import ConfigurationError, LedgerError, Refused

_EVERY = 2**53  # more than there are entries
_CHUNK = 256  # entries read at once
_ANCHORS = 64  # newest records of anchors that are looked at


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
            write_bundle(file, view, manifest, kept.note, progress)
        return Exported(manifest=manifest, checkpoint=kept.checkpoint.size)

    with closing(open_reader(home, "keyturn audit export")) as reader:
        return reader.look(write)


def export_lines(
    home: Home, out: Path, choice: Choice, form: str, progress: Callable[[int, int], None] | None = None
) -> int:
    """Write entries as lines of `form` ("jsonl", "ocsf", "cef", "in-toto") to the new file `out`; return how many.

    Raises as `export_bundle` does, but needs no checkpoint. The entry key signs statements (in-toto).
    """

    def write(view: Look) -> int:
        first, end = range_of(view, choice.since, choice.until)
        count = 0
        with new_file(out) as file:
            for line in _lines(home, view, _chosen(view, choice, (first, end), progress), choice, form):
                file.write(f"{line}\n".encode())
                count += 1
        return count

    with closing(open_reader(home, "keyturn audit export")) as reader:
        return reader.look(write)


def _chosen(
    view: Look, choice: Choice, span: tuple[int, int], progress: Callable[[int, int], None] | None
) -> Iterator[Entry]:
    begin, stop = span
    for first in range(begin, stop, _CHUNK):
        end = min(first + _CHUNK, stop)
        yield from (e for e in view.entries(first, end) if choice.actions is None or e.action in choice.actions)
        if progress is not None:
            progress(end - begin, stop - begin)


def _lines(home: Home, view: Look, chosen: Iterator[Entry], choice: Choice, form: str) -> Iterator[str]:
    if form == "in-toto":
        key = Keychain(home.place.keys).signing(view.head)
        attester = Attester(verifier=log_verifier(home), kid=key.public.kid, sign=key.sign)
        opening = partial(_opening, view, choice)
        return statement_lines(chosen, opening, attester)
    if form == "jsonl":
        return json_lines(chosen, lambda entry, name: None if name in choice.withheld else view.payload(entry, name))
    # Entries of one action stand near each other: what began lately is asked for again and again.
    begun = lru_cache(maxsize=_CHUNK)(lambda action: find_beginning(view, action))
    return {"ocsf": ocsf_lines, "cef": cef_lines}[form](chosen, begun, version("keyturn"))


def _opening(view: Look, choice: Choice, entry: Entry, name: str) -> Opening | None:
    return None if name in choice.withheld else view.opening(entry, name)


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


def prove_action(home: Home, action: str, folder: Path, withheld: frozenset[str]) -> int:
    """Write the evidence of one action into the new folder; return how many files.

    Raises `Refused` ("not_found") for an unknown action, `ConfigurationError` when the folder cannot be made, and
    `LedgerError` as `export_bundle` does.
    """
    kept, verifier = checkpoint_now(home), log_verifier(home)

    def evidence(view: Look) -> list[tuple[str, bytes]]:
        story = find_entries(view, action)
        if not story:
            raise Refused("not_found", f"there is no action {action}")
        keys = _admitting(view, {entry.kid for entry in story})
        return list(
            files_of(
                Evidence(
                    verifier=verifier,
                    story=story,
                    keys=keys,
                    note=_best_note(view, kept.note, story[-1].seq + 1),
                    include=view.tree.inclusion,
                    opening=lambda entry, name: None if name in withheld else view.opening(entry, name),
                    gone=view.erased,
                )
            )
        )

    with closing(open_reader(home, "keyturn audit prove")) as reader:
        files = reader.look(evidence)
    write_folder(folder, files)
    return len(files)


def carried_by_none(home: Home, fields: Iterable[str]) -> list[str]:
    """Return those of `fields` that no entry of the log carries as a payload: withholding them leaves nothing out."""
    missing = set(fields)

    def search(view: Look) -> list[str]:
        for first in range(0, view.head.size if missing else 0, _CHUNK):
            for entry in view.entries(first, min(first + _CHUNK, view.head.size)):
                missing.difference_update(entry.data)
            if not missing:
                break
        return sorted(missing)

    with closing(open_reader(home, "keyturn audit export")) as reader:
        return reader.look(search)


def write_folder(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files into a new folder that only its owner can enter. Raises `ConfigurationError`."""
    try:
        folder.mkdir(mode=0o700)
        for name, data in files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    except OSError as error:
        raise ConfigurationError(f"{folder}: {error.strerror}; name a new folder with --out") from error


def signers_at(home: Home) -> dict[str, tuple[str, ...]]:
    """Return whose keys the policy in force lists: person → lines of public keys."""
    with closing(open_reader(home, "keyturn audit signers")) as reader:
        return reader.look(lambda view: dict(view.state.policy.reviewers) if view.state.policy else {})


def _admitting(view: Look, kids: set[str]) -> list[Entry]:
    """Return the entries that admitted these entry keys."""
    added = view.newest("key.added", _EVERY)
    return [entry for entry in reversed(added) if VerifyKey(base64.b64decode(entry.text("key"))).kid in kids]


def _best_note(view: Look, newest: bytes, size: int) -> Note:
    """Return a checkpoint of `size` entries or more: one that most have cosigned, else the newest."""
    recorded = [view.payload(entry, "anchor.note") for entry in view.newest("anchor.recorded", _ANCHORS)]
    notes = [parse_note(newest), *(parse_note(str(canon.decode(note)).encode()) for note in recorded if note)]
    enough = [note for note in notes if parse_checkpoint(note.text).size >= size]
    if not enough:
        raise LedgerError("no checkpoint covers the whole action yet: sign one where the log key is")
    return max((cosigned(note, notes) for note in enough), key=lambda note: len(note.signatures))
