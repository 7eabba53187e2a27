"""What is promised of who-can, held against trying every request of small worlds.

1. It never contradicts brute force: never no where some request gets through.
2. Every yes has a request that `explain` confirms.
3. Where nothing but principals, tools, environments, booleans, integers, sets and globs is asked, it never hedges.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.model.decision import Hold, Permit
from keyturn.policy import Usage, explain, read_policy
from keyturn.policy.reach.who_can import Ability, Inquiry, abilities, overall
from tests.policy.freezes.calendars import calendar, event, freeze, frozen
from tests.policy.reach.small_worlds import APPROVAL, ATOMS, ENVIRONMENTS, SETTLED, Text, judged, some_rules
from tests.policy.world import CATALOG, NOW, PEOPLE, contract, forbid, grant, label, policy

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


@settings(max_examples=50, deadline=None)
@given(some_rules(), EVERYWHERE, st.booleans())
def test_without_atoms_the_answer_is_that_of_trying_every_request(text: Text, environment: str, alone: bool) -> None:
    inquiry = asked(text, environment, alone=alone)
    for one in abilities(inquiry):
        assert one.answer != "depends", one
        if one.answer == "yes":
            assert confirmed(inquiry, one)
        else:
            assert not gets_through(text, one, environment, alone=alone)


@settings(max_examples=40, deadline=None)
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


def test_a_number_beside_a_bound_is_found_and_there_is_none_between_two() -> None:
    apart = '"arguments.percent" = { min = 3, max = 5 }'
    ends = forbid(tool='"set_flag"', where='{ "arguments.percent" = [3, 5] }')
    one = claude(grant(where=f"{{ {apart} }}") + ends)
    assert one.request is not None
    assert one.request.arguments == {"percent": 4}
    assert claude(grant(where=f"{{ {apart} }}") + ends.replace("[3, 5]", "[3, 4, 5]")).answer == "no"


def test_a_no_names_the_rules_in_the_way() -> None:
    one = claude(grant() + forbid("stop", tool='"set_flag"'))
    assert (one.answer, one.rules) == ("no", ("stop",))
    assert one.open == ("no request meets the conditions of a grant without being forbidden",)


def test_without_a_scope_a_grant_or_the_environment_it_is_no() -> None:
    rules = grant(where='{ environment = "production" }')
    assert claude(rules).open == ("no grant of claude is about staging",)
    assert (
        "scope"
        in abilities(asked(rules.replace("set_flag", "rollback_deployment"), tool="rollback_deployment"))[1].open[0]
    )
    assert claude(grant(principals='["lone"]')).open == ('no grant lets claude call "set_flag"',)


def test_a_lane_that_does_not_allow_the_tool_is_a_no() -> None:
    lanes = '\n[lanes.red]\ntools = ["update_ticket"]\n'
    read = policy(
        grant(), people=PEOPLE.replace("[environments.staging]", f'{lanes}[environments.staging]\nlane = "red"')
    )
    for one in abilities(Inquiry(policy=read, tool="set_flag", environment="staging", now=NOW)):
        assert one.answer == "no"
        assert "lane" in one.open[0]


def test_a_lane_that_asks_leaves_nothing_without_a_review() -> None:
    lanes = f"\n[lanes.red]\napproval = {APPROVAL}\n"
    people = PEOPLE.replace("[environments.staging]", f'{lanes}[environments.staging]\nlane = "red"')
    read = policy(grant(), people=people)
    held = abilities(Inquiry(policy=read, tool="set_flag", environment="staging", now=NOW))
    assert {one.decision for one in held} == {"hold"}
    alone = Inquiry(policy=read, tool="set_flag", environment="staging", now=NOW, without_approval=True)
    assert {one.answer for one in abilities(alone)} == {"no"}
    free = replace(alone, environment="production")
    assert {one.decision for one in abilities(free)} == {"permit"}


def test_a_lane_that_limits_who_is_told_leaves_it_to_the_plan() -> None:
    lanes = '\n[lanes.red]\nrecipients = ["*@example.org"]\n'
    people = PEOPLE.replace("[environments.staging]", f'{lanes}[environments.staging]\nlane = "red"')
    (one, *_) = abilities(
        Inquiry(policy=policy(grant(), people=people), tool="set_flag", environment="staging", now=NOW)
    )
    assert one.answer == "depends"
    assert "the plan does not say" in one.open[0]


def test_a_pattern_that_is_not_met_by_chance_is_left_open() -> None:
    one = claude(grant(where='{ "arguments.flag" = { regex = "[0-9]{9}" } }'))
    assert (one.answer, one.open) == ("depends", ('arguments.flag must match the pattern "[0-9]{9}" [g]',))


def test_what_a_plan_must_be_is_named_once() -> None:
    one = claude(
        grant(where='{ "plan.replicas" = 3 }')
        + forbid(tool='"set_flag"', where='{ "plan.files[*].path" = { glob = ".ci/**" } }')
    )
    assert one.open == ("plan.replicas must be 3 [g]", 'plan.files[*].path must in no item match ".ci/**" [f]')


def test_the_same_atom_cannot_hold_and_not_hold() -> None:
    rule = 'where = { "plan.replicas" = 3 }'
    free = grant("free", where='{ "plan.replicas" = 3 }')
    assert rule in free
    assert (
        claude(free + grant("asking", where='{ "plan.replicas" = 3 }', approval=APPROVAL), alone=True).answer == "no"
    )
    other = grant("asking", where='{ "plan.replicas" = 4 }', approval=APPROVAL)
    assert claude(free + other, alone=True).answer == "depends"


def test_dates_count_as_they_are_now() -> None:
    ends = "{ until = 2027-01-01T00:00:00Z }"
    begins = "{ from = 2027-01-01T00:00:00Z }"
    assert claude(grant(valid=ends)).answer == "yes"
    later = claude(grant(valid=begins))
    assert (later.answer, later.open) == ("depends", ("is valid from 2027-01-01T00:00:00.000000Z on only [g]",))
    assert claude(grant() + forbid(tool='"set_flag"', valid=begins)).answer == "yes"
    frozen = claude(grant() + forbid(tool='"set_flag"', valid=ends))
    assert (frozen.answer, frozen.open) == ("depends", ("is not valid at every time [f]",))


def test_risk_is_left_open_where_a_score_could_refuse_or_hold() -> None:
    scored = grant(risk="{ hold_at = 40, deny_at = 80 }", approval=APPROVAL)
    assert claude(scored).open == ("risk.score must be less than 80 [g]",)
    assert claude(grant(risk='{ deny_at = 80, mode = "shadow" }')).answer == "yes"


def test_what_only_a_person_executes_is_said_to_be_so() -> None:
    one = claude(grant(execute='"manual"'))
    assert (one.answer, one.manual) == ("yes", True)


def test_a_limit_that_has_no_room_for_any_call_is_left_open() -> None:
    people = PEOPLE + "\n[tools.set_flag]\ncost = 5\n"
    read = policy(grant(limits='["3 cost per hour"]'), people=people)
    one = abilities(Inquiry(policy=read, tool="set_flag", environment="staging", now=NOW))[0]
    assert one.answer == "depends"
    assert "it asks for more than the limit ever allows" in one.open[0]


def test_a_target_in_two_environments_is_never_a_way() -> None:
    people = PEOPLE + '\n[environments.both]\ntargets = ["flags:staging/dark", "flags:free/*"]\n'
    where = '{ environment = "both" }'
    read = policy(grant(where=where), people=people)
    one = abilities(Inquiry(policy=read, tool="set_flag", environment="both", now=NOW))[0]
    assert one.request is not None
    assert one.request.target == "flags:free/a"


def test_the_kind_of_back_end_narrows_the_targets() -> None:
    read = policy(grant())
    one = abilities(Inquiry(policy=read, tool="set_flag", environment="staging", now=NOW, port="tickets"))[0]
    assert one.request is not None
    assert str(one.request.target).startswith("tickets:")
    nowhere = Inquiry(policy=read, tool="set_flag", environment="staging", now=NOW, port="mails")
    assert {found.answer for found in abilities(nowhere)} == {"no"}


def test_arguments_that_no_contract_takes_are_left_open_and_others_are_completed() -> None:
    inquiry = asked(grant())
    completed = replace(inquiry, takes=lambda _tool, given: "level" in given)
    one = abilities(completed)[0]
    assert one.request is not None
    assert one.request.arguments == {"level": "high"}
    refused = abilities(replace(inquiry, takes=lambda _tool, _given: False))[0]
    assert (refused.answer, refused.open) == ("depends", ("whether the contract takes such arguments",))


def test_too_many_ways_are_not_all_tried_and_never_a_no() -> None:
    pairs = [("percent", n) for n in range(12)]
    rules = "".join(
        forbid(
            f"f{n}",
            tool='"set_flag"',
            where=f'{{ "plan.a{n}" = 1, "plan.b{n}" = 2, "arguments.percent" = {{ min = 0 }} }}',
        )
        for _, n in pairs
    )
    one = claude(grant(where='{ "arguments.percent" = { min = 0 }, "arguments.flag" = { regex = "zzz" } }') + rules)
    assert one.answer == "depends"


def test_the_answer_for_all_is_the_best_of_each() -> None:
    made = [Ability(principal="x", answer=answer) for answer in ("no", "depends", "yes")]
    assert [overall(made[: n + 1]) for n in range(3)] == ["no", "depends", "yes"]
    assert made[0].to_json()["target"] is None


def test_a_thousand_grants_are_asked_within_seconds() -> None:
    rules = "".join(
        grant(f"g{n}", principals='["claude"]', where=f'{{ "arguments.flag" = {{ glob = "T{n // 2}-*" }} }}', **more)
        for n in range(1000)
        for more in [{"approval": APPROVAL} if n % 2 else {}]
    )
    assert claude(rules, alone=True).answer == "no"


ALWAYS_ON = calendar(event(":20200101T000000Z", ":20300101T000000Z"))


def test_a_freeze_that_is_on_leaves_it_open_and_is_named() -> None:
    read = frozen(ALWAYS_ON, grant(), freeze(effect='"deny"'))
    one = abilities(Inquiry(policy=read, tool="set_flag", environment="staging", now=NOW))[0]
    assert one.answer == "depends"
    assert one.rules == ("z",)
    holding = frozen(ALWAYS_ON, grant(), freeze(effect='"hold"', approval=APPROVAL))
    inquiry = Inquiry(policy=holding, tool="set_flag", environment="staging", now=NOW)
    assert abilities(inquiry)[0].decision == "hold"
    assert abilities(replace(inquiry, without_approval=True))[0].answer == "depends"


def test_nested_arguments_and_lists_with_bounds_are_filled() -> None:
    strict = contract(
        "strict",
        {
            "type": "object",
            "required": ["names", "size", "where", "choice"],
            "properties": {
                "names": {"type": "array", "minItems": 2, "maxItems": 3, "items": {"type": "string", "minLength": 1}},
                "size": {"type": "integer", "minimum": 5, "maximum": 9},
                "where": {
                    "type": "object",
                    "required": ["path"],
                    "properties": {"path": {"type": "string", "pattern": "^/"}, "on": {"type": "boolean"}},
                },
                "choice": {"anyOf": [{"const": "x"}, {"const": "y"}]},
                "deep": {"type": ["integer", "null"]},
            },
        },
    )
    catalog = {**CATALOG, "strict": strict}
    where = '{ "arguments.names[*]" = { glob = "n*" }, "arguments.where.on" = true, "arguments.size" = { min = 9 } }'
    text = PEOPLE + grant(where=where).replace("set_flag", "strict").replace(label("set_flag"), strict.label)
    read = read_policy({"policy.toml": text}, catalog)
    one = abilities(Inquiry(policy=read, tool="strict", environment="staging", now=NOW))[0]
    assert one.request is not None
    given = one.request.arguments
    assert given["size"] == 9
    assert given["choice"] == "x"
    assert given["where"] == {"path": "/a", "on": True}
    names = given["names"]
    assert isinstance(names, list)
    assert [str(name)[0] for name in names] == ["n", "n"]
    never = text.replace("{ min = 9 }", "{ not = { max = 9 } }")
    none = Inquiry(policy=read_policy({"policy.toml": never}, catalog), tool="strict", environment="staging", now=NOW)
    assert abilities(none)[0].answer == "no"
