"""Proof 15: the ledger holds what was brought from outside, each receipt and each tree, to the byte."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from keyturn.log.chain import Head
from keyturn.log.checkpoint import parse_checkpoint
from keyturn.log.entry import Entry
from keyturn.log.keys import LogVerifier
from keyturn.log.note import Note, NoteError
from keyturn.log.tree import ProofError, leaf_hash, verify_inclusion
from keyturn.verifier.brought import Brought, BroughtNote, BroughtProof, BroughtReceipt
from keyturn.verifier.growth import Grown
from keyturn.verifier.notes import Said, believed
from keyturn.verifier.predecessor import Predecessor, hold
from keyturn.verifier.proofs import NotProved
from keyturn.verifier.report import Succeeds
from keyturn.verifier.source import Source
from keyturn.verifier.vouching import Vouching


class Against:
    """Holds the entries against what was brought, each thing when the ledger has reached its size."""

    def __init__(self, brought: Sequence[Brought], *, source: Source, grown: Grown, vouching: Vouching) -> None:
        self._due: dict[int, list[Brought]] = defaultdict(list)
        for item in brought:
            self._due[item.size].append(item)
        self._said: dict[int, Said] = {}
        self._aside: list[BroughtNote] = []
        self._borne_out_by: list[str] = []
        self._source = source
        self._grown = grown
        self._vouching = vouching
        self._agreed = 0

    def open(self, log: LogVerifier) -> None:
        """Prove that all of it is of this log, and the notes its log key's. Raises `NotProved`."""
        for item in [item for items in self._due.values() for item in items]:
            if isinstance(item, BroughtNote) and parse_checkpoint(item.note.text).origin != log.origin:
                self._put_aside(item)
            elif isinstance(item, BroughtReceipt):
                if item.entry.log != log.origin:
                    raise NotProved(0, 15, f"{item.name} is a receipt of another log, {item.entry.log}")
            else:
                self._said[id(item)] = self._read(item.name, _note(item), log)

    def succeeds(self, entry: Entry, before: Predecessor) -> None:
        """Prove of what was put aside that it is the end of the log that a `log.succeeds` entry names.

        Raises `NotProved`, `ConfigurationError`.
        """
        for item in [item for item in self._aside if parse_checkpoint(item.note.text).origin == before.log.origin]:
            hold(before, item.name, item.note)
            self._aside.remove(item)
            self._borne_out_by.append(item.name)

    def succeeded(self, before: Predecessor) -> Succeeds:
        """Return what a report says of the log before, and what was brought that agrees."""
        return Succeeds(
            seq=before.seq,
            log=str(before.log),
            size=before.end.size,
            root=before.end.root.hex(),
            agreed=tuple(self._borne_out_by),
        )

    def check(self, entry: Entry, head: Head) -> None:
        """Prove what is due now that the ledger has reached the size of `head`. Raises `NotProved`."""
        for item in self._due.pop(head.size, ()):
            match item:
                case BroughtReceipt():
                    self._check_receipt(item, entry, head)
                    self._vouching.brought(item.name, "receipt", item.size, head)
                case BroughtNote():
                    self._check_tree(item.name, self._said[id(item)], head)
                    self._vouching.brought(item.name, "checkpoint", item.size, head)
                case BroughtProof():
                    self._check_tree(item.name, self._said[id(item)], head)
                    self._check_proof(item)
                    self._vouching.brought(item.name, "proof", item.size, head)
            self._agreed = head.size

    def end(self, head: Head) -> None:
        """Prove that the ledger reaches as far as everything that was brought. Raises `NotProved`."""
        for item in self._aside:
            raise NotProved(
                0,
                15,
                f"{item.name} is no checkpoint of this log: it is of another log, "
                f"{parse_checkpoint(item.note.text).origin}; one of them was replaced",
            )
        if self._due:
            size = max(self._due)
            raise NotProved(
                head.size,
                15,
                f"{self._due[size][0].name} was kept when there were {size} entries or more, and the ledger has "
                f"{head.size}: entries {head.size} to {size - 1} were cut off or rolled back{self._borne_out()}",
            )

    def _put_aside(self, item: BroughtNote) -> None:
        """Keep a note of another log for the entry that says this one goes on from there."""
        self._due[item.size].remove(item)
        if not self._due[item.size]:
            del self._due[item.size]
        self._aside.append(item)

    def _read(self, name: str, note: Note, log: LogVerifier) -> Said:
        try:
            return believed(note, log, self._vouching.witnesses)
        except NoteError as error:
            raise NotProved(
                0, 15, f"{name} is no checkpoint of this log: {error}; one of them was replaced"
            ) from error

    def _check_receipt(self, item: BroughtReceipt, entry: Entry, head: Head) -> None:
        genuine = self._genuine(item, head)
        if item.entry.body != entry.body:
            whose = (
                "" if genuine else "; no key of this ledger made its signature: it is forged, or keys were replaced"
            )
            raise NotProved(
                entry.seq,
                15,
                f"{item.name} is a receipt of entry {entry.seq}, and another entry stands there: "
                f"{self._rewritten(head.size)}{whose}",
            )
        if not genuine:
            raise NotProved(entry.seq, 15, f"the signature of {item.name} is not the one its key makes of this entry")

    def _genuine(self, item: BroughtReceipt, head: Head) -> bool:
        log = [head.verifier.key] if head.verifier else []
        keys = {key.kid: key for key in (*head.keys.values(), *log)}
        key = keys.get(item.kid)
        return (
            key is not None
            and item.kid == item.entry.kid
            and key.verifies(item.entry.signed_bytes, item.entry.signature)
        )

    def _check_tree(self, name: str, said: Said, head: Head) -> None:
        if said.checkpoint.root != self._grown.root(head.size):
            raise NotProved(
                head.size - 1,
                15,
                f"the first {head.size} entries are not those of {name}: {self._rewritten(head.size)}",
            )
        self._vouching.cosigned(said, head)

    def _check_proof(self, item: BroughtProof) -> None:
        checkpoint, index = self._said[id(item)].checkpoint, item.proof.index
        try:
            leaf = leaf_hash(self._source.row(index).body)
            verify_inclusion(leaf, index, checkpoint.size, item.proof.path, checkpoint.root)
        except ProofError as error:
            raise NotProved(item.size - 1, 15, f"{item.name} does not prove entry {index}: {error}") from error

    def _rewritten(self, size: int) -> str:
        return (
            f"something from entry {self._agreed} to entry {size - 1} was rewritten, or rolled back and written anew"
            f"{self._borne_out()}"
        )

    def _borne_out(self) -> str:
        return f"; the first {self._agreed} are as they were brought" if self._agreed else ""


def _note(item: BroughtNote | BroughtProof) -> Note:
    return item.note if isinstance(item, BroughtNote) else item.proof.note
