"""Holds a recorded plan against one worked out again from its own change: what was shown must be what would be done.

A plan comes out of the ledger, and whoever holds the key that signs entries can write one there that shows a reviewer
one thing and does another. So a tool works everything a plan shows out once more from `change` and `facts`, right
before the effect, and does nothing where the two differ.
"""

from __future__ import annotations

from keyturn.canon import encode
from keyturn.model.plan import Plan

UNBOUND = frozenset({"guard"})
"""Parts of a plan that nobody reviews: they record what else was seen at planning."""


def disagreeing(plan: Plan, again: Plan) -> str | None:
    """Say which parts of `plan` do not follow from what it would do, as worked out in `again`; None when all do."""
    recorded, followed = plan.to_json(), again.to_json()
    bound = [name for name in recorded if name not in UNBOUND]
    parts = [name for name in bound if encode(recorded[name]) != encode(followed[name])]
    if plan.diff != again.diff:
        parts.append("diff")
    if not parts:
        return None
    return f"the plan does something else than it shows ({', '.join(parts)} would be different); nothing was done"
