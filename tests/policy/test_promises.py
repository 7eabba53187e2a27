"""What the policy promises of every decision, with all that the language has: lanes, freezes, risk, dates, prices.

1. The order of rules never matters, nor in which file they stand.
2. Adding a grant never removes an approval another asks.
3. Adding a rule of any other kind never loosens.
4. A forbid always wins.
5. `evaluate` is pure: the same inputs give the same answer and change nothing.
6. `explain` agrees with `evaluate`.
7. Every error path denies.
8. What the index of grants leaves out would not have matched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.canon import Json
from keyturn.model.decision import Decision, Deny, Hold, Permit, Request, Shadow
from keyturn.policy import Circumstances, Override, Policy, Usage, evaluate, explain, read_policy, screen
from tests.policy.freezes.calendars import calendar, event, freeze
from tests.policy.test_properties import APPROVALS, LIMITS, a_past
from tests.policy.world import CATALOG, NOW, PEOPLE, budget, forbid, grant, request

CONDITIONS = [
    'environment = "staging"',
    'environment = "production"',
    'environment = ["staging", "production"]',
    'environment = { not = "staging" }',
    '"arguments.flag" = { glob = ["a*", "*/b", "**/c*"] }',
    '"arguments.percent" = { min = 3, max = 50 }',
    '"plan.files[*].path" = { glob = "docs/**" }',
    '"plan.files[*].path" = { some = { glob = "**/.ci/*" } }',
    '"principal.owner" = { not = "carol" }',
    'target = { glob = "flags:*/dark" }',
    '"risk.score" = { max = 40 }',
    '"risk.parts.size" = { min = 2 }',
    '"time.hour" = { max = 12 }',
]
WHERE = st.lists(st.sampled_from(CONDITIONS), max_size=2, unique_by=lambda text: text.split(" ")[0]).map(
    lambda conditions: "{ " + ", ".join(conditions) + " }"
)
DATES = st.sampled_from(
    [
        None,
        None,
        "{ from = 2026-11-23T09:30:00Z }",
        "{ until = 2026-11-23T09:30:00Z }",
        "{ from = 2026-11-23T10:31:00+01:00, until = 2027-01-01T00:00:00Z }",
    ]
)
RISKS = [
    None,
    None,
    "{ deny_at = 60 }",
    f"{{ hold_at = 5, approval = {APPROVALS[0]} }}",
    f"{{ hold_at = 20, deny_at = 50, approval = {APPROVALS[1]} }}",
    '{ deny_at = 10, mode = "shadow" }',
]
MORE_LIMITS = [*LIMITS, "3 submissions per hour", "12 cost per day", "120 runtime per hour per target"]
SECRET = "+token = ghp_" + "a1B2" * 9 + "\n"
HEADS = [
    "",
    '[lanes.red]\ntools = ["set_flag"]\n',
    f"[lanes.red]\napproval = {APPROVALS[0]}\n",
    '[lanes.red]\nrecipients = ["a*"]\n',
]
CALENDARS = {
    "x.ics": calendar(event(":20261123T090000Z", ":20261123T120000Z", "RRULE:FREQ=DAILY")),
    "y.ics": calendar(event(";VALUE=DATE:20261201", ";VALUE=DATE:20261206")),
}
UNUSED = "".join(freeze(f"unused {path}", path, tools='["create_ticket"]', mode='"shadow"') for path in CALENDARS)
PRICES = '\n[tools.set_flag]\ncost = 5\nruntime = "60s"\n\n[risk]\n'


@dataclass(frozen=True)
class Rules:
    """Rules as texts: the grants, and all others in any order."""

    head: str
    grants: tuple[str, ...]
    others: tuple[str, ...]

    def read(self) -> Policy:
        return read_policy({"policy.toml": self.people + "".join((*self.grants, *self.others)), **CALENDARS}, CATALOG)

    @property
    def people(self) -> str:
        laned = PEOPLE.replace("[environments.production]", '[environments.production]\nlane = "red"')
        return f"{laned if self.head else PEOPLE}{PRICES}{self.head}{UNUSED}"

    def split(self) -> Policy:
        """Return the policy of the same rules, each in a file of its own."""
        parts = {f"policy.d/{n}.toml": text for n, text in enumerate((*self.grants, *self.others))}
        return read_policy({"policy.toml": f'includes = ["policy.d/"]\n{self.people}', **parts, **CALENDARS}, CATALOG)


def lines(**more: str | None) -> dict[str, str]:
    return {key: value for key, value in more.items() if value is not None}


def limits(draw: st.DrawFn) -> str:
    chosen = draw(st.lists(st.sampled_from(MORE_LIMITS), min_size=1, max_size=2, unique=True))
    return "[" + ", ".join(f'"{limit}"' for limit in chosen) + "]"


@st.composite
def a_grant(draw: st.DrawFn, name: str) -> str:
    more = lines(
        where=draw(WHERE),
        approval=draw(st.sampled_from([None, None, *APPROVALS[:2]])),
        limits=draw(st.sampled_from([None, limits(draw)])),
        risk=draw(st.sampled_from(RISKS)),
        valid=draw(DATES),
        mode=draw(st.sampled_from([None, None, None, '"shadow"'])),
        secrets=draw(st.sampled_from([None, '"allowed"'])),
        execute=draw(st.sampled_from([None, None, '"manual"'])),
    )
    if "shadow" in more.get("mode", ""):
        more.pop("execute", None)
    return grant(name, principals=draw(st.sampled_from(['["claude", "lone"]', '["claude"]'])), **more)


@st.composite
def another(draw: st.DrawFn, name: str) -> str:
    """A forbid, a limit or a freeze."""
    more = lines(valid=draw(DATES), mode=draw(st.sampled_from([None, None, '"shadow"'])))
    match draw(st.sampled_from(["forbid", "limit", "freeze"])):
        case "forbid":
            return forbid(name, tool='"set_flag"', where=draw(WHERE), **more)
        case "limit":
            return budget(name, limits=limits(draw), **more)
        case _:
            held = lines(effect='"hold"', approval=APPROVALS[0]) if draw(st.booleans()) else {}
            about = draw(st.sampled_from([{}, {"environments": '["staging"]'}, {"targets": '["flags:*/dark"]'}]))
            return freeze(name, draw(st.sampled_from(sorted(CALENDARS))), **held, **about, **more)


@st.composite
def some_rules(draw: st.DrawFn) -> Rules:
    return Rules(
        draw(st.sampled_from(HEADS)),
        tuple(draw(a_grant(f"g{n}")) for n in range(draw(st.integers(0, 4)))),
        tuple(draw(another(f"o{n}")) for n in range(draw(st.integers(0, 3)))),
    )


@st.composite
def a_request(draw: st.DrawFn) -> Request:
    files: list[Json] = [{"path": path} for path in draw(st.sampled_from([[], ["docs/a"], ["docs/a", "a/.ci/x"]]))]
    audience: Mapping[str, Json] = draw(st.sampled_from([{}, {"audience": ["ann"]}, {"audience": ["bob"]}]))
    return replace(
        request(
            principal=draw(st.sampled_from(["claude", "claude", "lone", "codex"])),
            arguments=draw(st.sampled_from([{}, {"flag": "ab"}, {"flag": "x/b", "percent": 40}, {"percent": 99}])),
            target=draw(st.sampled_from(["flags:staging/dark", "flags:production/dark", "flags:production/a"])),
            view={"files": files, **audience},
            effects=draw(
                st.sampled_from([{}, {"recipients": 1}, {"lines_changed": 15, "files_changed": 2, "recipients": 0}])
            ),
        ),
        diff=draw(st.sampled_from(["", "", SECRET])),
    )


MOMENTS = st.sampled_from([NOW, NOW - timedelta(minutes=30), NOW + timedelta(hours=3)])
ASIDE = st.sampled_from(["", "", "o0", "o1"]).map(
    lambda name: Circumstances(
        overrides=(Override(freeze=name, until=NOW + timedelta(hours=1), seq=9, by="alice"),) if name else ()
    )
)
SITUATIONS = st.tuples(a_request(), a_past(), MOMENTS, ASIDE)
Situation = tuple[Request, Usage, datetime, Circumstances]
STRICTNESS = {Permit: 0, Hold: 1, Shadow: 2, Deny: 3}


def asked(decision: Decision) -> set[object]:
    return set(decision.obligations) if isinstance(decision, Hold) else set()


@settings(max_examples=60, deadline=None)
@given(some_rules(), SITUATIONS, st.randoms(use_true_random=False))
def test_neither_the_order_of_rules_nor_their_file_ever_matters(rules: Rules, at: Situation, dice: object) -> None:
    def mixed(texts: tuple[str, ...]) -> tuple[str, ...]:
        shuffled = list(texts)
        dice.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
        return tuple(shuffled)

    decision = evaluate(rules.read(), *at)
    assert decision == evaluate(Rules(rules.head, mixed(rules.grants), mixed(rules.others)).read(), *at)
    assert decision == evaluate(rules.split(), *at)
    assert screen(rules.read(), *at) == screen(rules.split(), *at)


@settings(max_examples=150, deadline=None)
@given(some_rules(), a_grant("added"), SITUATIONS)
def test_adding_a_grant_never_removes_an_approval_another_asks(rules: Rules, added: str, at: Situation) -> None:
    before = evaluate(rules.read(), *at)
    after = evaluate(replace(rules, grants=(*rules.grants, added)).read(), *at)
    match before:
        case Hold():
            assert isinstance(after, (Hold, Deny))
            assert isinstance(after, Deny) or asked(before) <= asked(after)
            if isinstance(after, Hold):
                assert after.expires_at <= before.expires_at
                assert set(after.manual) >= set(before.manual)
        case Deny() if before.rules:  # a rule spoke
            assert isinstance(after, Deny)
        case _:
            pass


@settings(max_examples=150, deadline=None)
@given(some_rules(), another("added"), SITUATIONS)
def test_adding_a_rule_of_any_other_kind_never_loosens(rules: Rules, added: str, at: Situation) -> None:
    before = evaluate(rules.read(), *at)
    after = evaluate(replace(rules, others=(*rules.others, added)).read(), *at)
    assert STRICTNESS[type(after)] >= STRICTNESS[type(before)]
    assert isinstance(after, Deny) or asked(before) <= asked(after)


@settings(max_examples=60, deadline=None)
@given(some_rules(), SITUATIONS)
def test_a_forbid_always_wins(rules: Rules, at: Situation) -> None:
    decision = evaluate(replace(rules, others=(*rules.others, forbid("always"))).read(), *at)
    assert isinstance(decision, Deny)
    told = explain(rules.read(), *at)
    applies = [t for t in told.rules if t.kind == "forbid" and t.mode == "live" and t.verdict == "applies"]
    assert not applies or isinstance(told.decision, Deny)


@settings(max_examples=60, deadline=None)
@given(some_rules(), SITUATIONS)
def test_evaluate_is_pure(rules: Rules, at: Situation) -> None:
    asks, past, now, aside = at
    read, snapshot = rules.read(), past.to_json()
    first = evaluate(read, *at)
    evaluate(read, asks, past, now + timedelta(days=90), aside)  # what calendars keep changes nothing
    assert evaluate(read, *at) == first
    assert evaluate(rules.read(), asks, Usage.from_json(snapshot), now, aside) == first
    assert past.to_json() == snapshot


@settings(max_examples=150, deadline=None)
@given(some_rules(), SITUATIONS)
def test_explain_agrees_with_evaluate(rules: Rules, at: Situation) -> None:
    told = explain(rules.read(), *at)
    assert told.decision == evaluate(rules.read(), *at)
    applying = {t.rule for t in told.rules if t.kind == "grant" and t.mode == "live" and t.verdict == "applies"}
    match told.decision:
        case Permit() | Hold():
            assert applying == set(told.decision.rules)
        case Shadow():
            assert applying == set()
        case Deny() if {reason.code for reason in told.decision.reasons} == {"no_grant"}:
            assert applying == set()
        case Deny():
            spoke = {t.rule for t in told.rules if t.verdict == "applies"}
            assert {reason.rule for reason in told.decision.reasons} & {*spoke, None}


@settings(max_examples=60, deadline=None)
@given(some_rules(), SITUATIONS)
def test_every_error_path_denies(rules: Rules, at: Situation) -> None:
    asks, *rest = at
    read = rules.read()
    for broken in (
        replace(asks, principal="nobody"),
        replace(asks, tool="unknown"),
        replace(asks, token_scopes=frozenset()),
        replace(asks, target=None),
        replace(asks, target=""),
        replace(asks, target="x:y/z"),
        replace(asks, target="flags:staging/\ud800"),
        replace(asks, environment="elsewhere"),
    ):
        decision = evaluate(read, broken, *rest)  # type: ignore[arg-type]  # what is left of a situation
        assert isinstance(decision, Deny)
        assert all(reason.text and reason.text.isprintable() for reason in decision.reasons)


@settings(max_examples=150, deadline=None)
@given(some_rules(), SITUATIONS)
def test_what_the_index_of_grants_leaves_out_would_not_have_matched(rules: Rules, at: Situation) -> None:
    read = rules.read()
    told = {t.rule for t in explain(read, *at).rules if t.kind == "grant" and t.verdict == "applies"}
    for environment in ("staging", "production", "elsewhere"):
        found = read.grants_in(at[0].principal, "set_flag", environment)
        assert list(found) == sorted(found, key=lambda rule: rule.id)
        if read.environment_of(at[0].target or "") == environment:
            assert told <= {rule.id for rule in found}
