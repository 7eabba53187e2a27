"""Proof 9 a second time for suspensions: what was stopped when, held against what went on all the same.

Shares no rule with the fold, as `keyturn.verifier.lives` does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.log.entry import Entry
from keyturn.verifier.proofs import NotProved

_SUBJECTS = ("principal", "tool", "environment")


class Halts:
    """The scopes that are suspended: scope as (type, name) → the digest of its entry, and whether reads go on."""

    def __init__(self) -> None:
        self._set: dict[tuple[str, str | None], tuple[str, bool]] = {}

    def suspended(self, entry: Entry) -> None:
        """Take `suspension.set`: nothing is ever given back by it."""
        scope, reads = _scope(entry), entry.facts["mode"] == "read-only"
        if (scope[0] == "all") == (scope[1] is not None):
            raise NotProved(entry.seq, 9, "it suspends what is no scope")
        _, reads_before = self._set.get(scope, ("", True))
        if scope in self._set and (reads or not reads_before):
            raise NotProved(entry.seq, 9, "it suspends what was suspended no less before")
        self._set[scope] = entry.digest, reads

    def lifted(self, entry: Entry) -> None:
        """Take `suspension.lifted`; whose signature it carries, the fold proves."""
        if self._set.pop(_scope(entry), None) is None:
            raise NotProved(entry.seq, 9, "it lifts a suspension that is not there")

    def check(self, entry: Entry, about: Entry, *, reads: bool = False) -> None:
        """Prove that nothing kept `entry` from happening to what `about` names; `reads` for a read."""
        facts: Mapping[str, Any] = about.facts
        mine = {("all", None), *((subject, facts[subject]) for subject in _SUBJECTS)}
        for scope in mine & self._set.keys():
            if not (reads and self._set[scope][1]):
                named = " ".join(filter(None, scope))
                raise NotProved(entry.seq, 9, f"{entry.kind} although {named} was suspended")


def _scope(entry: Entry) -> tuple[str, str | None]:
    scope: Any = entry.facts["scope"]
    return scope["type"], scope["name"]
