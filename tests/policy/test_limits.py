"""Limits bind whom they say, count what they say, and tell when there is room again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keyturn.model.decision import Deny, Hold, Permit
from keyturn.policy import LimitState, Usage, evaluate, limits_for
from tests.policy.world import NOW, budget, grant, policy, request, use

HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
SRE = '{ quorum = 1, from = ["group:sre"] }'


def test_a_limit_of_n_lets_exactly_n_through_in_any_window() -> None:
    rules, usage = policy(grant(limits='["3 calls per hour"]')), Usage()
    for number in range(3):
        assert isinstance(evaluate(rules, request(), usage, NOW), Permit)
        use(usage, str(number), NOW + number * TICK)
    decision = evaluate(rules, request(), usage, NOW + HOUR - TICK)
    assert isinstance(decision, Deny)
    assert decision.rules == ("g",)
    assert decision.retry_at == NOW + HOUR
    assert decision.reasons[0].text == (
        "limit 3 calls per 1h per principal: 3 of 3 used, 1 more asked; resets at 2026-11-23T10:30:00.000000Z"
    )
    assert isinstance(evaluate(rules, request(), usage, NOW + HOUR), Permit)


def test_the_time_to_come_back_is_when_enough_has_left() -> None:
    rules, usage = policy(grant(limits='["10 lines_changed per hour"]')), Usage()
    for minute, lines in ((0, 2), (10, 5), (20, 3)):
        use(usage, str(minute), NOW + timedelta(minutes=minute), {"lines_changed": lines})
    later = NOW + timedelta(minutes=30)
    big = evaluate(rules, request(effects={"lines_changed": 6}), usage, later)
    assert isinstance(big, Deny)
    assert big.retry_at == NOW + timedelta(minutes=70)
    assert isinstance(evaluate(rules, request(effects={"lines_changed": 6}), usage, big.retry_at), Permit)
    assert isinstance(evaluate(rules, request(effects={"lines_changed": 6}), usage, big.retry_at - TICK), Deny)
    assert isinstance(evaluate(rules, request(effects={"lines_changed": 0}), usage, later), Permit)
    never = evaluate(rules, request(effects={"lines_changed": 11}), usage, later)
    assert isinstance(never, Deny)
    assert never.retry_at is None
    assert never.reasons[0].text.endswith("it asks for more than the limit ever allows")


def test_released_uses_make_room_at_once() -> None:
    rules, usage = policy(grant(limits='["1 call per day"]')), Usage()
    use(usage, "a", NOW)
    assert isinstance(evaluate(rules, request(), usage, NOW), Deny)
    usage.settle("a", release=True)
    assert isinstance(evaluate(rules, request(), usage, NOW), Permit)


def test_waiting_requests_are_capped_only_where_the_request_would_wait() -> None:
    usage = Usage()
    use(usage, "a", NOW, pending=True)
    capped = budget(limits='["1 pending"]')
    held = evaluate(policy(grant(approval=SRE), capped), request(), usage, NOW)
    assert isinstance(held, Deny)
    assert held.retry_at is None
    assert held.reasons[0].text.endswith("room comes back when a waiting request ends")
    assert isinstance(evaluate(policy(grant(), capped), request(), usage, NOW), Permit)
    usage.unpend("a")
    assert isinstance(evaluate(policy(grant(approval=SRE), capped), request(), usage, NOW), Hold)


def test_a_limit_that_waiting_cannot_help_leaves_the_time_open() -> None:
    usage = Usage()
    use(usage, "a", NOW, pending=True)
    rules = policy(grant(approval=SRE, limits='["1 pending", "1 call per hour"]'))
    decision = evaluate(rules, request(), usage, NOW)
    assert isinstance(decision, Deny)
    assert decision.retry_at is None
    assert len(decision.reasons) == 2


@pytest.mark.parametrize(
    ("per", "blocked", "free"),
    [
        ("principal", request(target="flags:staging/other"), request("codex")),
        ("owner", request("claude2"), request("codex")),
        ("tool", request("codex", target="flags:production/x"), None),
        ("target", request("codex"), request(target="flags:staging/other")),
        ("environment", request("codex", target="flags:staging/other"), request(target="flags:production/x")),
    ],
)
def test_uses_are_counted_apart_for_each_value_of_per(per: str, blocked: object, free: object) -> None:
    second = '\n[principals.claude2]\nowner = "bob"\nscopes = ["odd:write"]\ngroups = ["assistants"]\n'
    usage = Usage()
    use(usage, "a", NOW)
    for rules in (
        policy(grant(limits=f'["1 call per hour per {per}"]'), second),
        policy(grant(), budget(limits='["1 call per hour"]', per=f'"{per}"'), second),
    ):
        assert isinstance(evaluate(rules, blocked, usage, NOW), Deny)  # type: ignore[arg-type]  # a request
        assert free is None or isinstance(evaluate(rules, free, usage, NOW), Permit)  # type: ignore[arg-type]  # as above


def test_several_limits_without_room_are_told_in_the_order_of_their_rules() -> None:
    usage = Usage()
    use(usage, "a", NOW)
    rules = policy(grant(limits='["1 call per hour"]'), budget("a", limits='["1 call per day"]'))
    decision = evaluate(rules, request(), usage, NOW)
    assert isinstance(decision, Deny)
    assert [reason.rule for reason in decision.reasons] == list(decision.rules) == ["a", "g"]


def test_who_has_no_owner_is_counted_as_their_own() -> None:
    rules, usage = policy(grant(limits='["1 call per hour per owner"]')), Usage()
    use(usage, "a", NOW, principal="other", owner=None)
    assert isinstance(evaluate(rules, request("lone"), usage, NOW), Permit)
    use(usage, "b", NOW, principal="lone", owner=None)
    assert isinstance(evaluate(rules, request("lone"), usage, NOW), Deny)


def test_a_grants_limit_counts_its_tool_in_the_environments_it_names() -> None:
    usage = Usage()
    use(usage, "a", NOW, tool="update_ticket")
    use(usage, "b", NOW, environment="production")
    rules = policy(grant(where='{ environment = ["staging"] }', limits='["1 call per hour"]'))
    assert isinstance(evaluate(rules, request(), usage, NOW), Permit)
    use(usage, "c", NOW)
    assert isinstance(evaluate(rules, request(), usage, NOW), Deny)


def test_a_general_limit_counts_and_binds_only_what_its_filters_name() -> None:
    usage = Usage()
    use(usage, "a", NOW, environment="production")
    use(usage, "b", NOW, principal="codex", owner="carol")
    rules = policy(
        grant(),
        budget("e", limits='["1 call per hour"]', environments='["production"]'),
        budget("p", limits='["1 call per hour"]', principals='["codex"]', per='"tool"'),
        budget("t", limits='["1 call per hour"]', tool='"update_ticket"'),
    )
    assert isinstance(evaluate(rules, request(), usage, NOW), Permit)
    production = evaluate(rules, request(target="flags:production/x"), usage, NOW)
    assert isinstance(production, Deny)
    assert production.rules == ("e",)
    codex = evaluate(rules, request("codex"), usage, NOW)
    assert isinstance(codex, Deny)
    assert codex.rules == ("p",)


def test_at_its_claim_an_action_is_not_counted_against_itself() -> None:
    rules, usage = policy(grant(limits='["1 call per hour", "1 pending"]', approval=SRE)), Usage()
    use(usage, "a", NOW, pending=True)
    assert isinstance(evaluate(rules, request(), usage, NOW), Deny)
    assert isinstance(evaluate(rules, request(), usage.without("a"), NOW), Hold)


def test_what_is_left_is_told_per_limit_and_known_value() -> None:
    usage = Usage()
    use(usage, "a", NOW)
    use(usage, "b", NOW, target="flags:staging/other")
    rules = policy(
        grant("g", limits='["3 calls per 10m", "2 pending"]'),
        grant("s", mode='"shadow"', limits='["9 calls per day"]'),
        budget("t", limits='["4 calls per 90m per target"]'),
        budget("e", limits='["4 recipients per 45s"]', per='"environment"', tool='"update_ticket"'),
        budget("o", limits='["5 calls per week per owner"]'),
        budget("q", limits='["1 files_changed per day per environment"]', environments='["production"]'),
        budget("w", limits='["1 call per day"]', mode='"shadow"'),
    )  # fmt: skip
    told = limits_for(rules, "claude", usage, NOW)
    assert [(state.rule, state.unit, state.used, state.allowed, state.key) for state in told] == [
        ("g", "pending", 0, 2, "claude"),
        ("g", "calls", 2, 3, "claude"),
        ("o", "calls", 2, 5, "bob"),
        ("q", "files_changed", 0, 1, None),
        ("t", "calls", 1, 4, "flags:staging/dark"),
        ("t", "calls", 1, 4, "flags:staging/other"),
    ]
    assert told[1] == LimitState(
        rule="g",
        unit="calls",
        allowed=3,
        used=2,
        per="principal",
        key="claude",
        window=timedelta(minutes=10),
        resets_at=NOW + timedelta(minutes=10),
    )
    assert told[1].left == 1
    assert limits_for(rules, "nobody", usage, NOW) == ()
    lone = [state for state in limits_for(rules, "lone", usage, NOW) if state.rule == "o"]
    assert [(state.used, state.key) for state in lone] == [(0, "lone")]


@pytest.mark.parametrize(("window", "written"), [("45s", "45s"), ("90m", "90m"), ("24h", "1d"), ("120m", "2h")])
def test_a_window_is_told_in_its_largest_whole_unit(window: str, written: str) -> None:
    rules, usage = policy(grant(limits=f'["1 call per {window}"]')), Usage()
    use(usage, "a", NOW)
    assert f"limit 1 calls per {written} per principal" in evaluate(rules, request(), usage, NOW).reasons[0].text
