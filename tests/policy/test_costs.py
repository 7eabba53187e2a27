"""What tools reserve of runtime and cost, and grants whose actions a person executes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keyturn.model.decision import Deny, Hold, Permit
from keyturn.policy import Policy, Usage, evaluate, explain, screen
from tests.policy.world import NOW, PEOPLE, budget, grant, policy, problems, request, use

PRICE = '\n[tools.set_flag]\ncost = 5\nruntime = "90s"\n'
APPROVAL = '{ quorum = 1, from = ["alice"], expires = "1h" }'


def priced(*rules: str, price: str = PRICE) -> Policy:
    return policy(*rules, people=PEOPLE + price)


def spent(**amounts: int) -> Usage:
    usage = Usage()
    use(usage, "1", NOW - timedelta(minutes=1), {"calls": 1, **amounts})
    return usage


@pytest.mark.parametrize(
    ("limit", "usage", "fits"),
    [
        ("14 cost per hour", spent(cost=9), True),
        ("14 cost per hour", spent(cost=10), False),
        ("4 cost per hour", Usage(), False),
        ("180 runtime per hour", spent(runtime=90), True),
        ("180 runtime per hour", spent(runtime=91), False),
        ("14 cost per hour per target", spent(cost=10), False),
        ("14 cost per hour per owner", spent(cost=10), False),
        ("14 cost per hour per environment", spent(cost=10), False),
        ("14 cost per hour per tool", spent(cost=10), False),
    ],
)
def test_what_a_tool_reserves_must_fit_into_every_limit_on_it(limit: str, usage: Usage, fits: bool) -> None:
    for read in (priced(grant(limits=f'["{limit}"]')), priced(grant(), budget(limits=f'["{limit}"]'))):
        decision = evaluate(read, request(), usage, NOW)
        assert isinstance(decision, Permit) == fits
        assert fits or [reason.code for reason in decision.reasons] == ["limit"]
        if screen(read, request(), usage, NOW) is not None:
            assert not fits


def test_screening_knows_what_will_be_reserved_before_anything_is_planned() -> None:
    read = priced(grant(), budget(limits='["14 cost per hour"]'))
    denied = screen(read, request(), spent(cost=10), NOW)
    assert isinstance(denied, Deny)
    assert "10 of 14 used, 5 more asked" in denied.reasons[0].text


def test_an_explanation_counts_what_would_be_reserved() -> None:
    read = priced(grant(), budget(limits='["14 cost per hour"]'))
    traces = explain(read, request(), spent(cost=10), NOW).rules
    assert [trace.verdict for trace in traces if trace.kind == "limit"] == ["applies"]


def test_a_tool_that_declares_nothing_takes_nothing_of_runtime_and_cost() -> None:
    read = priced(grant(), grant("t", "update_ticket"), budget(limits='["1 cost per hour"]'))
    other = request(tool="update_ticket", target="tickets:ops/OPS-1")
    assert isinstance(evaluate(read, other, spent(cost=1), NOW), Permit)
    assert (read.reserved_by("set_flag"), read.reserved_by("update_ticket")) == ({"cost": 5, "runtime": 90}, {})


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("[tools.set_flags]\ncost = 1", 'tools.set_flags: there is no tool "set_flags" (did you mean "set_flag"?)'),
        ("[tools.get_ticket]\ncost = 1", "tools.get_ticket: get_ticket only reads"),
        ("[tools.set_flag]", "tools.set_flag: says nothing"),
        ("[tools.set_flag]\ncost = 0", "tools.set_flag.cost: must be an integer from 1"),
        ("[tools.set_flag]\ncost = true", "tools.set_flag.cost: must be an integer"),
        ("[tools.set_flag]\ncost = 99999999999", "tools.set_flag.cost: must be an integer"),
        ("[tools.set_flag]\nruntime = 60", "tools.set_flag.runtime: must be a string"),
        ('[tools.set_flag]\nruntime = "2d"', "tools.set_flag.runtime: 2d is longer than 1 days"),
        ("[tools.set_flag]\ncosts = 1", 'tools.set_flag.costs: unknown key "costs"'),
        ("[tools]\nset_flag = 3", "tools.set_flag: must be a table"),
    ],
)
def test_a_price_that_is_not_sound_is_refused_under_its_path(price: str, said: str) -> None:
    assert any(line.startswith(said) for line in problems(grant(), people=f"{PEOPLE}\n{price}\n")), said


def test_limits_on_what_no_tool_declares_are_warned_of() -> None:
    read = policy(grant(limits='["5 runtime per hour"]'), budget(limits='["5 cost per hour"]'))
    assert "grants[0].limits: counts nothing: no [tools.NAME] that it counts declares runtime" in read.warnings()
    assert "limits[0].limits: counts nothing: no [tools.NAME] that it counts declares cost" in read.warnings()
    assert priced(grant(limits='["5 runtime per hour"]'), budget(limits='["5 cost per hour"]')).warnings() == tuple(
        line for line in read.warnings() if "counts nothing" not in line
    )


def test_what_is_executed_by_hand_is_permitted_with_the_rules_that_ask_for_the_hand() -> None:
    decision = evaluate(policy(grant(execute='"manual"'), grant("h")), request(), Usage(), NOW)
    assert isinstance(decision, Permit)
    assert (decision.manual, decision.expires_at) == (("g",), NOW + timedelta(hours=4))
    assert ("manual", "g") in {(reason.code, reason.rule) for reason in decision.reasons}


def test_what_is_executed_by_hand_is_held_as_any_other() -> None:
    decision = evaluate(policy(grant(execute='"manual"', approval=APPROVAL)), request(), Usage(), NOW)
    assert isinstance(decision, Hold)
    assert (decision.manual, decision.expires_at) == (("g",), NOW + timedelta(hours=1))


def test_a_shadow_grant_asks_for_no_hand() -> None:
    read = policy(grant(execute='"manual"', mode='"shadow"'), grant("live"))
    decision = evaluate(read, request(), Usage(), NOW)
    assert isinstance(decision, Permit)
    assert decision.manual == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (grant(execute='"by hand"'), 'grants[0].execute: must be one of "automatic", "manual"'),
        (grant("r", "get_ticket", '["claude"]', execute='"manual"'), "grants[0].execute: get_ticket only reads"),
    ],
)
def test_only_what_is_executed_can_be_executed_by_hand(text: str, said: str) -> None:
    assert problems(text)[0].startswith(said)
