"""Says what a policy can let through at all: asked without a request, answered with one.

Every yes comes with a request that `evaluate` lets through; every no is a proof that none does; what a text alone
cannot tell (patterns, plans, risk, times) is named instead of guessed.
"""

from __future__ import annotations

from keyturn.policy.reach.findings import Finding, findings
from keyturn.policy.reach.who_can import Ability, abilities

__all__ = ["Ability", "Finding", "abilities", "findings"]
