"""Retention: one signed entry takes the payloads of all entries before a place, in one environment or in all.

Which payloads are gone follows from the entry alone: those of every entry below `before` that belongs to the
environment it names (or of every entry, if it names none), but for what the log cannot be read without. An entry
belongs to the environment it states, and what comes after a request to that of the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keyturn import canon
from keyturn.approvals.action import Action
from keyturn.fold.signatures import Act
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused

PRUNE = "payload.prune"


def pruning(facts: Mapping[str, Any]) -> Act:
    """Return what a person signs for a `payloads.pruned` entry."""
    before, environment = facts["before"], facts["environment"]
    content = canon.digest({"basis": facts["basis"], "before": before, "environment": environment})
    return Act(verb=PRUNE, object=str(before), digest=content)


def check_prunable(facts: Mapping[str, Any], size: int, open_actions: Iterable[Action]) -> None:
    """Refuse to prune what is not there yet, and what an action needs that is not over."""
    before, environment = facts["before"], facts["environment"]
    if before > size:
        raise Refused("not_there", f"there is no entry {before - 1} yet to prune")
    for action in open_actions:
        if action.seq < before and environment in {None, action.environment}:
            raise Refused("not_over", f"action {action.id} is not over: what it needs is not pruned")


def environment_of(entry: Entry, actions: Mapping[str, Action]) -> str | None:
    """Return the environment that an entry belongs to, None for what belongs to none.

    `actions` are those that the entries before it left; an entry of an action that is none of them cannot stand.
    """
    own = entry.facts.get("environment")
    if isinstance(own, str):
        return own
    action = actions.get(entry.action or "")
    return None if action is None else action.environment
