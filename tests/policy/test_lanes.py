"""Lanes: they refuse tools and recipients, ask where a grant does not, and never loosen anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.model.decision import Decision, Deny, Hold, Permit, Request
from keyturn.policy import Policy, Usage, evaluate, explain, screen
from tests.policy.test_properties import Rules, a_grant, a_past, a_request, asked, some_rules
from tests.policy.world import NOW, PEOPLE, forbid, grant, policy, problems, request

APPROVAL = '{ quorum = 1, from = ["group:sre"], expires = "1h" }'
CAROL = '{ quorum = 1, from = ["alice"] }'


def laned(*rules: str, environment: str = "staging", **lane: str) -> Policy:
    return policy(*rules, people=people(environment, **lane))


def people(environment: str = "staging", **lane: str) -> str:
    lines = "\n".join(f"{key} = {value}" for key, value in lane.items())
    inside = PEOPLE.replace(f"[environments.{environment}]", f'[environments.{environment}]\nlane = "red"')
    return f"{inside}\n[lanes.red]\n{lines}\n"


def judged(read: Policy, **changes: object) -> Decision:
    return evaluate(read, replace(request(), **changes), Usage(), NOW)  # type: ignore[arg-type]  # fields of a request


def told(count: int, *names: str) -> dict[str, object]:
    return {"effects": {"recipients": count}, "view": {"audience": list(names)}}


def test_a_grant_without_an_approval_falls_back_on_that_of_its_lane() -> None:
    decision = judged(laned(grant(), approval=APPROVAL))
    assert isinstance(decision, Hold)
    assert [(due.rule, due.quorum, due.sources) for due in decision.obligations] == [("lanes.red", 1, ("group:sre",))]
    assert decision.expires_at == NOW + timedelta(hours=1)
    assert decision.rules == ("g",)
    assert [reason.rule for reason in decision.reasons] == ["lanes.red"]


def test_a_grant_with_an_approval_of_its_own_is_asked_for_that_alone() -> None:
    decision = judged(laned(grant(approval=CAROL), approval=APPROVAL))
    assert isinstance(decision, Hold)
    assert [due.rule for due in decision.obligations] == ["g"]


def test_where_one_grant_asks_and_another_does_not_both_approvals_are_asked() -> None:
    decision = judged(laned(grant(approval=CAROL), grant("h"), grant("i"), approval=APPROVAL))
    assert isinstance(decision, Hold)
    assert [due.rule for due in decision.obligations] == ["g", "lanes.red"]


def test_another_environment_is_not_asked_for_the_approval() -> None:
    decision = judged(laned(grant(), approval=APPROVAL), target="flags:production/dark")
    assert isinstance(decision, Permit)


def test_reading_is_not_held_by_a_lane() -> None:
    read = laned(grant("r", "get_ticket", '["claude"]'), approval=APPROVAL)
    assert isinstance(judged(read, tool="get_ticket", target="tickets:ops/OPS-1"), Permit)


def test_a_shadow_grant_says_that_the_lane_would_hold_it() -> None:
    decision = judged(laned(grant(mode='"shadow"'), approval=APPROVAL))
    assert [reason.text for reason in decision.reasons] == ["would be held for review"]


@pytest.mark.parametrize("kind", ["set_flag", "update_ticket"])
def test_a_tool_that_the_lane_does_not_list_is_refused(kind: str) -> None:
    read = laned(grant(), grant("t", "update_ticket"), tools='["update_ticket"]')
    decision = judged(read, tool=kind, target="flags:staging/dark")
    assert isinstance(decision, Deny) == (kind == "set_flag")
    if isinstance(decision, Deny):
        assert [(reason.code, reason.rule) for reason in decision.reasons] == [("lane", "lanes.red")]
        assert decision.environment == "staging"
        assert decision.rules == ("lanes.red",)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (told(0), None),
        (told(1, "ann@acme.example"), None),
        (told(2, "ANN@Acme.Example", "oncall"), None),
        (told(1, "eve@elsewhere.example"), "does not let 1 of the 1 be told"),
        (told(2, "oncall", "eve@elsewhere.example"), "does not let 1 of the 2 be told"),
        (told(7, *"abcdefg"), "does not let 7 of the 7 be told"),
        (told(2, "oncall"), "the plan counts 2 and names 1 of them"),
        (told(2, "oncall", "oncall"), "the plan counts 2 and names 1 of them"),
        (told(0, "eve@elsewhere.example"), "be told"),
        (told(1, "\ud800"), "be told"),
        ({"effects": {"recipients": 3}, "view": {}}, "the plan counts 3 and names 0 of them"),
        ({"effects": {"recipients": 1}, "view": {"audience": "oncall"}}, "does not say who would be"),
        ({"effects": {}, "view": {}}, "does not say who would be"),
        ({"effects": {"recipients": 1}, "view": {"audience": [3]}}, "the plan counts 1 and names 0 of them"),
    ],
)
def test_only_recipients_that_the_lane_lists_may_be_told_and_all_must_be_named(
    plan: dict[str, object], said: str | None
) -> None:
    decision = judged(laned(grant(), recipients='["*@acme.example", "oncall"]'), **plan)
    if said is None:
        assert isinstance(decision, Permit)
    else:
        assert isinstance(decision, Deny)
        assert said in decision.reasons[0].text
        assert decision.reasons[0].text.isprintable()


def test_an_empty_list_of_recipients_lets_nobody_be_told() -> None:
    read = laned(grant(), recipients="[]")
    assert isinstance(judged(read, **told(0)), Permit)
    assert isinstance(judged(read, **told(1, "ann")), Deny)


def test_the_lane_is_asked_before_forbids_and_after_the_environment() -> None:
    read = laned(grant(), forbid("never"), tools='["update_ticket"]')
    assert [reason.code for reason in judged(read).reasons] == ["lane"]
    assert [reason.code for reason in judged(read, target="x:y/z").reasons] == ["environment"]


def test_a_lane_keeps_its_retention_as_data() -> None:
    read = laned(grant(), retention='"90d"')
    lane = read.lane_of("staging")
    assert lane is not None
    assert lane.retention == timedelta(days=90)
    assert read.lane_of("production") is None
    assert read.lanes == {"red": lane}


@pytest.mark.parametrize(
    ("lane", "said"),
    [
        ({"tools": '["set_flags"]'}, 'lanes.red.tools: there is no tool "set_flags" (did you mean "set_flag"?)'),
        ({"tools": "[]"}, "lanes.red.tools: must not be empty"),
        ({"tools": '["get_action"]'}, "lanes.red.tools: get_action is about the caller's own actions"),
        ({"recipients": '["[ab]"]'}, "lanes.red.recipients[0]: "),
        ({"recipients": '"x"'}, "lanes.red.recipients: must be a list"),
        ({"retention": '"forever"'}, "lanes.red.retention: "),
        ({"retention": '"9999d"'}, "lanes.red.retention: 9999d is longer than"),
        ({"approval": "{ quorum = 1 }"}, "lanes.red.approval.from: is missing"),
        ({"approval": '{ quorum = 9, from = ["group:sre"] }'}, "lanes.red.approval.quorum: 9 people must agree"),
        ({"colour": '"red"'}, 'lanes.red.colour: unknown key "colour"'),
    ],
)
def test_a_lane_that_is_not_sound_is_refused_under_its_path(lane: dict[str, str], said: str) -> None:
    assert any(line.startswith(said) for line in problems(grant(), people=people(**lane))), said


def test_an_approval_nobody_could_give_to_a_grant_that_falls_back_on_it_is_refused() -> None:
    only_carol = {"approval": '{ quorum = 1, from = ["carol"] }'}
    found = problems(grant(), people=people(**only_carol))
    assert len(found) == 1
    assert found[0].startswith(
        'lanes.red.approval.quorum: 1 person must agree, but only 0 can when the owner "carol"'
    )
    elsewhere = grant(where='{ environment = "production" }')
    assert laned(elsewhere, grant("c", principals='["claude"]'), **only_carol).lanes
    assert laned(grant(approval=CAROL), **only_carol).lanes


def test_a_rule_may_not_be_called_as_a_lane_is() -> None:
    assert problems(grant("lanes.red"), people=people()) == (
        'grants[0].id: "lanes.red" is the id of lanes.red already',
    )


def test_lanes_and_grants_that_come_to_nothing_are_warned_of() -> None:
    unused = policy(grant(), people=f"{PEOPLE}\n[lanes.red]\n")
    assert "lanes.red: no environment lies in it" in unused.warnings()
    shut = laned(grant(where='{ environment = "staging" }'), tools='["update_ticket"]')
    assert any(line.startswith("grants[0]: can never match: the lanes") for line in shut.warnings())


def test_an_explanation_tells_the_part_of_every_lane() -> None:
    read = laned(grant(), approval=APPROVAL)
    lane = next(trace for trace in explain(read, request(), Usage(), NOW).rules if trace.kind == "lane")
    assert (lane.rule, lane.verdict, lane.place) == ("lanes.red", "applies", "lanes.red")
    elsewhere = explain(read, request(target="flags:production/dark"), Usage(), NOW).rules
    assert [trace.verdict for trace in elsewhere if trace.kind == "lane"] == ["unrelated"]
    own = explain(laned(grant(approval=CAROL), approval=APPROVAL), request(), Usage(), NOW).rules
    assert [trace.verdict for trace in own if trace.kind == "lane"] == ["misses"]
    shut = explain(laned(grant(), tools='["update_ticket"]'), request(), Usage(), NOW).rules
    assert [trace.text for trace in shut if trace.kind == "lane"] == ['the lane "red" does not allow "set_flag"']


LANES = st.fixed_dictionaries(
    {},
    optional={
        "approval": st.sampled_from([APPROVAL, '{ quorum = 1, from = ["alice", "dave"], keys = "hardware" }']),
        "tools": st.sampled_from(['["set_flag"]', '["update_ticket"]', '["set_flag", "update_ticket"]']),
        "recipients": st.sampled_from(["[]", '["a*"]']),
    },
)
AUDIENCES = st.sampled_from([(0, []), (1, ["ann"]), (2, ["ann"]), (1, ["bob"])])


@st.composite
def telling(draw: st.DrawFn) -> Request:
    asks, (count, names) = draw(a_request()), draw(AUDIENCES)
    view = {**(asks.view or {}), "audience": names}
    return replace(asks, effects={**asks.effects, "recipients": count}, view=view)


def rank(decision: Decision) -> int:
    """How much a decision lets through."""
    return {Deny: 0, Hold: 1, Permit: 2}.get(type(decision), 0)


@settings(max_examples=200)
@given(some_rules(), LANES, telling(), a_past())
def test_a_lane_never_loosens(rules: Rules, lane: dict[str, str], asks: Request, past: Usage) -> None:
    text = (*rules.grants, *rules.forbids, *rules.budgets)
    before = evaluate(rules.read(), asks, past, NOW)
    after = evaluate(laned(*text, **lane), asks, past, NOW)
    assert rank(after) <= rank(before)
    if isinstance(after, Hold):
        assert asked(before) <= asked(after)
        assert not isinstance(before, Hold) or after.expires_at <= before.expires_at


@settings(max_examples=200)
@given(some_rules(), a_grant("added"), LANES, telling(), a_past())
def test_in_a_lane_too_adding_a_grant_never_removes_an_approval(
    rules: Rules, added: str, lane: dict[str, str], asks: Request, past: Usage
) -> None:
    before = evaluate(laned(*rules.grants, *rules.forbids, *rules.budgets, **lane), asks, past, NOW)
    more = replace(rules, grants=(*rules.grants, added))
    after = evaluate(laned(*more.grants, *more.forbids, *more.budgets, **lane), asks, past, NOW)
    if isinstance(before, Hold):
        assert isinstance(after, Hold | Deny)
        assert isinstance(after, Deny) or asked(before) <= asked(after)


@settings(max_examples=200)
@given(some_rules(), LANES, telling(), a_past())
def test_what_screen_refuses_in_a_lane_evaluate_refuses_too(
    rules: Rules, lane: dict[str, str], asks: Request, past: Usage
) -> None:
    read = laned(*rules.grants, *rules.forbids, *rules.budgets, **lane)
    if screen(read, asks, past, NOW) is not None:
        assert isinstance(evaluate(read, asks, past, NOW), Deny)


@given(some_rules(), LANES, telling(), a_past())
def test_explanations_agree_with_decisions_in_lanes(
    rules: Rules, lane: dict[str, str], asks: Request, past: Usage
) -> None:
    read = laned(*rules.grants, *rules.forbids, *rules.budgets, **lane)
    told_ = explain(read, asks, past, NOW)
    trace = next(trace for trace in told_.rules if trace.kind == "lane")
    refused = isinstance(told_.decision, Deny) and told_.decision.reasons[0].code == "lane"
    held = isinstance(told_.decision, Hold) and "lanes.red" in {due.rule for due in told_.decision.obligations}
    assert not (refused or held) or trace.verdict == "applies"
