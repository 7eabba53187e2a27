"""What a diff of two policies promises, held against trying every request of small worlds.

1. It says nothing of equal policies, however they are written.
2. It never misses a request that one policy lets through further than the other.
3. Each gain and each loss that it shows by a request is one.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.model.decision import Decision, Hold, Permit
from keyturn.policy import Policy
from keyturn.policy.difference import Outlook, difference
from keyturn.policy.reach.changes import shifts
from tests.policy.reach.small_worlds import (
    ATOMS,
    PRINCIPALS,
    SETTLED,
    Text,
    a_forbid,
    a_grant,
    judged,
    requests,
    some_rules,
)
from tests.policy.world import NOW, PEOPLE, policy

OUTLOOK = Outlook(NOW)
WORLDS = [
    ("", ""),
    ('"flags:staging/**"', '"flags:staging/a", "flags:nowhere/**"'),
    ('"flags:production/**"', '"flags:production/**", "flags:staging/a"'),
    ('owner = "bob"', 'owner = "carol"'),
    ('groups = ["assistants"]\nscopes = ["pr:write", "ticket:write", "odd:write"]', 'scopes = ["odd:write"]'),
    ('"ticket:read", "odd:write"]', '"ticket:read"]'),
]


def level(decision: Decision) -> str:
    return {Permit: "permit", Hold: "hold"}.get(type(decision), "deny")


@st.composite
def two(draw: st.DrawFn, conditions: Sequence[str]) -> tuple[str, Policy, Policy]:
    """Two policies that differ in a rule or two, and at times in who or what there is; and all of their text."""
    old = draw(some_rules(conditions))
    rules = list(old.rules)
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(rules)))
        new = draw(st.sampled_from([a_grant, a_forbid]))(
            f"n{len(rules)}{at}", conditions[:1] + list(_near(old, conditions))
        )
        rules[at : at + draw(st.integers(0, 1))] = [draw(new)] if draw(st.booleans()) else []
    before, after = draw(st.sampled_from(WORLDS))
    people = PEOPLE.replace(before, after) if before else PEOPLE
    return "".join((*old.rules, *rules)), old.read(), policy(*rules, people=people)


def _near(old: Text, conditions: Sequence[str]) -> list[str]:
    """Return conditions on arguments that the rules ask about already, so that few requests tell them apart."""
    text = "".join(old.rules)
    return [one for one in conditions if "arguments." not in one or one.split('"')[1].split("[")[0] in text]


@settings(max_examples=80, deadline=None)
@given(two([*SETTLED, *ATOMS]))
def test_no_request_that_is_decided_otherwise_is_missed(drawn: tuple[str, Policy, Policy]) -> None:
    text, old, new = drawn
    found = shifts(old, new, OUTLOOK)
    told = {(one.principal, one.before, one.after) for one in found}
    for principal in PRINCIPALS:
        for request in requests(text, principal):
            step = level(judged(old, request)), level(judged(new, request))
            assert step[0] == step[1] or (principal, *step) in told, (request, step)
    for one in found:
        if not one.open:
            assert (level(judged(old, one.request)), level(judged(new, one.request))) == (one.before, one.after)


@settings(max_examples=30, deadline=None)
@given(some_rules([*SETTLED, *ATOMS]), st.randoms(use_true_random=False))
def test_nothing_is_said_of_policies_that_are_equal(text: Text, dice: object) -> None:
    rules = list(text.rules)
    dice.shuffle(rules)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    other = policy("# a remark\n", *rules)
    assert difference(text.read(), other, OUTLOOK) == ()
