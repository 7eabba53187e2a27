"""What a diff of two policies promises, held against trying every request of small worlds.

1. It says nothing of equal policies, however they are written.
2. It never misses a request that one policy lets through further than the other.
3. Each gain and each loss that it shows by a request is one.
4. Nothing that changes a decision, or what is suspended by itself, leaves it silent, and no sentence is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.model.decision import Decision, Hold, Permit
from keyturn.model.sshkey import PublicKey
from keyturn.policy import Policy, Usage, evaluate
from keyturn.policy.alarms import Alarms
from keyturn.policy.degrade import due
from keyturn.policy.difference import Change, Outlook, difference
from keyturn.policy.reach.changes import shifts
from tests.policy.freezes.calendars import calendar, event, freeze, frozen
from tests.policy.reach.small_worlds import (
    APPROVAL,
    ATOMS,
    PRINCIPALS,
    SETTLED,
    Text,
    a_forbid,
    a_grant,
    judged,
    requests,
    some_rules,
)
from tests.policy.world import NOW, PEOPLE, budget, forbid, grant, key, label, policy, request, use

OUTLOOK = Outlook(NOW)
WORLDS = [
    ("", ""),
    ('"flags:staging/**"', '"flags:staging/a", "flags:nowhere/**"'),
    ('"flags:production/**"', '"flags:production/**", "flags:staging/a"'),
    ('owner = "bob"', 'owner = "carol"'),
    ('groups = ["assistants"]\nscopes = ["pr:write", "ticket:write", "odd:write"]', 'scopes = ["odd:write"]'),
    ('"ticket:read", "odd:write"]', '"ticket:read"]'),
]


def level(decision: Decision) -> str:
    return {Permit: "permit", Hold: "hold"}.get(type(decision), "deny")


@st.composite
def two(draw: st.DrawFn, conditions: Sequence[str]) -> tuple[str, Policy, Policy]:
    """Two policies that differ in a rule or two, and at times in who or what there is; and all of their text."""
    old = draw(some_rules(conditions))
    rules = list(old.rules)
    for turn in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(rules)))
        new = draw(st.sampled_from([a_grant, a_forbid]))(
            f"n{turn}", list(conditions[:1]) + list(_near(old, conditions))
        )
        rules[at : at + draw(st.integers(0, 1))] = [draw(new)] if draw(st.booleans()) else []
    before, after = draw(st.sampled_from(WORLDS))
    people = PEOPLE.replace(before, after) if before else PEOPLE
    return "".join((*old.rules, *rules)), old.read(), policy(*rules, people=people)


def _near(old: Text, conditions: Sequence[str]) -> list[str]:
    """Return conditions on arguments that the rules ask about already, so that few requests tell them apart."""
    text = "".join(old.rules)
    return [one for one in conditions if "arguments." not in one or one.split('"')[1].split("[")[0] in text]


@settings(max_examples=25, deadline=None)
@given(two([*SETTLED, *ATOMS]))
def test_no_request_that_is_decided_otherwise_is_missed(drawn: tuple[str, Policy, Policy]) -> None:
    text, old, new = drawn
    found = shifts(old, new, OUTLOOK)
    told = {(one.principal, one.before, one.after) for one in found}
    for principal in PRINCIPALS:
        for asked in requests(text, principal):
            step = level(judged(old, asked)), level(judged(new, asked))
            assert step[0] == step[1] or (principal, *step) in told, (asked, step)
    for one in found:
        if not one.open:
            assert (level(judged(old, one.request)), level(judged(new, one.request))) == (one.before, one.after)


@settings(max_examples=30, deadline=None)
@given(some_rules([*SETTLED, *ATOMS]), st.randoms(use_true_random=False))
def test_nothing_is_said_of_policies_that_are_equal(text: Text, dice: object) -> None:
    rules = list(text.rules)
    dice.shuffle(rules)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    other = policy("# a remark\n", *rules)
    assert difference(text.read(), other, OUTLOOK) == ()


def told(*rules: str, was: Sequence[str] = (), people: str = PEOPLE) -> list[str]:
    """Return the sentences from the rules that were to these."""
    found = difference(policy(*was), policy(*rules, people=people), OUTLOOK)
    return [f"{one.kind} {one.who}: {one.text}" if one.who else f"{one.kind}: {one.text}" for one in found]


SECTIONS = (
    (
        "",
        f"approval = {APPROVAL}",
        "risk = { deny_at = 10 }",
        f'risk = {{ hold_at = 10, approval = {APPROVAL}, mode = "shadow" }}',
        'execute = "manual"',
        'anchor = "before"',
        'secrets = "allowed"',
        'mode = "shadow"',
        "valid = { until = 2026-01-01T00:00:00Z }",
        'limits = ["2 calls per hour"]',
        'limits = ["2 calls per hour per tool", "1 pending"]',
    ),
    ("", *(f"[[limits]]\nid = 'b'\nlimits = ['2 {unit}']\n" for unit in ("calls per 1h", "cost per 1d", "pending"))),
    ("", "per = 'tool'\n", "per = 'owner'\n", "mode = 'shadow'\n", "valid = { from = 2036-01-01T00:00:00Z }\n"),
    ("", "principals = ['claude']\n", "principals = ['lone', 'codex']\n"),
    ("", "environments = ['staging']\n", "environments = ['production']\n"),
    ("", "tool = 'set_flag'\n", "tool = 'update_ticket'\n"),
    ("", "[tools.set_flag]\ncost = 1\n", "[tools.set_flag]\ncost = 3\nruntime = '9s'\n"),
    (
        "",
        "[risk]\nweights = { paths = 50 }\n",
        "[risk]\nsize = { files = 3 }\n",
        "[risk]\npaths = ['a']\n",
        "[risk]\nhours = { from = 1, until = 2 }\n",
        "[risk]\nhistory = { failures = 1 }\n",
    ),
    (
        "",
        "[degrade]\non_unknown_outcomes = { over = 1 }\n",
        "[degrade]\non_unknown_outcomes = { over = 1, environments = ['staging'] }\n",
        "[degrade]\non_incident = { mode = 'suspended' }\n",
    ),
    ("", "[lanes.red]\ntools = ['update_ticket']\n", f"[lanes.red]\napproval = {APPROVAL}\n"),
)
ASKED = [
    request(name, target=target, view={"files": [{"path": path, "status": "modified"}]}, effects=effects)
    for name in PRINCIPALS
    for target, path, effects in (
        ("flags:staging/dark", "a", {"files_changed": 1, "lines_changed": 9, "recipients": 0}),
        ("flags:production/dark", "auth/b", {"files_changed": 9, "lines_changed": 900, "recipients": 2}),
    )
]


@st.composite
def a_text(draw: st.DrawFn) -> tuple[int, ...]:
    """One variant of each section, mostly the plainest."""
    return tuple(draw(st.integers(0, len(variants) - 1)) for variants in SECTIONS)


def written(chosen: Sequence[int]) -> Policy:
    rule, limit, *more = (variants[index] for variants, index in zip(SECTIONS, chosen, strict=True))
    *counted, prices, risk, degrade, lane = more
    people = PEOPLE.replace("[environments.staging]", '[environments.staging]\nlane = "red"') if lane else PEOPLE
    text = f'\n[[grants]]\nid = "g"\nprincipals = ["claude", "codex", "lone"]\ntool = "set_flag"\n{rule}\n'
    pin = f'contract = "{label("set_flag")}"\n'
    return policy(text + pin, limit + "".join(counted if limit else ()), prices, risk, degrade, lane, people=people)


def everything_said(one: Policy) -> list[object]:
    usage = Usage()
    for index, name in enumerate(("claude", "codex", "lone", "claude")):
        owner = {"claude": "bob", "codex": "carol"}.get(name)
        amounts = {"calls": 1, "cost": 2}
        use(usage, f"a{index}", NOW - timedelta(minutes=9), amounts, principal=name, owner=owner, pending=index > 1)
    alarms = Alarms(unknown=2, incident=("clock", 3))
    return [*(evaluate(one, asked, usage, NOW) for asked in ASKED), *due(one.degrade, alarms, NOW)]


@settings(max_examples=60, deadline=None)
@given(a_text(), a_text(), st.sets(st.integers(0, len(SECTIONS) - 1), max_size=2))
def test_what_decides_otherwise_is_never_left_unsaid(
    was: tuple[int, ...], other: tuple[int, ...], moved: set[int]
) -> None:
    now = [other[place] if place in moved else index for place, index in enumerate(was)]
    before, after = written(was), written(now)
    found = difference(before, after, OUTLOOK)
    assert found or everything_said(before) == everything_said(after)
    for one in found:
        new, instead, old = one.text.rpartition(" instead of ")
        assert not one.text.endswith(": ")
        assert not instead or not new.endswith(f" {old}"), one.text


STAGING = '{ environment = "staging" }'


def test_a_new_grant_is_a_gain_for_each_of_its_principals() -> None:
    assert told(grant(principals='["claude", "lone"]', where=STAGING)) == [
        "gains claude: may call set_flag in staging without a review, and was refused",
        "gains lone: may call set_flag in staging without a review, and was refused",
        'changes: grant "g" is new',
    ]


def test_a_grant_that_is_gone_is_a_loss() -> None:
    was = [grant(principals='["claude"]', where=STAGING, approval=APPROVAL)]
    assert told(was=was) == [
        "loses claude: may not ask for set_flag in staging any more, not even to be reviewed",
        'loses alice: may not review "g" any more',
        'loses carol: may not review "g" any more',
        'changes: grant "g" is gone',
    ]


def test_an_approval_that_is_dropped_is_told_as_what_it_was() -> None:
    was = [grant(principals='["claude"]', where=STAGING, approval=APPROVAL)]
    found = told(grant(principals='["claude"]', where=STAGING), was=was)
    assert "gains claude: may call set_flag in staging without a review, and needed one" in found
    assert 'changes: grant "g": asks for no review instead of for 1 of group:sre within 4h' in found


def test_a_forbid_that_is_gone_shows_a_request_that_it_refused() -> None:
    stays = grant(principals='["claude"]', where=STAGING)
    was = policy(stays, forbid(where='{ "arguments.flag" = { glob = "x*" } }', tool='"set_flag"'))
    first, *_ = difference(was, policy(stays), OUTLOOK)
    assert (first.kind, first.who, first.rules) == ("gains", "claude", ("g",))
    assert first.request is not None
    assert str(first.request.arguments["flag"]).startswith("x")


def test_what_cannot_be_settled_is_told_with_its_condition() -> None:
    first, *_ = difference(policy(), policy(grant(principals='["claude"]', where='{ "plan.replicas" = 3 }')), OUTLOOK)
    assert first.open == ("plan.replicas must be 3 [g]",)
    assert first.to_json()["open"] == ["plan.replicas must be 3 [g]"]


def test_wider_and_narrower_limits_are_gains_and_losses() -> None:
    was = [
        grant(principals='["claude"]', limits='["5 calls per hour", "2 calls per day", "9 pending"]'),
        budget(limits='["7 calls per hour per owner"]', principals='["lone"]'),
    ]
    now = [
        grant(principals='["claude"]', limits='["6 calls per hour", "1 calls per day"]'),
        budget("all", limits='["8 calls per hour per tool"]'),
    ]
    assert [one for one in told(*now, was=was) if not one.startswith("changes")] == [
        'gains claude: has at most 6 calls per 1h per principal by "g" (it was 5)',
        'gains claude: is no longer limited to 9 pending per principal by "g"',
        'gains lone: is no longer limited to 7 calls per 1h per owner by "b"',
        'loses claude: has at most 1 calls per 1d per principal by "g" (it was 2)',
        'loses everybody: has at most 8 calls per 1h per tool by "all" (which is new)',
    ]


def test_people_who_may_review_more_or_less_are_named() -> None:
    was = [grant(principals='["claude"]', approval='{ quorum = 1, from = ["alice", "carol"] }')]
    now = grant(principals='["claude"]', approval='{ quorum = 1, from = ["alice", "dave"] }')
    found = told(now, was=was)
    assert found[:2] == ['gains dave: may review "g"', 'loses carol: may not review "g" any more']


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('groups = ["oncall"]', 'groups = ["sre"]', 'changes: reviewer "dave": groups "sre" instead of "oncall"'),
        ('"tickets:*/*", ', "", 'changes: environment "staging": '),
        ('display = "Bob"', 'display = "Rob"', 'changes: person "bob": display "Rob" instead of "Bob"'),
        ('owner = "carol"', 'owner = "bob"', 'changes: principal "codex": owner "bob" instead of "carol"'),
        ("[people.bob]", "[people.eve]\n[people.bob]", 'changes: person "eve" is new'),
        ("[principals.lone]", "[queue]\ntotal = 3\n[principals.lone]", "changes: how much may be under way at once"),
    ],
)
def test_no_section_changes_in_silence(before: str, after: str, sentence: str) -> None:
    rule = grant(principals='["claude"]')
    found = told(rule, was=[rule], people=PEOPLE.replace(before, after))
    assert any(one.startswith(sentence) for one in found), found


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ('{ "time.hour" = 3 }', '{ "time.hour" = 3, "time.zone" = "Europe/Berlin" }'),
        ('{ "arguments.flag" = "a" }', '{ "arguments.flag" = "b" }'),
        ('{ "arguments.flag" = { glob = "a" } }', '{ "arguments.flag" = { glob = "a", ignore_case = true } }'),
    ],
)
def test_conditions_that_read_otherwise_are_named(was: str, now: str) -> None:
    found = told(grant(where=now), was=[grant(where=was)])
    assert any(one.startswith('changes: grant "g": ') for one in found), found


def test_a_change_is_printed_as_json() -> None:
    change = Change(kind="changes", who="", text="words")
    assert change.to_json() == {
        "kind": "changes",
        "who": "",
        "text": "words",
        "rules": [],
        "request": None,
        "open": [],
    }
    assert replace(change, who="x").to_json()["who"] == "x"


def test_a_target_that_moves_into_another_environment_is_followed() -> None:
    rule = grant(principals='["claude"]', where='{ environment = "production" }')
    people = PEOPLE.replace('"flags:staging/**"', '"flags:nowhere/**"').replace(
        '"flags:production/**"', '"flags:production/**", "flags:staging/**"'
    )
    first, *_ = difference(policy(rule), policy(rule, people=people), OUTLOOK)
    assert (first.kind, first.text) == ("gains", "may call set_flag in production without a review, and was refused")
    assert first.request is not None
    assert str(first.request.target).startswith("flags:staging/")


EVENT = event(":20261201T080000", ":20261201T100000")


def test_freezes_that_change_are_told_by_what_changes() -> None:
    rule = grant(principals='["claude"]')
    was = frozen(calendar(EVENT), rule, freeze())

    def said(text: str, *rules: str, moved: Sequence[str] = ()) -> list[str]:
        return [one.text for one in difference(was, frozen(text, rule, *rules), OUTLOOK, moved)]

    assert said(calendar(EVENT), freeze()) == []
    assert said(calendar(EVENT), freeze(), moved=["x.ics"]) == ['freeze "z": its calendar x.ics differs']
    clock = 'freeze "z": reads days and times without a zone as those of Europe/Berlin instead of UTC'
    assert said(calendar(EVENT), freeze(timezone='"Europe/Berlin"')) == [clock]
    assert said(calendar(EVENT), freeze(effect='"hold"', approval=APPROVAL))[0].startswith(
        'freeze "z": effect "hold"'
    )
    assert said(calendar(EVENT), freeze(environments='["staging"]')) == [
        'freeze "z": environments "staging" instead of not said'
    ]


def test_another_clock_for_later_events_of_a_calendar_is_told() -> None:
    later = event(":20270101T080000", ":20270101T100000", uid="two")
    text = calendar(event(":20261201T080000Z", ":20261201T100000Z"), later)
    was, now = (frozen(text, freeze(timezone=f'"{zone}"')) for zone in ("Europe/Berlin", "Asia/Tokyo"))
    clock = 'freeze "z": reads days and times without a zone as those of Asia/Tokyo instead of Europe/Berlin'
    assert [one.text for one in difference(was, now, OUTLOOK)] == [clock]


def test_a_clock_that_no_event_goes_by_is_no_difference() -> None:
    text = calendar(event(":20261201T080000Z", ":20261201T100000Z"))
    was, now = (frozen(text, freeze(timezone=f'"{zone}"')) for zone in ("Europe/Berlin", "Asia/Tokyo"))
    assert difference(was, now, OUTLOOK) == ()


def test_the_dates_of_a_limit_are_told() -> None:
    was, now = budget(limits='["5 calls per hour"]'), "{ until = 2026-01-01T00:00:00Z }"
    assert told(budget(limits='["5 calls per hour"]', valid=now), was=[was]) == [
        'changes: limit "b": counts until 2026-01-01T00:00:00.000000Z instead of always'
    ]


def test_the_same_words_in_a_forbid_and_in_a_grant_do_not_rule_each_other_out() -> None:
    # Without replicas in the plan the forbid applied, and what asks for a review misses.
    atom = '{ "plan.replicas" = 3 }'
    free = grant("free", principals='["claude"]')
    was = [free, forbid(tool='"set_flag"', where=atom)]
    found = told(free, grant("ask", principals='["claude"]', where=atom, approval=APPROVAL), was=was)
    assert "gains claude: may call set_flag in staging without a review, and was refused" in found


MANY = ", ".join(f'"v{n}"' for n in range(7))
LONG = "x" * 300


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        (
            '{ glob = "a" }',
            '{ glob = "a", ignore_case = true }',
            'asks that arguments.flag match "a", whatever its case',
        ),
        (f"{{ glob = [{MANY}] }}", f'{{ glob = [{MANY}, "w"] }}', "or 2 more"),
        (f"{{ regex = [{MANY}] }}", f'{{ regex = [{MANY}, "w"] }}', "or 2 more"),
        (f"[{MANY}]", f'[{MANY}, "w"]', "and 2 more"),
        (f'[{MANY}, "v"]', f'[{MANY}, "w"]', "asks something else of arguments.flag"),
        (f'"{LONG}"', f'"{LONG}y"', "asks something else of arguments.flag"),
    ],
)
def test_no_condition_changes_without_words(was: str, now: str, words: str) -> None:
    rules = [forbid(tool='"set_flag"', where=f'{{ "arguments.flag" = {test} }}') for test in (was, now)]
    (found,) = told(rules[1], was=[rules[0]])
    assert words in found


def test_who_must_sign_for_the_next_policy_is_told() -> None:
    two, one = (f'\n[policy]\napproval = {{ quorum = {n}, from = ["group:sre"] }}\n' for n in (2, 1))
    word = "changes: who must sign for the next policy"
    assert told(one, was=[two]) == [f"{word}: quorum 1 instead of 2"]
    assert told(was=[two]) == [f"{word}: is not said any more"]
    assert told(two) == [f"{word}: is new"]


def test_how_much_may_be_under_way_is_told() -> None:
    was, now = ("\n[queue]\ntotal = 3\n", "\n[queue]\ntotal = 4\n")
    assert told(now, was=[was]) == ["changes: how much may be under way at once ([queue]): total 4 instead of 3"]


def test_a_key_that_takes_the_place_of_another_is_told_by_both_fingerprints() -> None:
    old, new = (PublicKey.parse(key(name)).fingerprint for name in ("carol", "mallory"))
    (found,) = told(people=PEOPLE.replace(key("carol"), key("mallory")))
    assert found == f'changes: reviewer "carol": keys "{new}" instead of "{old}"'


@pytest.mark.parametrize(
    ("was", "now", "sentence"),
    [
        ("", "weights = { size = 30 }", "size gives at most 30 points instead of 15"),
        ('paths = ["a/**", "b"]', 'paths = ["b", "c"]', 'paths has now "c" and no longer has "a/**"'),
        ("", "infrastructure = []", 'infrastructure no longer has "**/*.dockerfile", "**/*.service", '),
        ('dependencies = ["a"]', 'dependencies = ["a", "b"]', 'dependencies has now "b"'),
        ("", "size = { lines = 9 }", "a large change has 20 files or 9 lines instead of 20 files or 500 lines"),
        ("", "size = { files = 9 }", "a large change has 9 files or 500 lines instead of 20 files or 500 lines"),
        ("", 'history = { within = "1d" }', "many failures are 3 within 1d instead of 3 within 7d"),
        ("", "history = { failures = 1 }", "many failures are 1 within 7d instead of 3 within 7d"),
        (
            'hours = { days = ["monday"] }',
            'hours = { from = 9, until = 12, days = ["sunday", "friday"], zone = "Europe/Berlin" }',
            "people are at work from 9 until 12 on friday, sunday (Europe/Berlin) instead of from 8 until 18",
        ),
        ('paths = ["a", "b"]', 'paths = ["b", "a"]', None),
        ("", 'hours = { zone = "UTC" }', None),
    ],
)
def test_what_changes_in_how_risk_is_scored_is_told(was: str, now: str, sentence: str | None) -> None:
    found = told(f"[risk]\n{now}\n", was=[f"[risk]\n{was}\n"])
    assert [one[: len(f"changes: how risk is scored ([risk]): {sentence}")] for one in found] == (
        [f"changes: how risk is scored ([risk]): {sentence}"] if sentence else []
    )


def test_that_requests_are_scored_now_or_not_any_more_is_told() -> None:
    word, scored = "changes: how risk is scored ([risk])", "[risk]\nweights = { size = 30 }\n"
    assert told(scored) == [f"{word}: requests are scored now"]
    assert told(was=[scored]) == [f"{word}: nothing is scored any more"]


@pytest.mark.parametrize(
    ("was", "now", "sentence"),
    [
        ("", "on_unknown_outcomes = { over = 3 }", "is new: over 3 it makes everything read-only"),
        (
            'on_unknown_outcomes = { over = 3, mode = "suspended" }',
            "",
            "is gone: over 3 it made everything suspended",
        ),
        ("on_unknown_outcomes = { over = 3 }", "on_unknown_outcomes = { over = 0 }", "over 0 instead of 3"),
        (
            "on_unknown_outcomes = { over = 3 }",
            'on_unknown_outcomes = { over = 3, mode = "suspended", environments = ["staging"] }',
            "suspended instead of read-only; staging instead of everything",
        ),
        ('on_anchor_lag = { over = "6h" }', 'on_anchor_lag = { over = "1d" }', "over 1d instead of 6h"),
        ("", "on_incident = { }", "is new: it makes everything read-only"),
    ],
)
def test_what_tightens_by_itself_is_told_rule_by_rule(was: str, now: str, sentence: str) -> None:
    name = (now or was).partition(" ")[0]
    (found,) = told(f"[degrade]\n{now}\n", was=[f"[degrade]\n{was}\n"])
    assert found.startswith(f"changes: what tightens by itself ([degrade]): {name}")
    assert found.endswith(sentence)


def test_who_may_give_what_a_score_asks_is_named_where_its_words_stay() -> None:
    rule = grant(principals='["claude"]', risk=f"{{ hold_at = 30, approval = {APPROVAL} }}")
    found = told(rule, was=[rule], people=PEOPLE.replace('groups = ["oncall"]', 'groups = ["sre"]'))
    words = "what its risk score asks may be given by alice, carol, dave instead of alice, carol"
    assert f'changes: grant "g": {words}' in found


def test_who_comes_later_is_named_apart() -> None:
    more = 'escalate = [{ after = "1h", to = "group:oncall" }]'
    rule = grant(principals='["claude"]', approval=f'{{ quorum = 1, from = ["group:sre"], {more} }}')
    both = PEOPLE.replace('groups = ["oncall"]', 'groups = ["oncall", "sre"]')
    words = "may be given by alice, carol, dave, 1h later dave too instead of alice, carol, 1h later dave too"
    assert f'changes: grant "g": {words}' in told(rule, was=[rule], people=both)


def test_an_anchor_is_told_with_its_grant_alone() -> None:
    rule = grant(principals='["claude"]')
    assert told(rule, was=[grant(principals='["claude"]', anchor='"before"')]) == [
        'changes: grant "g": anchor false instead of true'
    ]


def test_a_limit_that_counts_otherwise_is_told_as_one_that_goes_and_one_that_comes() -> None:
    was, now = (budget(limits='["5 calls per hour"]', per=f'"{per}"') for per in ("target", "owner"))
    assert told(now, was=[was])[:2] == [
        'gains everybody: is no longer limited to 5 calls per 1h per target by "b"',
        'loses everybody: has at most 5 calls per 1h per owner by "b" (which is new)',
    ]


HOURLY = "5 calls per 1h per principal"


@pytest.mark.parametrize(
    ("was", "now", "sentences"),
    [
        (
            {"principals": '["claude", "codex"]', "per": '"principal"'},
            {"principals": '["claude"]', "per": '"principal"'},
            ['gains codex: is no longer limited to 5 calls per 1h per principal by "b"'],
        ),
        (
            {"principals": '["claude"]', "per": '"tool"'},
            {"principals": '["claude", "codex"]', "per": '"tool"'},
            [
                'loses codex: has at most 5 calls per 1h per tool by "b" (which is new)',
                'loses claude: is now counted together with codex by "b" (5 calls per 1h per tool)',
            ],
        ),
        (
            {"per": '"owner"'},
            {"principals": '["claude"]', "per": '"owner"'},
            ['gains codex, lone: is no longer limited to 5 calls per 1h per owner by "b"'],
        ),
        (
            {},
            {"environments": '["staging"]'},
            ['gains everybody: is no longer counted outside staging by "b" (5 calls per 1h per principal)'],
        ),
        (
            {"environments": '["staging"]'},
            {"environments": '["production"]'},
            [
                'gains everybody: is no longer counted in staging by "b" (5 calls per 1h per principal)',
                'loses everybody: is now counted in production by "b" (5 calls per 1h per principal)',
            ],
        ),
        (
            {"tool": '"set_flag"'},
            {},
            [
                f'loses everybody: is now counted when calling anything but set_flag by "b" ({HOURLY})',
            ],
        ),
        (
            {"tool": '"set_flag"'},
            {"tool": '"update_ticket"'},
            [
                'gains everybody: is no longer counted when calling set_flag by "b" (5 calls per 1h per principal)',
                'loses everybody: is now counted when calling update_ticket by "b" (5 calls per 1h per principal)',
            ],
        ),
    ],
)
def test_a_limit_that_binds_or_counts_others_is_told_to_each_whom_it_means_something(
    was: dict[str, str], now: dict[str, str], sentences: list[str]
) -> None:
    found = told(budget(limits='["5 calls per hour"]', **now), was=[budget(limits='["5 calls per hour"]', **was)])
    assert found[:-1] == sentences
    assert found[-1].startswith('changes: limit "b": limits 5 calls per 1h per ')


def test_assistants_of_one_owner_are_told_that_another_is_not_counted_with_them_any_more() -> None:
    people = PEOPLE.replace('owner = "carol"', 'owner = "bob"')
    was, now = (
        policy(budget(limits='["5 calls per hour"]', per='"owner"', principals=names), people=people)
        for names in ('["claude", "codex"]', '["claude"]')
    )
    assert [f"{one.who}: {one.text}" for one in difference(was, now, OUTLOOK)][:2] == [
        'codex: is no longer limited to 5 calls per 1h per owner by "b"',
        'claude: is no longer counted together with codex by "b" (5 calls per 1h per owner)',
    ]


def test_who_loses_a_grant_does_not_gain_by_its_limit() -> None:
    was, now = (
        grant(principals=names, limits='["5 calls per hour"]', where=STAGING)
        for names in ('["claude", "codex"]', '["claude"]')
    )
    assert [one for one in told(now, was=[was]) if "codex" in one and one.startswith("gains")] == []


def test_a_lane_that_changes_is_told_under_its_own_name_alone() -> None:
    people = PEOPLE.replace("[environments.staging]", '[environments.staging]\nlane = "red"')
    was, now = (people + f'\n[lanes.red]\nrecipients = ["{glob}"]\n' for glob in ("a*", "*"))
    found = difference(policy(people=was), policy(people=now), OUTLOOK)
    assert [one.text for one in found] == ['lane "red": recipients "*" instead of "a*"']


def test_who_may_give_an_approval_is_named_where_its_words_stay() -> None:
    rule = grant(principals='["claude"]', approval=APPROVAL)
    found = told(rule, was=[rule], people=PEOPLE.replace('groups = ["oncall"]', 'groups = ["sre"]'))
    assert 'changes: grant "g": may be given by alice, carol, dave instead of alice, carol' in found


def test_lanes_and_other_values_are_written_out() -> None:
    rule = grant(principals='["claude"]')
    lane = '\n[lanes.red]\ntools = ["set_flag", "update_ticket"]\nrecipients = ["*@example.org"]\n'
    people = PEOPLE + lane
    other = people.replace('"set_flag", "update_ticket"]', '"set_flag"]\nretention = "30d"')
    other = other.replace("@example.org", "@example.com")
    (found,) = (one.text for one in difference(policy(rule, people=people), policy(rule, people=other), OUTLOOK))
    assert found.startswith(
        'lane "red": tools "set_flag" instead of "set_flag", "update_ticket"; recipients "*@example.com" '
    )
    assert found.endswith("; retention 30d instead of not said")


def test_an_approval_is_told_with_keys_and_who_comes_later() -> None:
    approval = (
        '{ quorum = 1, from = ["alice"], keys = "hardware", rejects = 2, expires = "2h", '
        'escalate = [{ after = "1h", to = "dave" }] }'
    )
    found = told(grant(principals='["claude"]', approval=approval), was=[grant(principals='["claude"]')])
    asks = "for 1 of alice with hardware keys within 2h, 1h later dave too, 2 refusals to end it"
    assert f'changes: grant "g": asks {asks} instead of for no review' in found


def test_a_lane_that_stops_allowing_a_tool_takes_it_away() -> None:
    rule = grant(principals='["claude"]', where=STAGING)
    lane = '\n[lanes.red]\ntools = ["update_ticket"]\n'
    people = PEOPLE.replace("[environments.staging]", f'{lane}[environments.staging]\nlane = "red"')
    assert "loses claude: may not call set_flag in staging any more, and needed no review" in told(
        rule, was=[rule], people=people
    )


def test_a_principal_who_is_new_gains_what_is_granted() -> None:
    rule = grant(principals='["claude"]', where=STAGING)
    fewer = PEOPLE.replace("[principals.lone]", "[principals.eve]")
    more = rule.replace('["claude"]', '["claude", "eve"]')
    assert "gains eve: may call set_flag in staging without a review, and was refused" in told(
        more, was=[rule], people=fewer
    )


@pytest.mark.parametrize(
    ("risk", "text"),
    [
        ("{ deny_at = 80 }", "refused from 80"),
        (
            f'{{ hold_at = 30, deny_at = 80, approval = {APPROVAL}, mode = "shadow" }}',
            "held from 30 for 1 of group:sre within 4h and refused from 80, in shadow",
        ),
    ],
)
def test_what_follows_from_a_risk_score_is_told_in_words(risk: str, text: str) -> None:
    scored, plain = [grant(risk=risk)], [grant()]
    assert f'changes: grant "g": by its risk score {text} instead of nothing' in told(*scored, was=plain)
    assert f'changes: grant "g": by its risk score nothing instead of {text}' in told(*plain, was=scored)


def test_the_dates_of_a_rule_are_told_as_times() -> None:
    was = [grant(valid="{ from = 2020-01-01T00:00:00Z }")]
    now = grant(valid="{ from = 2020-01-01T00:00:00Z, until = 2040-01-01T00:00:00Z }")
    since, until = "from 2020-01-01T00:00:00.000000Z", "until 2040-01-01T00:00:00.000000Z"
    assert f'changes: grant "g": counts {since} {until} instead of {since}' in told(now, was=was)
    assert f'changes: grant "g": counts {since} instead of always' in told(*was, was=[grant()])
