"""Payloads that were erased or pruned: which entries say so, and what cannot be derived again without them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keyturn import canon
from keyturn.fold.erasure import STRUCTURAL
from keyturn.log.chain import parse
from keyturn.log.entry import Entry
from keyturn.verifier.lives import Intent
from keyturn.verifier.proofs import NotProved, proving
from keyturn.verifier.source import Named, Pruned, Source

MARKS = (b'"kind":"payload.erased"', b'"kind":"payloads.pruned"')
"""How the bodies of such entries say what they are: a body is canonical, so in no other way."""

_SAID = (b'"', b",", b"[", b"{")
_MOST_SAID = 8192
"""Of the marks in `_SAID`: more than an entry of these kinds holds, whose texts are short and which has no lists."""
_NEEDED = ("argument.", "diff", "plan")  # beginnings of the fields that a decision follows from


def named_in(bodies: Iterable[bytes]) -> Iterator[Named]:
    """Yield what bodies of entries name as gone: single payloads, and prunings. Nothing of them is proved."""
    for body in bodies:
        # Read before anything is proved: a body that is of none of these kinds, or of no form, must not cost much.
        if not any(mark in body for mark in MARKS) or sum(map(body.count, _SAID)) > _MOST_SAID:
            continue
        try:
            value: dict[str, Any] = canon.decode_object(body)
        except canon.CanonError:
            continue  # it fails where it stands
        match value:
            case {"kind": "payload.erased", "entry": int(seq), "field": str(field)}:
                yield seq, field
            case {"kind": "payloads.pruned", "environment": str() | None as environment, "before": int(before)}:
                yield Pruned(environment, before)


def missing_for_decision(entry: Entry, payloads: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return the erased fields of an entry without which its decision cannot be derived."""
    return tuple(sorted(name for name in entry.data.keys() - payloads.keys() if name.startswith(_NEEDED)))


class Absent:
    """The payloads that must be missing: erased and pruned ones, and those that a source leaves out."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._erased: set[tuple[int, str]] = set()
        self._bounds: dict[str | None, int] = {}
        for named in source.erased():
            match named:
                case Pruned(environment, before):
                    self._bounds[environment] = max(before, self._bounds.get(environment, 0))
                case seq, field:
                    self._erased.add((seq, field))

    def covers(self, entry: Entry, field: str, environment: str | None) -> bool:
        """Tell whether a payload of an entry of this environment must be missing."""
        return (
            (entry.seq, field) in self._erased
            or (field not in STRUCTURAL and self._is_pruned(entry.seq, environment))
            or self._source.withholds(entry.seq, field)
        )

    def _is_pruned(self, seq: int, environment: str | None) -> bool:
        return seq < self._bounds.get(None, 0) or seq < self._bounds.get(environment, 0)


class Erasures:
    """What the entries of a ledger name as gone, and of which that entry has been met and proved."""

    def __init__(self, source: Source) -> None:
        # Before anything is proved. Each of these entries is proved when its turn comes, or the verdict is FAIL.
        self.named = Absent(source)
        self._source = source
        self._met: set[tuple[int, str]] = set()
        self._pruned: dict[str | None, int] = {}

    def prune(self, entry: Entry, busy: Iterable[Intent]) -> None:
        """Prove 9 of a `payloads.pruned` entry that the fold took; `busy` are the actions that run or are unknown.

        Raises `NotProved`.
        """
        facts: Mapping[str, Any] = entry.facts
        environment, before = facts["environment"], facts["before"]
        if before <= max(self._pruned.get(environment, 0), self._pruned.get(None, 0)):
            raise NotProved(entry.seq, 9, "it prunes nothing that was not pruned before")
        early = [one.action for one in busy if one.seq < before and environment is None]
        if early:
            raise NotProved(entry.seq, 9, f"it prunes payloads of action {early[0]}, which is not over")
        self._pruned[environment] = before

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
