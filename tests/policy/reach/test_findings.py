"""What `check` finds is true: held against trying every request of small worlds.

1. It never calls a rule unreachable or unsatisfiable that some request reaches.
2. A redundant rule can be left out without changing any decision.
3. A grant that is said to be asked about anyway never lets anything run without a review.
"""

from __future__ import annotations

from hypothesis import given, settings

from keyturn.model.decision import Decision, Deny, Hold, Permit
from keyturn.policy import Policy
from keyturn.policy.evaluation import located
from keyturn.policy.reach.findings import Finding, findings
from keyturn.policy.subject import planned
from keyturn.policy.where import Applies
from tests.policy.reach.small_worlds import ATOMS, PRINCIPALS, SETTLED, Text, judged, some_rules
from tests.policy.world import NOW


def found(rules: Policy) -> dict[str, Finding]:
    return {one.rule: one for one in findings(rules, NOW)}


def applying(rules: Policy, text: Text, principal: str) -> set[str]:
    """Every rule that some request reaches: forbids that apply, and grants that apply and are not forbidden."""
    reached: set[str] = set()
    for request in text.requests(principal):
        environment = located(rules, request)
        if isinstance(environment, Deny):
            continue
        subject = planned(request, rules.principals[principal], environment, NOW)
        forbids = [f for f in rules.forbids_for(principal, "set_flag") if isinstance(f.judge(subject), Applies)]
        reached |= {rule.id for rule in forbids}
        if not any(not rule.shadow for rule in forbids):
            grants = rules.grants_for(principal, "set_flag")
            reached |= {rule.id for rule in grants if isinstance(rule.judge(subject), Applies)}
    return reached


def said(decision: Decision) -> object:
    """What a decision comes to, whichever rules say it."""
    asked = {(o.quorum, o.sources, o.keys) for o in decision.obligations} if isinstance(decision, Hold) else set()
    return type(decision), decision.environment, asked


@settings(max_examples=60, deadline=None)
@given(some_rules([*SETTLED, *ATOMS], grants=4, forbids=3))
def test_what_is_found_is_true_of_every_request(text: Text) -> None:
    rules = text.read()
    reports = found(rules)
    for one in reports.values():
        if one.kind in ("unreachable", "unsatisfiable"):
            assert all(one.rule not in applying(rules, text, principal) for principal in PRINCIPALS), one
        elif one.kind == "contradictory":
            for principal in PRINCIPALS:
                decisions = [judged(rules, request) for request in text.requests(principal)]
                assert not any(isinstance(d, Permit) and one.rule in d.rules for d in decisions), one
    spare = {rule for rule, one in reports.items() if one.kind == "redundant"}
    if spare:
        less = Text(tuple(rule for rule in text.rules if rule.split('"')[1] not in spare)).read()
        for request in (request for principal in PRINCIPALS for request in text.requests(principal)):
            assert said(judged(rules, request)) == said(judged(less, request)), spare
