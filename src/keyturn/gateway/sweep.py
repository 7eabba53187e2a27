"""Writing down what time alone has decided: actions that expired."""

from __future__ import annotations

from keyturn.gateway.core import Job


class NotSwept(Exception):
    """A job may not decide yet: expired actions must have their entries first."""


def sweep(tx: Job) -> int:
    """Append `action.expired` for every action that has expired; return how many there were."""
    overdue = tx.state.overdue(tx.now)
    for action in overdue:
        tx.append("action.expired", {}, action=action.id)
    return len(overdue)
