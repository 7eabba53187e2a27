"""Erasing a payload: what a person signs for, and which payloads what comes after may still need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keyturn import canon
from keyturn.approvals.action import Action
from keyturn.fold.signatures import Act
from keyturn.model.errors import Refused

ERASE = "payload.erase"
STRUCTURAL = frozenset({"policy.files", "catalog.files", "anchor.note", "anchor.token", "predecessor.note"})
"""Payloads without which the log cannot be read: rules, contracts, what anchors gave, how the log before ended."""


def erasure(facts: Mapping[str, Any]) -> Act:
    """Return what a person signs for a `payload.erased` entry."""
    place: int = facts["entry"]
    content = canon.digest({"basis": facts["basis"], "entry": place, "field": facts["field"]})
    return Act(verb=ERASE, object=f"{place}:{facts['field']}", digest=content)


def check_erasable(facts: Mapping[str, Any], size: int, open_actions: Iterable[Action]) -> None:
    """Refuse to erase what is not there yet, what the log rests on, and what an action needs that is not over."""
    place, field = facts["entry"], facts["field"]
    if place >= size:
        raise Refused("not_there", f"there is no entry {place} yet to erase anything from")
    if field in STRUCTURAL:
        raise Refused("structural", f"{field} is never erased: the log cannot be read without it")
    for action in open_actions:
        if place in _entries_of(action):
            raise Refused("not_over", f"action {action.id} is not over: what it needs is not erased")


def _entries_of(action: Action) -> set[int]:
    started = {action.started.seq} if action.started is not None else set()
    return {action.seq, *started, *(review.seq for review in action.reviews)}
