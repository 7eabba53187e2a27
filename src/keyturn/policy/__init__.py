"""Reads a policy text; `evaluate(policy, request, usage, now) → Decision`, pure."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyturn.policy.circumstances import NONE, Circumstances, Override
    from keyturn.policy.evaluation import PERMIT_FOR, amounts_of, evaluate
    from keyturn.policy.explanation import Explanation, RuleTrace, explain, limits_for
    from keyturn.policy.limits import Limit, LimitState
    from keyturn.policy.pinning import pin
    from keyturn.policy.policy import Policy
    from keyturn.policy.queue import Queue
    from keyturn.policy.reading import read_policy
    from keyturn.policy.rules import Approval, Budget, Environment, Forbid, Grant, Person, Reviewer
    from keyturn.policy.screening import screen
    from keyturn.policy.series import LONGEST_WINDOW
    from keyturn.policy.usage import DIMENSIONS, Counts, Scope, Usage, Used

__all__ = [
    "DIMENSIONS",
    "LONGEST_WINDOW",
    "NONE",
    "PERMIT_FOR",
    "Approval",
    "Budget",
    "Circumstances",
    "Counts",
    "Environment",
    "Explanation",
    "Forbid",
    "Grant",
    "Limit",
    "LimitState",
    "Override",
    "Person",
    "Policy",
    "Queue",
    "Reviewer",
    "RuleTrace",
    "Scope",
    "Usage",
    "Used",
    "amounts_of",
    "evaluate",
    "explain",
    "limits_for",
    "pin",
    "read_policy",
    "screen",
]

_MODULES = (
    "circumstances",
    "series",
    "usage",
    "rules",
    "limits",
    "policy",
    "reading",
    "evaluation",
    "explanation",
    "pinning",
    "screening",
)


def __getattr__(name: str) -> object:
    """Load what is asked for when it is: a program that only follows a ledger needs nothing here but `usage`."""
    for module in _MODULES if name in __all__ else ():
        found: object = getattr(importlib.import_module(f"{__name__}.{module}"), name, None)
        if found is not None:
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
