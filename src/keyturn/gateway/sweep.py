"""Writing down what nobody has to decide: actions that expired, and what the policy suspends by itself."""

from __future__ import annotations

from keyturn.gateway.core import Gateway, Job
from keyturn.gateway.tightening import overdue, tighten


class NotSwept(Exception):
    """A job may not decide yet: what is due must have its entries first."""


def swept(gate: Gateway, tx: Job) -> None:
    """See that nothing is due any more that a decision depends on. Raises `NotSwept`: then `catch_up` comes first."""
    # What has expired still holds its reservation until its entry is there.
    if tx.state.overdue(tx.now) or overdue(gate, tx):
        raise NotSwept


def catch_up(gate: Gateway, tx: Job) -> None:
    """Write all that is due."""
    sweep(tx)
    tighten(gate, tx)


def sweep(tx: Job) -> int:
    """Append `action.expired` for every action that has expired; return how many there were."""
    overdue = tx.state.overdue(tx.now)
    for action in overdue:
        tx.append("action.expired", {}, action=action.id)
    return len(overdue)
