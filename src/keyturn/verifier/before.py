"""Proof 17: what ran under a rule with `anchor = "before"` was anchored as an intent before its outcome was recorded.

The rule is looked up in the policy in force as the action begins: it counts where it let the action through when that
was asked for, and where it does so then. An outcome that nobody knows claims no effect; whoever says later that there
was one has to have had the intent anchored before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keyturn.log.entry import Entry
from keyturn.policy import Policy
from keyturn.verifier.notes import Said
from keyturn.verifier.proofs import NotProved
from keyturn.verifier.report import AnchoredBefore


@dataclass(slots=True)
class _Due:
    """An intent that has to be anchored: its entry, and whether it is, and by a witness that the auditor names."""

    intent: int
    anchored: bool = False
    cosigned: bool = False


class Before:
    """The actions under such rules that are not over; `found` counts those with an effect that had their anchor."""

    def __init__(self) -> None:
        self.found = AnchoredBefore()
        self._due: dict[str, _Due] = {}
        self._unknown: dict[str, _Due] = {}

    def started(self, entry: Entry, policy: Policy, *rules: Iterable[str]) -> None:
        """Take an intent; `rules` are those that let it through."""
        if policy.anchors_before(*rules):
            self._due[entry.action or ""] = _Due(entry.seq)

    def recorded(self, entry: Entry, said: Said | None) -> None:
        """Take an `anchor.recorded` entry that was proved to be the tree's, and what its note says."""
        facts: Any = entry.facts
        for due in self._due.values():
            if facts["size"] > due.intent:
                due.anchored = True
                due.cosigned = due.cosigned or (said is not None and bool(said.cosigned))

    def restored(self) -> None:
        """Take a `recovery` of a restored ledger: what was lost may have held the records of what runs."""
        self._due.clear()
        self._unknown.clear()

    def finished(self, entry: Entry) -> None:
        """Take `execution.finished`. Raises `NotProved`."""
        due = self._due.pop(entry.action or "", None)
        if due is None:
            return
        if entry.text("outcome") == "unknown":
            self._unknown[entry.action or ""] = due
        else:
            self._check(entry, due)

    def resolved(self, entry: Entry) -> None:
        """Take `execution.resolved`. Raises `NotProved`."""
        due = self._unknown.pop(entry.action or "", None)
        if due is not None:
            self._check(entry, due)

    def _check(self, entry: Entry, due: _Due) -> None:
        if entry.facts["effect"] is not True:
            return
        if not due.anchored:
            raise NotProved(
                entry.seq,
                17,
                f'its rule says anchor = "before", and no anchor was recorded to have its intent, {due.intent}, '
                "before this outcome",
            )
        actions, cosigned = self.found.actions + 1, self.found.cosigned + due.cosigned
        self.found = AnchoredBefore(actions=actions, cosigned=cosigned)
