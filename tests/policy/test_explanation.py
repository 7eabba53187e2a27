"""Explaining and screening: every rule says why, and hopeless requests are refused before planning."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyturn.model.decision import Deny, Hold, Permit
from keyturn.policy import Usage, evaluate, explain, screen
from tests.policy.world import NOW, budget, forbid, grant, policy, request, use

SRE = '{ quorum = 1, from = ["group:sre"] }'
UNPLANNED = replace(request(), target=None, view=None)


def test_every_rule_says_why_it_did_or_did_not_speak() -> None:
    usage = Usage()
    use(usage, "a", NOW)
    rules = policy(
        grant("yes"),
        grant("no", where='{ "arguments.percent" = { max = 5 } }'),
        grant("tool", tool="update_ticket"),
        grant("who", principals='["codex"]', mode='"shadow"'),
        forbid("other", principals='["codex"]'),
        forbid("met", tool='"set_flag"', where='{ "arguments.flag" = "x" }'),
        budget("full", limits='["1 call per hour"]', mode='"shadow"'),
        budget("room", limits='["9 calls per hour"]'),
        budget("away", limits='["1 call per hour"]', environments='["production"]'),
        budget("theirs", limits='["1 call per hour"]', principals='["codex"]'),
    )
    told = explain(rules, request(arguments={"percent": 9, "flag": "y"}), usage, NOW)
    assert isinstance(told.decision, Permit)
    assert {trace.rule: (trace.kind, trace.mode, trace.verdict, trace.text) for trace in told.rules} == {
        "yes": ("grant", "live", "applies", "has no conditions"),
        "no": ("grant", "live", "misses", "arguments.percent is 9, but it must be at most 5"),
        "tool": ("grant", "live", "unrelated", "is about update_ticket"),
        "who": ("grant", "shadow", "unrelated", 'is not about "claude"'),
        "other": ("forbid", "live", "unrelated", "is about other tools or principals"),
        "met": ("forbid", "live", "misses", 'arguments.flag is "y", but it must be "x"'),
        "full": (
            "limit",
            "shadow",
            "applies",
            "limit 1 calls per 1h per principal: 1 of 1 used, 1 more asked; resets at 2026-11-23T10:30:00.000000Z",
        ),
        "room": ("limit", "live", "misses", "has room"),
        "away": ("limit", "live", "unrelated", "counts other tools, principals or environments"),
        "theirs": ("limit", "live", "unrelated", "counts other tools, principals or environments"),
    }
    assert told.rules[0].to_json() == {
        "rule": "yes",
        "place": "grants[0]",
        "kind": "grant",
        "mode": "live",
        "verdict": "applies",
        "text": "has no conditions",
    }


def test_a_request_that_fails_before_the_rules_is_explained_too() -> None:
    rules = policy(grant(), forbid(tool='"set_flag"'), budget(limits='["1 call per day"]'))
    for trace in explain(rules, request(scopes=frozenset()), Usage(), NOW).rules:
        assert (trace.verdict, trace.text) == ("misses", 'this token does not have the scope "odd:write"')


def test_without_a_plan_what_depends_on_it_stays_open() -> None:
    rules = policy(
        grant("g", where='{ environment = "staging", "plan.x" = { exists = true } }'),
        budget("t", limits='["1 call per day per target"]'),
        budget("e", limits='["1 call per day per environment"]'),
    )
    told = explain(rules, UNPLANNED, Usage(), NOW)
    assert [(trace.verdict, trace.text) for trace in told.rules] == [
        ("open", "plan.x is not known before planning"),
        ("unrelated", "counts other tools, principals or environments"),
        ("unrelated", "counts other tools, principals or environments"),
    ]


def screened(*rules: str, usage: Usage | None = None, **changed: object) -> str | None:
    """Return the code of the refusal before planning."""
    asks = replace(UNPLANNED, **changed)  # type: ignore[arg-type]  # fields by name
    denied = screen(policy(*rules), asks, usage or Usage(), NOW)
    if denied is None:
        return None
    assert isinstance(
        evaluate(policy(*rules), replace(asks, target="flags:staging/dark"), usage or Usage(), NOW), Deny
    )
    return denied.reasons[0].code


def test_what_only_a_plan_can_tell_is_let_through_to_planning() -> None:
    for where in (
        '{ environment = "production" }',
        "{ target = 'x' }",
        '{ "plan.files[*].path" = "x" }',
        '{ "plan.files" = { every = "x" } }',
        '{ "plan.files" = { some = "x" } }',
        '{ "plan.count" = { not = 3 } }',
        '{ "plan.count" = { min = 3 } }',
        '{ "plan.count" = { max = 3 } }',
        '{ "plan.count" = [3] }',
        '{ "plan.count" = { glob = "x" } }',
        '{ "plan.count" = { regex = "x" } }',
    ):
        assert screened(grant(where=where)) is None
        assert screened(grant(), forbid(where=where)) is None


def test_a_request_no_grant_could_match_is_refused_before_planning() -> None:
    both = '{ "arguments.percent" = { max = 5 }, environment = "staging" }'
    assert screened(grant(where=both), arguments={"percent": 6}) == "no_grant"
    assert screened(grant(where=both), arguments={"percent": 5}) is None
    assert screened() == "no_grant"
    assert screened(grant(), principal="nobody") == "unknown_principal"
    assert screened(grant(), token_scopes=frozenset()) == "scope"
    assert screened(
        grant(), forbid(tool='"set_flag"', where='{ "arguments.flag" = "x" }'), arguments={"flag": "x"}
    ) == ("forbidden")


@pytest.mark.parametrize(("approval", "verdict"), [("", "misses"), (SRE, "applies")])
@pytest.mark.parametrize("mode", ["live", "shadow"])
def test_a_cap_on_waiting_requests_speaks_only_of_what_would_wait(approval: str, verdict: str, mode: str) -> None:
    usage = Usage()
    use(usage, "a", NOW, pending=True)
    asks = {"approval": approval} if approval else {}
    rules = policy(grant(**asks), budget(limits='["1 pending"]', mode=f'"{mode}"'))
    explained = explain(rules, request(), usage, NOW)
    assert [trace.verdict for trace in explained.rules if trace.rule == "b"] == [verdict]
    named = {reason.rule for reason in explained.decision.reasons}
    assert ("b" in named) is (verdict == "applies")


def test_limits_that_every_way_through_would_meet_refuse_before_planning() -> None:
    usage = Usage()
    use(usage, "a", NOW, pending=True)
    staging, production = '{ environment = "staging" }', '{ environment = "production" }'
    one = '["1 call per hour"]'
    assert screened(grant(), budget(limits=one), usage=usage) == "limit"
    assert screened(grant(), budget(limits=one, environments='["staging"]'), usage=usage) is None
    assert screened(grant(), budget(limits='["1 call per hour per target"]'), usage=usage) is None
    assert screened(grant(), budget(limits=one, mode='"shadow"'), usage=usage) is None
    assert screened(grant("g", limits=one), grant("h"), usage=usage) == "limit"
    assert screened(grant("g", where=staging, limits=one), usage=usage) == "limit"
    assert screened(grant("g", where=staging, limits=one), grant("h", where=production), usage=usage) is None
    assert screened(grant("g", where=staging, limits=one), grant("s", mode='"shadow"'), usage=usage) is None
    assert screened(grant("s", mode='"shadow"', limits=one), usage=usage) is None


def test_a_cap_on_waiting_requests_refuses_before_planning_only_if_the_request_would_wait() -> None:
    usage = Usage()
    use(usage, "a", NOW, pending=True)
    cap = budget(limits='["1 pending"]')
    staging = '{ environment = "staging" }'
    assert screened(grant(approval=SRE), cap, usage=usage) == "limit"
    assert screened(grant(where=staging, approval=SRE), cap, usage=usage) == "limit"
    assert screened(grant(where=staging, approval=SRE), grant("h"), cap, usage=usage) is None
    assert screened(grant(where=staging, approval=SRE, limits='["1 pending"]'), usage=usage) == "limit"
    assert isinstance(evaluate(policy(grant(approval=SRE)), request(), usage, NOW), Hold)
