"""Payloads that were erased: which entries say so, and what cannot be derived again without them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keyturn import canon
from keyturn.log.chain import parse
from keyturn.log.entry import Entry
from keyturn.verifier.proofs import NotProved, proving
from keyturn.verifier.source import Source

MARK = b'"kind":"payload.erased"'
"""How the body of such an entry says what it is: a body is canonical, so in no other way."""

_NEEDED = ("argument.", "diff", "plan")  # beginnings of the fields that a decision follows from


def named_in(bodies: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """Yield what bodies of entries name as erased: `seq` and field. Nothing of them is proved."""
    for body in bodies:
        if MARK not in body:
            continue
        try:
            value: dict[str, Any] = canon.decode_object(body)
        except canon.CanonError:
            continue  # it fails where it stands
        match value:
            case {"kind": "payload.erased", "entry": int(seq), "field": str(field)}:
                yield seq, field


def missing_for_decision(entry: Entry, payloads: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return the erased fields of an entry without which its decision cannot be derived."""
    return tuple(sorted(name for name in entry.data.keys() - payloads.keys() if name.startswith(_NEEDED)))


class Absent:
    """The payloads, as (`seq`, field), that must be missing: erased ones, and those that a source leaves out."""

    def __init__(self, erased: frozenset[tuple[int, str]], source: Source) -> None:
        self._erased = erased
        self._source = source

    def __contains__(self, what: object) -> bool:
        return what in self._erased or (isinstance(what, tuple) and self._source.withholds(*what))


class Erasures:
    """What the entries of a ledger name as erased, and of which that entry has been met and proved."""

    def __init__(self, source: Source) -> None:
        # Before anything is proved. Each of these entries is proved when its turn comes, or the verdict is FAIL.
        self.named = Absent(frozenset(source.erased()), source)
        self._source = source
        self._met: set[tuple[int, str]] = set()

    def take(self, entry: Entry, busy: Iterable[str | None]) -> None:
        """Prove 9 of a `payload.erased` entry that the fold took; `busy` are the actions that run or are unknown.

        Raises `NotProved`.
        """
        facts: Mapping[str, Any] = entry.facts
        what = facts["entry"], facts["field"]
        if what in self._met:
            raise NotProved(entry.seq, 9, f"payload {what[1]} of entry {what[0]} was erased before")
        with proving(entry.seq, 9):
            row = self._source.row(what[0])
            there = parse(row.seq, row.body, row.signature)
        if what[1] not in there.data:
            raise NotProved(entry.seq, 9, f"entry {what[0]} commits to no payload {what[1]!r} that could be erased")
        if there.action is not None and there.action in busy:
            raise NotProved(entry.seq, 9, f"it erases a payload of action {there.action}, which is not over")
        self._met.add(what)
