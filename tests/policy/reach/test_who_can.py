"""What is promised of who-can, held against trying every request of small worlds.

1. It never contradicts brute force: never no where some request gets through.
2. Every yes has a request that `explain` confirms.
3. Where nothing but principals, tools, environments, booleans, integers, sets and globs is asked, it never hedges.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.model.decision import Hold, Permit
from keyturn.policy import Usage, explain
from keyturn.policy.reach.who_can import Ability, Inquiry, abilities
from tests.policy.reach.small_worlds import ATOMS, ENVIRONMENTS, SETTLED, Text, judged, some_rules
from tests.policy.world import NOW, grant, policy

EVERYWHERE = st.sampled_from(ENVIRONMENTS)


def asked(rules: Text | str, environment: str = "staging", *, alone: bool = False, tool: str = "set_flag") -> Inquiry:
    read = rules.read() if isinstance(rules, Text) else policy(rules)
    return Inquiry(policy=read, tool=tool, environment=environment, now=NOW, without_approval=alone)


def claude(rules: str, environment: str = "staging", *, alone: bool = False) -> Ability:
    found = abilities(asked(rules, environment, alone=alone))
    return next(one for one in found if one.principal == "claude")


def gets_through(text: Text, one: Ability, environment: str, *, alone: bool) -> bool:
    """Try every request."""
    rules, wanted = text.read(), Permit if alone else (Permit, Hold)
    decisions = (judged(rules, request) for request in text.requests(one.principal))
    return any(isinstance(found, wanted) and found.environment == environment for found in decisions)


def confirmed(inquiry: Inquiry, one: Ability) -> bool:
    assert one.request is not None
    decision = explain(inquiry.policy, one.request, Usage(), NOW).decision
    free = isinstance(decision, Permit)
    return decision.environment == inquiry.environment and (
        free or (isinstance(decision, Hold) and not inquiry.without_approval)
    )


@settings(max_examples=100, deadline=None)
@given(some_rules(), EVERYWHERE, st.booleans())
def test_without_atoms_the_answer_is_that_of_trying_every_request(text: Text, environment: str, alone: bool) -> None:
    inquiry = asked(text, environment, alone=alone)
    for one in abilities(inquiry):
        assert one.answer != "depends", one
        if one.answer == "yes":
            assert confirmed(inquiry, one)
        else:
            assert not gets_through(text, one, environment, alone=alone)


@settings(max_examples=60, deadline=None)
@given(some_rules([*SETTLED, *ATOMS, *ATOMS]), EVERYWHERE, st.booleans())
def test_with_atoms_too_a_yes_is_confirmed_and_a_no_is_never_wrong(text: Text, environment: str, alone: bool) -> None:
    inquiry = asked(text, environment, alone=alone)
    for one in abilities(inquiry):
        if one.answer == "yes":
            assert confirmed(inquiry, one)
        elif one.answer == "depends":
            assert one.open
        else:
            assert not gets_through(text, one, environment, alone=alone)


def test_a_yes_names_the_grants_and_a_request() -> None:
    one = claude(grant(where='{ "arguments.percent" = { min = 3, max = 5 }, "arguments.force" = true }'))
    assert (one.answer, one.decision, one.rules) == ("yes", "permit", ("g",))
    assert one.request is not None
    assert one.request.arguments == {"percent": 3, "force": True}
