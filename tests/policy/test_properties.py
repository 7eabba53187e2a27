"""What the policy promises of every decision, tried on random rules, requests and pasts.

1. The order of rules never matters.
2. Adding a grant never removes an approval another asks, nor loosens a limit.
3. A forbid always wins.
4. `evaluate` is pure: the same inputs give the same answer and change nothing.
5. `explain` agrees with `evaluate`.
6. Whatever `screen` refuses, `evaluate` refuses too, under any plan.
7. Every error path denies.
8. Shadow rules never change who may do what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.canon import Json
from keyturn.model.decision import Decision, Deny, Hold, Permit, Request, Shadow
from keyturn.policy import Policy, Usage, evaluate, explain, screen
from tests.policy.world import NOW, budget, forbid, grant, policy, request, use

CONDITIONS = [
    'environment = "staging"',
    'environment = ["staging", "production"]',
    'environment = { not = "staging" }',
    '"arguments.flag" = { glob = "a*" }',
    '"arguments.flag" = { not = "ab" }',
    '"arguments.flag" = { exists = false }',
    '"arguments.percent" = { min = 3, max = 50 }',
    '"arguments.force" = false',
    '"arguments.owners" = { some = "ann" }',
    '"arguments.owners[*]" = { regex = "[a-z]+" }',
    '"plan.files[*].path" = { glob = "docs/**" }',
    '"plan.files[*].path" = { some = { glob = ".ci/**" } }',
    '"plan.lines_changed" = { max = 10 }',
    '"plan.replicas" = 3',
    '"principal.owner" = { not = "carol" }',
    'target = { glob = "flags:*/dark" }',
    '"time.hour" = { max = 12 }',
]
APPROVALS = [
    '{ quorum = 1, from = ["group:sre"], expires = "1h" }',
    '{ quorum = 1, from = ["alice", "dave"], keys = "hardware", expires = "2h" }',
    '{ quorum = 2, from = ["group:sre", "group:oncall"] }',
]
LIMITS = [
    "2 calls per hour",
    "3 calls per day per tool",
    "2 calls per 10m per target",
    "1 pending",
    "20 lines_changed per hour per environment",
    "2 calls per hour per owner",
]
WHERE = st.lists(st.sampled_from(CONDITIONS), max_size=2, unique_by=lambda text: text.split(" ")[0]).map(
    lambda conditions: "{ " + ", ".join(conditions) + " }"
)
OPTIONAL_LIMITS = st.lists(st.sampled_from(LIMITS), min_size=1, max_size=2, unique=True).map(
    lambda limits: "[" + ", ".join(f'"{limit}"' for limit in limits) + "]"
)


def optional(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str | None]:
    return st.none() | strategy


@dataclass(frozen=True)
class Rules:
    """Rules as texts, so that they can be put in any order and left out one by one."""

    grants: tuple[str, ...]
    forbids: tuple[str, ...]
    budgets: tuple[str, ...]

    def read(self) -> Policy:
        return policy(*self.grants, *self.forbids, *self.budgets)


def given_keys(**more: str | None) -> dict[str, str]:
    return {key: value for key, value in more.items() if value is not None}


@st.composite
def a_grant(draw: st.DrawFn, name: str) -> str:
    tool = draw(st.sampled_from(["set_flag", "set_flag", "update_ticket"]))
    where = draw(WHERE) if tool == "set_flag" else "{}"
    approval, limits = draw(optional(st.sampled_from(APPROVALS))), draw(optional(OPTIONAL_LIMITS))
    mode = draw(st.sampled_from([None, None, None, '"shadow"']))
    who = draw(st.sampled_from(['["claude", "lone"]', '["group:assistants"]', '["claude"]']))
    if approval == APPROVALS[2] and "lone" not in who:
        who = '["claude"]'
    return grant(name, tool, who, **given_keys(where=where, approval=approval, limits=limits, mode=mode))


@st.composite
def some_rules(draw: st.DrawFn) -> Rules:
    grants = tuple(draw(a_grant(f"g{n}")) for n in range(draw(st.integers(0, 4))))
    forbids = []
    for n in range(draw(st.integers(0, 2))):
        mode = draw(st.sampled_from([None, '"shadow"']))
        forbids.append(forbid(f"f{n}", **given_keys(tool='"set_flag"', where=draw(WHERE), mode=mode)))
    budgets = []
    for n in range(draw(st.integers(0, 2))):
        mode = draw(st.sampled_from([None, None, '"shadow"']))
        environments = draw(st.sampled_from([None, '["staging"]']))
        budgets.append(
            budget(f"b{n}", **given_keys(limits=draw(OPTIONAL_LIMITS), environments=environments, mode=mode))
        )
    return Rules(grants, tuple(forbids), tuple(budgets))


@st.composite
def a_request(draw: st.DrawFn) -> Request:
    arguments: dict[str, Json] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "flag": st.sampled_from(["ab", "a", "b"]),
                "percent": st.sampled_from([1, 3, 50, 99]),
                "force": st.booleans(),
                "owners": st.sampled_from([[], ["ann"], ["ann", "BOB"], ["bob"]]),
            },
        )
    )
    view: Mapping[str, Json] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "files": st.sampled_from(
                    [[], [{"path": "docs/a"}], [{"path": "docs/a"}, {"path": ".ci/x"}], [{}], "x"]
                ),
                "replicas": st.sampled_from([3, 4, "3", None]),
            },
        )
    )
    return replace(
        request(
            principal=draw(st.sampled_from(["claude", "codex", "lone"])),
            tool=draw(st.sampled_from(["set_flag", "set_flag", "update_ticket"])),
            arguments=arguments,
            target=draw(st.sampled_from(["flags:staging/dark", "flags:production/dark", "flags:staging/a"])),
            environment=draw(st.sampled_from([None, None, None, None, "staging"])),
            view=view,
            effects=draw(st.sampled_from([{}, {"lines_changed": 5}, {"lines_changed": 15, "files_changed": 1}])),
        ),
        token_scopes=draw(st.sampled_from([None, None, None, frozenset({"odd:write", "ticket:write"})])),
    )


@st.composite
def a_past(draw: st.DrawFn) -> Usage:
    usage = Usage()
    for n in range(draw(st.integers(0, 8))):
        name, owner = draw(st.sampled_from([("claude", "bob"), ("codex", "carol"), ("lone", None)]))
        environment = draw(st.sampled_from(["staging", "production"]))
        use(
            usage,
            str(n),
            NOW - timedelta(minutes=draw(st.sampled_from([0, 5, 30, 59, 60, 600]))),
            {"calls": 1, "lines_changed": draw(st.sampled_from([0, 5, 18]))},
            principal=name,
            owner=owner,
            target=f"flags:{environment}/dark",
            environment=environment,
            pending=draw(st.booleans()),
        )
    return usage


def asked(decision: Decision) -> set[object]:
    return set(decision.obligations) if isinstance(decision, Hold) else set()


@given(some_rules(), a_request(), a_past(), st.randoms(use_true_random=False))
def test_the_order_of_rules_never_matters(rules: Rules, asks: Request, past: Usage, dice: object) -> None:
    def mixed(texts: tuple[str, ...]) -> tuple[str, ...]:
        shuffled = list(texts)
        dice.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
        return tuple(shuffled)

    other = Rules(mixed(rules.grants), mixed(rules.forbids), mixed(rules.budgets))
    assert evaluate(rules.read(), asks, past, NOW) == evaluate(other.read(), asks, past, NOW)
    assert screen(rules.read(), asks, past, NOW) == screen(other.read(), asks, past, NOW)


@settings(max_examples=200)
@given(some_rules(), a_grant("added"), a_request(), a_past())
def test_adding_a_grant_never_removes_an_approval_nor_loosens_a_limit(
    rules: Rules, added: str, asks: Request, past: Usage
) -> None:
    before = evaluate(rules.read(), asks, past, NOW)
    after = evaluate(replace(rules, grants=(*rules.grants, added)).read(), asks, past, NOW)
    match before:
        case Hold():
            assert isinstance(after, (Hold, Deny))
            if isinstance(after, Hold):
                assert asked(before) <= asked(after)
                assert after.expires_at <= before.expires_at
        case Deny() if before.rules:  # a forbid or a limit spoke
            assert isinstance(after, Deny)
            assert set(before.rules) <= set(after.rules)
        case Permit():
            assert not isinstance(after, Shadow)
        case _:
            pass


@given(some_rules(), a_request(), a_past())
def test_a_forbid_always_wins(rules: Rules, asks: Request, past: Usage) -> None:
    everything = replace(rules, forbids=(*rules.forbids, forbid("always")))
    assert isinstance(evaluate(everything.read(), asks, past, NOW), Deny)
    decision = explain(rules.read(), asks, past, NOW)
    applies = [t for t in decision.rules if t.kind == "forbid" and t.mode == "live" and t.verdict == "applies"]
    assert not applies or isinstance(decision.decision, Deny)


@given(some_rules(), a_request(), a_past())
def test_evaluate_is_pure(rules: Rules, asks: Request, past: Usage) -> None:
    read, snapshot = rules.read(), past.to_json()
    first = evaluate(read, asks, past, NOW)
    assert evaluate(read, asks, past, NOW) == first
    assert evaluate(rules.read(), asks, Usage.from_json(snapshot), NOW) == first
    assert past.to_json() == snapshot


@given(some_rules(), a_request(), a_past())
def test_explain_agrees_with_evaluate(rules: Rules, asks: Request, past: Usage) -> None:
    read = rules.read()
    told = explain(read, asks, past, NOW)
    assert told.decision == evaluate(read, asks, past, NOW)
    assert [trace.rule for trace in told.rules] == [
        *(rule.id for rule in read.grants),
        *(rule.id for rule in read.forbids),
        *(rule.id for rule in read.budgets),
    ]
    applying = {t.rule for t in told.rules if t.kind == "grant" and t.mode == "live" and t.verdict == "applies"}
    match told.decision:
        case Permit() | Hold():
            assert applying == set(told.decision.rules)
        case Shadow():
            assert applying == set()
        case Deny() if {reason.code for reason in told.decision.reasons} == {"no_grant"}:
            assert applying == set()
        case _:
            pass


@settings(max_examples=400)
@given(some_rules(), a_request(), a_request(), a_past())
def test_whatever_screen_refuses_evaluate_refuses_under_any_plan(
    rules: Rules, asks: Request, other: Request, past: Usage
) -> None:
    read = rules.read()
    if screen(read, asks, past, NOW) is None:
        return
    for plan in (asks, replace(other, principal=asks.principal, tool=asks.tool, arguments=asks.arguments)):
        planned = replace(plan, token_scopes=asks.token_scopes)
        assert isinstance(evaluate(read, planned, past, NOW), Deny)


@given(some_rules(), a_request(), a_past())
def test_every_error_path_denies(rules: Rules, asks: Request, past: Usage) -> None:
    read = rules.read()
    for broken in (
        replace(asks, principal="nobody"),
        replace(asks, tool="unknown"),
        replace(asks, token_scopes=frozenset()),
        replace(asks, target=None),
        replace(asks, target="x:y/z"),
        replace(asks, target="\ud800"),
        replace(asks, environment="elsewhere"),
    ):
        decision = evaluate(read, broken, past, NOW)
        assert isinstance(decision, Deny)
        assert all(reason.text and reason.text.isprintable() for reason in decision.reasons)
    odd: dict[str, Json] = {"flag": 3, "percent": "x", "owners": {"a": 1}, "force": None}
    assert evaluate(read, replace(asks, arguments=odd), past, NOW).reasons


@given(some_rules(), a_request(), a_past())
def test_shadow_rules_never_change_who_may_do_what(rules: Rules, asks: Request, past: Usage) -> None:
    def live(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text for text in texts if "shadow" not in text)

    with_shadow = evaluate(rules.read(), asks, past, NOW)
    bare = evaluate(Rules(live(rules.grants), live(rules.forbids), live(rules.budgets)).read(), asks, past, NOW)
    match with_shadow:
        case Shadow():
            assert isinstance(bare, Deny)
        case _:
            assert type(bare) is type(with_shadow)
            assert asked(bare) == asked(with_shadow)
