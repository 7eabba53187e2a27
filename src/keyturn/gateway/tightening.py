"""Suspending by itself what the policy in force wants suspended while something is wrong; a person lifts it.

Each transaction that lets anything begin looks first, so no process decides on what another has not noticed yet.
"""

from __future__ import annotations

from keyturn.fold.degrading import scope_of, still_due
from keyturn.gateway.core import Gateway, Job, Look
from keyturn.gateway.review import Actor
from keyturn.gateway.suspensions import Halted, halt
from keyturn.policy.degrade import Due


def overdue(gate: Gateway, view: Look) -> tuple[Due, ...]:
    """Return what the policy in force wants suspended now and is not, as far as it wants."""
    return tuple(still_due(gate.policies.in_force(view).degrade, view.state, view.now))


def tighten(gate: Gateway, tx: Job) -> Halted | None:
    """Suspend the first of what the policy in force wants suspended now; return what came of it, None if all is.

    One in a transaction: what it suspends and cancels is not yet in the fold that the next would be held against.
    """
    item = next(iter(overdue(gate, tx)), None)
    if item is None:
        return None
    return halt(tx, scope_of(item), item.mode, Actor("policy", item.rule), f"{item.rule}: {item.why}")
