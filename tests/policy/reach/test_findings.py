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
from tests.policy.world import NOW, PEOPLE, forbid, grant, policy


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


@settings(max_examples=40, deadline=None)
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


def lines(*rules: str, people: str = PEOPLE) -> list[str]:
    return [f"{one.kind} {one.line}" for one in findings(policy(*rules, people=people), NOW)]


def test_a_grant_whose_conditions_exclude_each_other_is_unsatisfiable() -> None:
    where = '{ environment = "staging", target = { glob = "flags:production/*" } }'
    assert lines(grant(where=where)) == [
        "unsatisfiable grants[0]: can never match: no request meets all of its conditions"
    ]


def test_a_number_that_the_contract_never_takes_is_unsatisfiable() -> None:
    assert [one[:13] for one in lines(grant(where='{ "arguments.percent" = { min = 101 } }'))] == ["unsatisfiable"]
    assert lines(grant(where='{ "arguments.percent" = { min = 100 } }')) == []


def test_a_forbid_that_can_never_hold_is_unsatisfiable() -> None:
    where = '{ "arguments.owners" = { exists = false }, "arguments.owners[*]" = "ann" }'
    assert [one[:26] for one in lines(forbid(tool='"set_flag"', where=where))] == ["unsatisfiable forbids[0]: "]


def test_a_grant_that_forbids_take_apart_is_unreachable_and_they_are_named() -> None:
    found = lines(
        grant(where='{ "arguments.force" = { exists = true } }'),
        forbid("yes", tool='"set_flag"', where='{ "arguments.force" = true }'),
        forbid("no", tool='"set_flag"', where='{ "arguments.force" = false }'),
    )
    assert found == ['unreachable grants[0]: can never match: "no" and "yes" forbid every request it speaks of']


def test_what_the_other_warnings_say_already_is_not_said_twice() -> None:
    assert lines(grant(), forbid(tool='"set_flag"')) == []


def test_of_two_rules_that_say_the_same_the_later_can_be_left_out() -> None:
    narrow = grant("narrow", where='{ environment = "staging" }')
    assert lines(grant("wide"), narrow, grant("wide too")) == [
        'redundant grants[1]: can be left out: "wide" says as much',
        'redundant grants[2]: can be left out: "wide" says as much',
    ]
    assert lines(forbid("a", where='{ environment = "staging" }'), forbid("b")) == [
        'redundant forbids[0]: can be left out: "b" says as much'
    ]


def test_several_rules_may_say_together_what_one_says() -> None:
    parts = [grant(name, where=f'{{ environment = "{name}" }}') for name in ("staging", "production")]
    assert lines(*parts, grant("all")) == [
        'redundant grants[2]: can be left out: "production" and "staging" say as much'
    ]


def test_a_rule_with_an_approval_or_a_limit_of_its_own_is_not_redundant() -> None:
    limited = grant("limited", limits='["3 calls per hour"]')
    assert lines(grant("wide"), limited) == ['redundant grants[0]: can be left out: "limited" says as much']
    asking = grant("asking", where='{ environment = "staging" }', approval='{ quorum = 1, from = ["dave"] }')
    assert lines(grant("wide"), asking) == []


def test_a_grant_without_a_review_that_another_always_asks_about_is_contradictory() -> None:
    free = grant("free", where='{ environment = "staging" }', limits='["3 calls per hour"]')
    asking = grant("asking", approval='{ quorum = 1, from = ["dave"] }')
    assert lines(free, asking) == [
        'contradictory grants[0]: lets calls run without a review, but wherever it speaks "asking" asks for one'
    ]


def test_a_grant_that_asks_for_more_than_its_limit_is_contradictory() -> None:
    rule = grant(where='{ "plan.lines_changed" = { min = 10 } }', limits='["9 lines_changed per day"]')
    (line,) = lines(rule)
    assert line.startswith("contradictory grants[0]: asks for at least 10 lines_changed, and its own limit ")
    assert line.endswith('"9 lines_changed per 1d per principal" never lets so many')
    assert lines(rule.replace("9 lines", "10 lines")) == []


def test_an_environment_inside_another_is_unreachable() -> None:
    people = PEOPLE.replace(
        '"flags:production/**"]', '"flags:production/**"]\n[environments.inner]\ntargets = ["forge:shop/x*"]'
    )
    found = lines(people=people)
    assert found == [
        'unreachable environments.inner: can never be: every target in it lies in "production" too, and is denied'
    ]


def test_patterns_and_plans_are_never_called_impossible() -> None:
    where = '{ "arguments.flag" = { regex = "a" }, "plan.replicas" = 3 }'
    assert lines(grant(where=where), forbid(tool='"set_flag"', where='{ "plan.replicas" = { min = 1 } }')) == []
    assert lines(grant(where=where), forbid(tool='"set_flag"', where='{ "plan.replicas" = 3 }')) == [
        'unreachable grants[0]: can never match: "f" forbids every request it speaks of'
    ]


def test_a_forbid_with_dates_leaves_a_grant_reachable() -> None:
    dated = forbid(
        tool='"set_flag"',
        where='{ environment = ["staging", "production"] }',
        valid="{ until = 2027-01-01T00:00:00Z }",
    )
    assert lines(grant(), dated) == []


def test_a_finding_is_printed_as_json() -> None:
    (one,) = findings(policy(grant(where='{ "arguments.percent" = { min = 101 } }')), NOW)
    assert one.to_json() == {
        "kind": "unsatisfiable",
        "place": "grants[0]",
        "rule": "g",
        "text": "can never match: no request meets all of its conditions",
        "because": [],
    }


def test_rules_that_meet_in_too_many_ways_hold_nobody_up_and_that_is_told() -> None:
    many = policy(
        *(grant(f"g{n}", where=f'{{ "arguments.flag" = {{ regex = "a{{{n + 1}}}b[0-9]+" }} }}') for n in range(120))
    )
    found = findings(many, NOW)
    assert [(one.kind, one.place) for one in found] == [("unlooked", "policy.toml")]
    few = policy(*(grant(f"g{n}", where=f'{{ "arguments.flag" = "f{n}" }}') for n in range(50)))
    assert findings(few, NOW) == ()
