"""What `[degrade]` of a policy wants suspended and is not: asked before anything begins, and by the verifier."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from keyturn.fold.state import State
from keyturn.fold.suspensions import Scope, stricter
from keyturn.policy.degrade import Due, Tightening, due


def still_due(rules: tuple[Tightening, ...], state: State, now: datetime) -> Iterator[Due]:
    """Yield what the rules want suspended at `now` and is not, or less than they want."""
    if not rules:
        return
    for item in due(rules, state.alarms(), now):
        if stricter(state.suspensions.of(scope_of(item)), item.mode):
            yield item


def scope_of(item: Due) -> Scope:
    """Return the scope that a rule wants suspended."""
    return Scope("all") if item.environment is None else Scope("environment", item.environment)
