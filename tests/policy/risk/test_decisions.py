"""What a score does to a decision.

1. The order of rules never matters, with risk in them too.
2. A score is pure: the same request, past and time give the same score, and nothing is changed.
3. A weight of 0 turns its part off.
4. A higher score never loosens.
5. What looks like a credential is refused unless every matching grant allows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.canon import Json
from keyturn.model.decision import Decision, Deny, Hold, Permit, Request, Shadow
from keyturn.model.risk import Risk, RiskPart, risk_from_json
from keyturn.policy import Policy, Usage, evaluate, explain, read_policy, screen
from keyturn.policy.paths import RISK_PARTS
from keyturn.policy.risk.score import PARTS, assess
from keyturn.policy.risk.settings import WEIGHTS, Settings
from tests.policy.freezes.calendars import calendar, event, freeze
from tests.policy.risk.samples import credentials, diff_of
from tests.policy.world import CATALOG, NOW, PEOPLE, forbid, grant, policy, problems, request

PULL = "open_pull_request"
SRE = '{ quorum = 1, from = ["group:sre"], expires = "1h" }'
ONCALL = '{ quorum = 1, from = ["dave"], expires = "2h" }'
RISK = "\n[risk]\n"
ALWAYS = calendar(event(":20200101T000000Z", ":20290101T000000Z"))


def pull(
    *paths: str, lines: int = 1, diff: str = "", principal: str = "claude", view: Mapping[str, Json] | None = None
) -> Request:
    """A planned pull request that touches these paths."""
    files: list[Json] = [{"path": path, "status": "modified"} for path in paths]
    asked = request(
        principal,
        tool=PULL,
        target="forge:shop/main",
        view={"files": files} if view is None else view,
        effects={"files_changed": len(paths), "lines_changed": lines, "recipients": 0},
    )
    return replace(asked, diff=diff)


def known(target: str = "forge:shop/main", failed: int = 0) -> Usage:
    """A past in which claude has used the tool, and so much has failed on the target."""
    usage = Usage()
    usage.history.succeeded("claude", PULL)
    for n in range(failed):
        usage.history.failed(target, NOW - timedelta(hours=n))
    return usage


def risky(name: str = "g", **more: str) -> str:
    return grant(name, PULL, '["claude"]', **more)


def scored(settings: Settings, asked: Request, usage: Usage) -> Risk:
    risk = assess(settings, asked, usage, NOW)
    assert risk is not None
    return risk


def decide(text: Policy, asked: Request, usage: Usage | None = None) -> Decision:
    return evaluate(text, asked, known() if usage is None else usage, NOW)


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


# --- thresholds ---


def test_without_a_word_about_risk_nothing_is_scored() -> None:
    decision = decide(policy(risky()), pull("auth/x", "package.json"))
    assert isinstance(decision, Permit)
    assert decision.risk is None
    assert codes(decision) == ["granted"]


def test_below_both_thresholds_it_runs_and_tells_its_parts() -> None:
    decision = decide(
        policy(RISK, risky(risk="{ hold_at = 40, deny_at = 80, approval = " + SRE + " }")), pull("auth/x")
    )
    assert isinstance(decision, Permit)
    assert decision.risk is not None
    assert (decision.risk.score, decision.risk.points["paths"]) == (20, 20)
    assert [reason.text for reason in decision.reasons if reason.code == "risk"] == ["risk 20 (paths 20)"]
    assert [reason.text for reason in decision.reasons if reason.code == "risk_part"] == [
        'paths 20 of 20: "auth/x" touched: listed as sensitive'
    ]


@pytest.mark.parametrize(("hold_at", "held"), [(40, True), (41, True), (42, False)])
def test_from_hold_at_on_people_must_agree(hold_at: int, held: bool) -> None:
    text = policy(RISK, risky(risk=f"{{ hold_at = {hold_at}, approval = {SRE} }}"))
    decision = decide(text, pull("auth/x", "package.json"))
    assert isinstance(decision, Hold if held else Permit)
    if isinstance(decision, Hold):
        assert [(due.rule, due.sources) for due in decision.obligations] == [("g", ("group:sre",))]
        assert decision.excluded == ("bob",)
        assert "risk" in codes(decision)


@pytest.mark.parametrize(("deny_at", "denied"), [(41, True), (42, False)])
def test_from_deny_at_on_it_is_refused_with_its_parts(deny_at: int, denied: bool) -> None:
    decision = decide(policy(RISK, risky(risk=f"{{ deny_at = {deny_at} }}")), pull("auth/x", "package.json"))
    assert isinstance(decision, Deny if denied else Permit)
    if isinstance(decision, Deny):
        assert codes(decision) == ["risk", "risk_part"]
        assert decision.reasons[1].text.count(" of ") == 3
        assert decision.rules == ("g",)
        assert decision.environment == "production"
        assert decision.risk is not None


def test_a_grant_that_names_risk_is_scored_by_the_defaults() -> None:
    decision = decide(policy(risky(risk="{ deny_at = 20 }")), pull("auth/x"))
    assert isinstance(decision, Deny)


def test_the_thresholds_of_every_matching_grant_count() -> None:
    both = (risky("a", risk=f"{{ hold_at = 20, approval = {SRE} }}"), risky("b", risk="{ deny_at = 90 }"), risky("c"))
    decision = decide(policy(*both), pull("auth/x"))
    assert isinstance(decision, Hold)
    assert [due.rule for due in decision.obligations] == ["a"]


def test_the_approval_for_the_score_stands_beside_the_one_of_the_grant() -> None:
    text = policy(risky(approval=SRE, risk=f"{{ hold_at = 20, approval = {ONCALL} }}"))
    low, high = decide(text, pull("x")), decide(text, pull("auth/x"))
    assert isinstance(low, Hold)
    assert isinstance(high, Hold)
    assert [due.sources for due in low.obligations] == [("group:sre",)]
    assert [due.sources for due in high.obligations] == [("group:sre",), ("dave",)]


def test_hold_at_alone_leaves_it_to_the_approval_that_is_asked_anyway() -> None:
    text = policy(risky(approval=SRE, risk="{ hold_at = 20 }"))
    assert isinstance(decide(text, pull("auth/x")), Hold)
    assert any("hold_at: adds nothing" in warning for warning in text.warnings())


def test_hold_at_falls_back_on_the_approval_of_the_lane_and_refuses_where_there_is_none() -> None:
    people = PEOPLE.replace("[environments.production]\n", '[environments.production]\nlane = "red"\n')
    lane = f"\n[lanes.red]\napproval = {SRE}\n"
    text = policy(lane, risky(risk="{ hold_at = 20 }"), people=people)
    assert isinstance(decide(text, pull("auth/x")), Hold)
    elsewhere = replace(pull("auth/x"), target="forge:sandbox/main")
    decision = decide(text, elsewhere)
    assert isinstance(decision, Deny)
    assert "no approval says by whom" in decision.reasons[0].text


def test_a_freeze_that_holds_lets_no_score_through_that_is_refused_without_it() -> None:
    people = PEOPLE.replace("[environments.production]\n", '[environments.production]\nlane = "red"\n')
    text = f"{people}\n[lanes.red]\napproval = {SRE}\n" + risky(risk="{ hold_at = 20 }")
    files = {"policy.toml": text + freeze(effect='"hold"', approval=SRE), "x.ics": ALWAYS}
    asked = replace(pull("auth/x"), target="forge:sandbox/main")
    for rules in (read_policy({"policy.toml": text}, CATALOG), read_policy(files, CATALOG)):
        decision = decide(rules, asked)
        assert isinstance(decision, Deny)
        assert codes(decision)[0] == "risk"


def test_a_risk_in_shadow_changes_nothing_and_says_what_would_have_been() -> None:
    for rule, told in (
        (f"hold_at = 20, approval = {SRE}", "would be held from 20"),
        ("deny_at = 20", "would be refused"),
    ):
        decision = decide(policy(risky(risk=f'{{ {rule}, mode = "shadow" }}')), pull("auth/x"))
        assert isinstance(decision, Permit)
        assert any(reason.code == "shadow_risk" and told in reason.text for reason in decision.reasons)
        assert "shadow_risk" not in codes(decide(policy(risky(risk=f'{{ {rule}, mode = "shadow" }}')), pull("x")))


def test_a_shadow_grant_is_scored_and_its_thresholds_ask_nobody() -> None:
    decision = decide(
        policy(risky(mode='"shadow"', risk=f"{{ hold_at = 1, deny_at = 2, approval = {SRE} }}")), pull("auth/x")
    )
    assert isinstance(decision, Shadow)
    assert decision.risk is not None


def test_what_has_to_wait_for_its_score_counts_as_pending() -> None:
    text = policy(risky(limits='["1 pending"]', risk=f"{{ hold_at = 20, approval = {SRE} }}"))
    usage = known()
    usage.reserve(
        "one", NOW, principal="claude", owner="bob", tool=PULL, target="t", environment="production",
        amounts={"calls": 1}, pending=True,
    )  # fmt: skip
    assert isinstance(decide(text, pull("x"), usage), Permit)
    decision = decide(text, pull("auth/x"), usage)
    assert codes(decision) == ["limit"]


def test_failures_on_the_target_raise_the_score() -> None:
    text = policy(risky(risk="{ deny_at = 10 }"))
    assert isinstance(decide(text, pull("x"), known(failed=2)), Permit)
    assert isinstance(decide(text, pull("x"), known(failed=3)), Deny)
    assert isinstance(decide(text, pull("x"), known("forge:shop/other", failed=3)), Permit)


def test_the_first_use_of_a_tool_raises_the_score() -> None:
    text = policy(risky(risk="{ deny_at = 10 }"))
    assert isinstance(decide(text, pull("x"), Usage()), Deny)
    assert isinstance(decide(text, pull("x"), known()), Permit)


def test_a_rollback_of_files_that_are_not_named_is_as_risky_as_can_be() -> None:
    asked = replace(pull(view={"files": "odd"}), effects={"files_changed": 9, "lines_changed": 1})
    risk = scored(Settings(), asked, known())
    assert (risk.points["paths"], risk.points["infrastructure"]) == (20, 20)


# --- conditions ---


def test_conditions_see_the_score_and_its_parts() -> None:
    text = policy(
        forbid("f", tool=f'"{PULL}"', where='{ "risk.parts.paths" = { min = 1 } }'),
        risky(where='{ "risk.score" = { max = 19 } }'),
    )
    assert isinstance(decide(text, pull("x")), Permit)
    assert codes(decide(text, pull("auth/x"))) == ["forbidden"]
    assert codes(decide(text, pull("package.json"))) == ["no_grant"]


def test_a_forbid_on_the_score_waits_for_the_plan() -> None:
    text = policy(forbid("f", where='{ "risk.score" = { min = 0 } }'), risky())
    assert screen(text, pull("x"), known(), NOW) is None
    assert codes(decide(text, pull("x"))) == ["forbidden"]


def test_explain_sees_the_same_score() -> None:
    text = policy(risky(where='{ "risk.score" = { max = 5 } }'), forbid("f", where='{ "risk.score" = { min = 99 } }'))
    explanation = explain(text, pull("auth/x"), known(), NOW)
    told = {trace.rule: (trace.verdict, trace.text) for trace in explanation.rules}
    assert told["g"] == ("misses", "risk.score is 20, but it must be at most 5")
    assert told["f"][0] == "misses"


# --- credentials ---

SECRET = diff_of("app/x.py", credentials()["a GitHub token"][0])


def test_what_looks_like_a_credential_is_refused_without_a_word_about_risk() -> None:
    decision = decide(policy(risky()), pull("app/x.py", diff=SECRET))
    assert isinstance(decision, Deny)
    assert codes(decision) == ["secret"]
    assert decision.rules == ("g",)
    assert 'a GitHub token is added to "app/x.py" (added line 1)' in decision.reasons[0].text
    assert credentials()["a GitHub token"][0] not in decision.reasons[0].text


def test_a_grant_may_allow_it_and_it_counts_in_the_score() -> None:
    decision = decide(policy(RISK, risky(secrets='"allowed"')), pull("app/x.py", diff=SECRET))
    assert isinstance(decision, Permit)
    assert decision.risk is not None
    assert decision.risk.points["secrets"] == 20


def test_one_of_several_grants_does_not_allow_it_for_the_others() -> None:
    decision = decide(policy(risky("a", secrets='"allowed"'), risky("b")), pull("app/x.py", diff=SECRET))
    assert codes(decision) == ["secret"]


def test_no_credential_gets_into_the_ledger_by_a_shadow() -> None:
    decision = decide(policy(risky(mode='"shadow"')), pull("app/x.py", diff=SECRET))
    assert codes(decision) == ["secret"]


# --- reading ---


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (RISK + "weigths = {}", 'risk.weigths: unknown key "weigths" (did you mean "weights"?)'),
        (RISK + "weights = { path = 1 }", 'risk.weights.path: unknown key "path" (did you mean "paths"?)'),
        (RISK + "weights = { paths = -1 }", "risk.weights.paths: must be an integer from 0 to 1000"),
        (RISK + f"weights = {{ {', '.join(f'{name} = 0' for name in WEIGHTS)} }}",
         "risk.weights: are all 0"),
        (RISK + 'paths = ["a[b]"]', "risk.paths[0]:"),
        (RISK + "size = { files = 0 }", "risk.size.files: must be an integer from 1"),
        (RISK + "history = { failures = 33 }", "risk.history.failures: must be an integer from 1 to 32"),
        (RISK + 'history = { within = "31d" }', "risk.history.within: 31d is longer than 30 days"),
        (RISK + "hours = { from = 18, until = 8 }", "risk.hours.until: must be later than 18"),
        (RISK + 'hours = { days = ["mon"] }', 'risk.hours.days[0]: "mon" is no day (did you mean "monday"?)'),
        (RISK + 'hours = { zone = "Europe/Berln" }', "risk.hours.zone:"),
        ("risk = 3", "risk: must be a table"),
        (risky(risk="{}"), "grants[0].risk: says nothing"),
        (risky(risk="{ hold_at = 0 }"), "grants[0].risk.hold_at: must be an integer from 1"),
        (risky(risk=f"{{ hold_at = 5, deny_at = 5, approval = {SRE} }}"), "grants[0].risk.hold_at: can never hold"),
        (risky(risk=f"{{ deny_at = 5, approval = {SRE} }}"), "grants[0].risk.approval: is asked for nothing"),
        (risky(risk="{ hold_at = 5 }"), "grants[0].risk.hold_at: nobody is named who could agree"),
        (risky(risk="{ hold_at = 5, approval = { quorum = 9, from = ['alice'] } }"), "grants[0].risk.approval"),
        (risky(risk="{ hold = 5 }"), 'grants[0].risk.hold: unknown key "hold"'),
        (risky(risk='{ deny_at = 5, mode = "off" }'), "grants[0].risk.mode:"),
        (risky(secrets="true"), "grants[0].secrets:"),
        (grant("g", "get_ticket", risk="{ deny_at = 5 }"), "grants[0].risk: get_ticket only reads"),
        (risky(where='{ "risk.scor" = 1 }'), 'grants[0].where.risk.scor: does not exist'),
        (risky(where='{ "risk.parts.path" = 1 }'), "grants[0].where.risk.parts.path: does not exist"),
        (risky(where='{ "risk.score" = "high" }'), 'grants[0].where.risk.score: "high" can never be'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(rules: str, told: str) -> None:
    text = rules if rules.startswith("\n") else PEOPLE
    found = problems(rules) if text is rules else problems(people=f"{rules}\n{PEOPLE}")
    assert any(problem.startswith(told) for problem in found), found


def test_thresholds_that_no_score_reaches_are_warned_of() -> None:
    text = policy(RISK + "weights = { paths = 10 }", risky(risk="{ deny_at = 91 }"))
    assert any("deny_at: can never be reached: the highest score there is is 90" in line for line in text.warnings())


def test_every_part_has_a_weight_and_a_name_for_conditions() -> None:
    assert set(PARTS) == set(WEIGHTS) == set(RISK_PARTS)
    assert list(PARTS) == sorted(PARTS)
    assert sum(WEIGHTS.values()) == 100


def test_what_is_said_of_risk_is_read_whole() -> None:
    settings = policy(
        RISK + 'paths = ["a/**"]\ninfrastructure = []\ndependencies = ["b"]\nsize = { files = 2, lines = 3 }\n'
        'history = { failures = 4, within = "30d" }\n'
        'hours = { from = 0, until = 24, days = ["sunday"], zone = "Europe/Berlin" }\n'
    ).risk
    assert settings is not None
    assert (settings.paths.sources, settings.infrastructure.sources, settings.dependencies.sources) == (
        ("a/**",),
        (),
        ("b",),
    )
    assert (settings.files, settings.lines, settings.failures, settings.within) == (2, 3, 4, timedelta(days=30))
    assert (settings.hours.begin, settings.hours.end, settings.hours.days) == (0, 24, frozenset({"sunday"}))


# --- properties ---

PATHS = st.lists(st.sampled_from(["x", "auth/y", "package.json", "main.tf", ".env"]), max_size=4, unique=True)
PASTS = st.builds(lambda failed, first: Usage() if first else known(failed=failed), st.integers(0, 4), st.booleans())
REQUESTS = st.builds(
    lambda paths, lines, secret: pull(*paths, lines=lines, diff=SECRET if secret else ""),
    PATHS,
    st.integers(0, 700),
    st.booleans(),
)
RULES = st.lists(
    st.sampled_from(
        [
            {},
            {"risk": "{ deny_at = 60 }"},
            {"risk": f"{{ hold_at = 20, approval = {SRE} }}"},
            {"risk": f"{{ hold_at = 30, deny_at = 50, approval = {ONCALL} }}", "secrets": '"allowed"'},
            {"risk": '{ deny_at = 10, mode = "shadow" }', "secrets": '"allowed"'},
            {"where": '{ "risk.score" = { max = 40 } }', "approval": SRE},
            {"where": '{ "risk.parts.size" = { min = 2 } }', "mode": '"shadow"'},
        ]
    ),
    min_size=1,
    max_size=4,
)


def text_of(rules: Sequence[Mapping[str, str]]) -> list[str]:
    return [risky(f"g{index}", **dict(rule)) for index, rule in enumerate(rules)]


@given(RULES, REQUESTS, PASTS, st.randoms())
def test_the_order_of_rules_never_matters(
    rules: list[dict[str, str]],
    asked: Request,
    usage: Usage,
    random: st.randoms,  # type: ignore[valid-type]  # a Random
) -> None:
    texts = text_of(rules)
    mixed = list(texts)
    random.shuffle(mixed)  # type: ignore[attr-defined]  # as above
    assert decide(policy(RISK, *texts), asked, usage) == decide(policy(RISK, *mixed), asked, usage)


@given(RULES, REQUESTS, PASTS)
def test_a_score_is_pure_and_explain_agrees(rules: list[dict[str, str]], asked: Request, usage: Usage) -> None:
    text = policy(RISK, *text_of(rules))
    before = usage.to_json()
    first = decide(text, asked, usage)
    assert decide(text, asked, usage) == first == explain(text, asked, usage, NOW).decision
    assert usage.to_json() == before
    assert first.risk is None or first.risk == assess(Settings(), asked, usage, NOW)


@given(REQUESTS, PASTS, st.sets(st.sampled_from(RISK_PARTS)))
def test_a_weight_of_nothing_turns_its_part_off(asked: Request, usage: Usage, off: set[str]) -> None:
    weights = MappingProxyType({name: 0 if name in off else most for name, most in WEIGHTS.items()})
    whole = scored(Settings(), asked, usage)
    left = scored(Settings(weights=weights), asked, usage)
    assert left.parts == tuple(part for part in whole.parts if part.name not in off)
    assert left.score == sum(points for name, points in whole.points.items() if name not in off)


STRICTNESS = {Permit: 0, Hold: 1, Deny: 2}
THRESHOLDS = st.tuples(st.integers(1, 60), st.integers(61, 120)).map(
    lambda pair: {"risk": f"{{ hold_at = {pair[0]}, deny_at = {pair[1]}, approval = {SRE} }}"}
)


@given(
    st.lists(THRESHOLDS, min_size=1, max_size=3),
    REQUESTS,
    PASTS,
    st.dictionaries(st.sampled_from(RISK_PARTS), st.integers(0, 50)),
)
def test_a_higher_score_never_loosens(
    rules: list[dict[str, str]], asked: Request, usage: Usage, more: dict[str, int]
) -> None:
    def weighed(extra: Mapping[str, int]) -> Decision:
        weights = ", ".join(f"{name} = {most + extra.get(name, 0)}" for name, most in WEIGHTS.items())
        return decide(policy(RISK + f"weights = {{ {weights} }}\n", *text_of(rules)), asked, usage)

    low, high = weighed({}), weighed(more)
    assert low.risk is None or high.risk is None or low.risk.score <= high.risk.score
    assert STRICTNESS[type(low)] <= STRICTNESS[type(high)]
    if isinstance(low, Hold) and isinstance(high, Hold):
        assert set(low.obligations) <= set(high.obligations)


@given(RULES, REQUESTS, PASTS)
def test_a_credential_goes_through_only_where_every_grant_allows_it(
    rules: list[dict[str, str]], asked: Request, usage: Usage
) -> None:
    decision = decide(policy(RISK, *text_of(rules)), asked, usage)
    if asked.diff and not isinstance(decision, Deny):
        assert all(rules[int(rule[1:])].get("secrets") == '"allowed"' for rule in decision.rules)


@given(
    st.lists(
        st.tuples(st.text(max_size=9), st.integers(0, 99), st.lists(st.text(max_size=9), max_size=2)), max_size=4
    )
)
def test_a_score_survives_its_payload(rows: list[tuple[str, int, list[str]]]) -> None:
    risk = Risk(tuple(RiskPart(name, points, 99, tuple(because)) for name, points, because in rows))
    assert risk_from_json(risk.to_json()) == risk


def test_what_is_no_score_is_none() -> None:
    assert risk_from_json(None) is None
    assert risk_from_json({"parts": [3, {"name": "x"}], "score": 1}) == Risk(())
