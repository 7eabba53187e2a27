"""Decisions: default deny, forbid beats grant, every approval and limit of what matches, shadow changes nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keyturn.model.decision import Deny, Escalation, Hold, Obligation, Permit, Reason, Shadow
from keyturn.policy import PERMIT_FOR, Usage, evaluate
from tests.policy.world import NOW, PEOPLE, budget, forbid, grant, hardware_key, key, policy, request, use

SRE = '{ quorum = 1, from = ["group:sre"], expires = "2h" }'


def codes(decision: Permit | Hold | Shadow | Deny) -> list[tuple[str, str | None]]:
    return [(reason.code, reason.rule) for reason in decision.reasons]


def test_without_a_matching_grant_the_answer_is_no() -> None:
    decision = evaluate(policy(), request(), Usage(), NOW)
    assert decision == Deny(
        reasons=(Reason("no_grant", 'no grant lets claude call "set_flag"'),), environment="staging"
    )


def test_an_unknown_tool_and_an_ungranted_one_are_refused_alike() -> None:
    unknown = evaluate(policy(), request(tool="drop_table"), Usage(), NOW)
    assert codes(unknown) == [("no_grant", None)]
    assert codes(evaluate(policy(), request(), Usage(), NOW)) == [("no_grant", None)]


def test_a_grant_without_approval_permits_for_fifteen_minutes() -> None:
    decision = evaluate(policy(grant()), request(), Usage(), NOW)
    assert decision == Permit(
        environment="staging",
        rules=("g",),
        expires_at=NOW + timedelta(minutes=15),
        reasons=(Reason("granted", '"g" lets it run without a review', "g"),),
    )
    assert timedelta(minutes=15) == PERMIT_FOR


def test_an_approval_holds_and_names_who_may_review_with_their_keys() -> None:
    approval = (
        '{ quorum = 1, from = ["group:sre", "carol"], rejects = 2, expires = "2h", '
        'escalate = [{ after = "90m", to = "group:oncall" }, { after = "1h", to = ["alice", "carol"] }] }'
    )
    decision = evaluate(policy(grant(approval=approval)), request("codex"), Usage(), NOW)
    assert isinstance(decision, Hold)
    assert decision.expires_at == NOW + timedelta(hours=2)
    assert decision.excluded == ("carol",)
    assert decision.obligations == (
        Obligation(
            rule="g",
            quorum=1,
            sources=("group:sre", "carol"),
            reviewers=("alice",),
            rejects=2,
            escalations=(Escalation(3600, ("alice",)), Escalation(5400, ("dave",))),
        ),
    )
    assert {name: len(lines) for name, lines in decision.reviewers.items()} == {"alice": 2, "dave": 1}
    assert decision.reviewers["alice"] == tuple(
        line.rsplit(" ", 1)[0] for line in (key("alice"), hardware_key("alice"))
    )
    assert codes(decision) == [("approval", "g")]
    assert "1 person from group:sre, carol before 2026-11-23T11:30" in decision.reasons[0].text


def test_without_an_owner_nobody_is_excluded() -> None:
    decision = evaluate(policy(grant(approval=SRE)), request("lone"), Usage(), NOW)
    assert isinstance(decision, Hold)
    assert decision.excluded == ()
    assert decision.obligations[0].reviewers == ("alice", "carol")


def test_where_hardware_is_asked_only_people_with_such_a_key_are_eligible() -> None:
    approval = '{ quorum = 1, from = ["group:sre", "dave"], keys = "hardware+pin" }'
    decision = evaluate(policy(grant(approval=approval)), request(), Usage(), NOW)
    assert isinstance(decision, Hold)
    assert decision.obligations[0].reviewers == ("alice", "dave")
    assert decision.obligations[0].keys == "hardware+pin"
    assert decision.expires_at == NOW + timedelta(hours=4)


def test_all_matching_grants_ask_and_the_earliest_expiry_rules() -> None:
    late = '{ quorum = 2, from = ["alice", "carol", "dave"], expires = "7d" }'
    rules = policy(grant("b", approval=SRE), grant("a", approval=late), grant("free"))
    decision = evaluate(rules, request(), Usage(), NOW)
    assert isinstance(decision, Hold)
    assert [obligation.rule for obligation in decision.obligations] == ["a", "b"]
    assert decision.rules == ("a", "b", "free")
    assert decision.expires_at == NOW + timedelta(hours=2)


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"principal": "nobody"}, "unknown_principal", 'no principal "nobody"'),
        ({"tool": "rollback_deployment", "principal": "codex"}, "scope", "codex does not have the scope"),
        ({"scopes": frozenset({"pr:write"})}, "scope", "this token does not have the scope"),
        ({"target": None}, "environment", "no planned target"),
        ({"target": "flags:lab/dark"}, "environment", "lies in no environment of the policy"),
        ({"target": "forge:sandbox/\ud800"}, "environment", "lies in no environment"),
        ({"environment": "production"}, "environment", 'lies in "staging", but the request asks for "production"'),
    ],
)
def test_each_gate_before_the_rules_says_why(changed: dict[str, object], code: str, said: str) -> None:
    decision = evaluate(policy(grant()), request(**changed), Usage(), NOW)  # type: ignore[arg-type]  # by name
    assert isinstance(decision, Deny)
    assert decision.reasons[0].code == code
    assert said in decision.reasons[0].text


def test_a_selected_environment_that_agrees_changes_nothing() -> None:
    assert isinstance(evaluate(policy(grant()), request(environment="staging"), Usage(), NOW), Permit)


def test_a_target_in_two_environments_is_denied() -> None:
    rules = policy(people=PEOPLE + '\n[environments.lab]\ntargets = ["flags:**/dark"]\n')
    decision = rules.environment_of("flags:staging/dark")
    assert isinstance(decision, Deny)
    assert "in several environments: lab, staging" in decision.reasons[0].text
    assert rules.environment_of("flags:other/dark") == "lab"


def test_a_forbid_beats_every_grant_and_says_what_it_saw() -> None:
    ci = '{ "plan.files[*].path" = { glob = [".github/**", ".ci/**"] } }'
    rules = policy(
        grant(), forbid("never touch CI", tool='"set_flag"', where=ci), forbid("no codex", principals='["codex"]')
    )
    bad = request(view={"files": [{"path": "a"}, {"path": ".ci/run"}]})
    decision = evaluate(rules, bad, Usage(), NOW)
    assert isinstance(decision, Deny)
    assert decision.rules == ("never touch CI",)
    assert decision.environment == "staging"
    assert 'is ".ci/run"' in decision.reasons[0].text
    good = request(view={"files": [{"path": "a"}]})
    assert isinstance(evaluate(rules, good, Usage(), NOW), Permit)
    everything = evaluate(rules, request("codex", view={"files": []}), Usage(), NOW)
    assert everything.reasons == (Reason("forbidden", "forbidden, whatever is asked", "no codex"),)


def test_a_refusal_tells_what_each_grant_was_missing() -> None:
    rules = policy(
        grant("b", where='{ "arguments.flag" = "x" }'),
        grant("a", where="{ environment = 'production' }"),
        grant("other", tool="update_ticket"),
        grant("theirs", principals='["codex"]'),
    )
    assert evaluate(rules, request(arguments={"flag": "y"}), Usage(), NOW).reasons == (
        Reason("no_grant", 'environment is "staging", but it must be "production"', "a"),
        Reason("no_grant", 'arguments.flag is "y", but it must be "x"', "b"),
    )


def test_a_shadow_grant_speaks_only_where_no_live_one_does() -> None:
    shadow = grant("s", mode='"shadow"', approval=SRE, limits='["1 call per hour"]')
    alone = evaluate(policy(shadow), request(), Usage(), NOW)
    assert alone == Shadow(
        environment="staging", rules=("s",), reasons=(Reason("shadow_grant", "would be held for review", "s"),)
    )
    beside = evaluate(policy(shadow, grant("live")), request(), Usage(), NOW)
    assert isinstance(beside, Permit)
    assert beside.rules == ("live",)
    assert codes(beside) == [("granted", "live"), ("shadow_grant", "s")]
    held = evaluate(policy(grant("s", mode='"shadow"'), grant("live", approval=SRE)), request(), Usage(), NOW)
    assert isinstance(held, Hold)
    assert held.reasons[-1].text == "in shadow: would run without a review"


def test_a_shadow_never_takes_or_meets_a_limit_nor_turns_a_deny_round() -> None:
    shadow = grant("s", mode='"shadow"', limits='["1 call per hour"]')
    full = Usage()
    use(full, "a", NOW)
    use(full, "b", NOW)
    assert isinstance(evaluate(policy(shadow), request(), full, NOW), Shadow)
    assert isinstance(evaluate(policy(shadow, grant("live")), request(), full, NOW), Permit)
    assert isinstance(evaluate(policy(shadow, forbid()), request(), full, NOW), Deny)
    spent = policy(shadow, grant("live", limits='["1 call per hour"]'))
    assert isinstance(evaluate(spent, request(), full, NOW), Deny)


def test_a_shadow_forbid_or_limit_only_leaves_a_note() -> None:
    full = Usage()
    use(full, "a", NOW)
    rules = policy(
        grant(),
        forbid("f", mode='"shadow"'),
        budget("b", limits='["1 call per day"]', mode='"shadow"'),
    )
    decision = evaluate(rules, request(), full, NOW)
    assert isinstance(decision, Permit)
    assert codes(decision) == [("granted", "g"), ("shadow_forbid", "f"), ("shadow_limit", "b")]
    assert decision.reasons[1].text == "in shadow: forbidden, whatever is asked"
    assert decision.reasons[2].text.startswith("in shadow: limit 1 calls per 1d per principal: 1 of 1 used")
    assert codes(evaluate(policy(grant(mode='"shadow"'), forbid(mode='"shadow"')), request(), full, NOW)) == [
        ("shadow_grant", "g"),
        ("shadow_forbid", "f"),
    ]


def test_a_read_tool_is_granted_like_any_other() -> None:
    rules = policy(grant(tool="get_ticket", principals='["claude"]', limits='["1 call per hour"]'))
    usage = Usage()
    ticket = "tickets:ops/OPS-1"
    assert isinstance(evaluate(rules, request(tool="get_ticket", target=ticket), usage, NOW), Permit)
    use(usage, "a", NOW, tool="get_ticket", target=ticket)
    assert codes(evaluate(rules, request(tool="get_ticket", target=ticket), usage, NOW)) == [("limit", "g")]
