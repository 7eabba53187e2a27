"""Reads a policy text; `evaluate(policy, request, usage, now) → Decision`, pure."""

from keyturn.policy.evaluation import PERMIT_FOR, amounts_of, evaluate
from keyturn.policy.explanation import Explanation, RuleTrace, explain, limits_for
from keyturn.policy.limits import Limit, LimitState
from keyturn.policy.pinning import pin
from keyturn.policy.policy import Policy
from keyturn.policy.reading import read_policy
from keyturn.policy.rules import Approval, Budget, Environment, Forbid, Grant, Person, Reviewer
from keyturn.policy.screening import screen
from keyturn.policy.usage import DIMENSIONS, LONGEST_WINDOW, Counts, Scope, Usage, Used

__all__ = [
    "DIMENSIONS",
    "LONGEST_WINDOW",
    "PERMIT_FOR",
    "Approval",
    "Budget",
    "Counts",
    "Environment",
    "Explanation",
    "Forbid",
    "Grant",
    "Limit",
    "LimitState",
    "Person",
    "Policy",
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
