"""Freezes in decisions: what is refused or held while a calendar has an event, and what goes on."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.model.decision import Deny, Hold, Permit
from keyturn.policy import NONE, Circumstances, Override, Usage, evaluate, explain, screen
from tests.policy.freezes.calendars import calendar, event, freeze, frozen, problems_of
from tests.policy.world import budget, forbid, grant, policy, problems, request

BEGIN = datetime(2026, 12, 21, 8, tzinfo=UTC)
END = datetime(2027, 1, 4, 7, tzinfo=UTC)
INSIDE = datetime(2026, 12, 31, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
YEAR_END = calendar(event(":20261221T080000Z", ":20270104T070000Z"))
SRE = '{ quorum = 1, from = ["group:sre"] }'
SET_ASIDE = Circumstances(overrides=(Override(freeze="z", until=INSIDE + timedelta(hours=1), seq=9, by="alice"),))


def codes(decision: object) -> list[tuple[str, str | None]]:
    assert isinstance(decision, (Deny, Permit, Hold))
    return [(reason.code, reason.rule) for reason in decision.reasons]


def test_a_freeze_refuses_from_the_first_moment_of_its_event_to_the_last() -> None:
    rules = frozen(YEAR_END, grant(), freeze())
    assert isinstance(evaluate(rules, request(), Usage(), BEGIN - TICK), Permit)
    for moment in (BEGIN, INSIDE, END - TICK):
        decision = evaluate(rules, request(), Usage(), moment)
        assert isinstance(decision, Deny)
        assert codes(decision) == [("frozen", "z")]
        assert decision.retry_at == END
        assert "until 2027-01-04T07:00:00.000000Z" in decision.reasons[0].text
    assert isinstance(evaluate(rules, request(), Usage(), END), Permit)


def test_a_refusal_says_when_the_last_of_several_freezes_ends() -> None:
    later = calendar(event(":20261225T000000Z", ":20270110T000000Z"))
    rules = frozen(YEAR_END, grant(), freeze(), freeze("w", "y.ics"), y=later)
    decision = evaluate(rules, request(), Usage(), INSIDE)
    assert isinstance(decision, Deny)
    assert (decision.rules, decision.retry_at) == (("w", "z"), datetime(2027, 1, 10, tzinfo=UTC))


def test_a_freeze_without_an_end_in_sight_says_so() -> None:
    always = calendar(event(";VALUE=DATE:20260101", ";VALUE=DATE:20260102", "RRULE:FREQ=DAILY"))
    decision = evaluate(frozen(always, grant(), freeze()), request(), Usage(), INSIDE)
    assert isinstance(decision, Deny)
    assert decision.retry_at is None
    assert "no end in sight" in decision.reasons[0].text


@pytest.mark.parametrize(
    ("about", "stopped"),
    [
        ({"environments": '["staging"]'}, True),
        ({"environments": '["production"]'}, False),
        ({"tools": '["set_flag"]'}, True),
        ({"tools": '["create_ticket"]'}, False),
        ({"targets": '["flags:staging/*"]'}, True),
        ({"targets": '["flags:production/*"]'}, False),
        ({"targets": '["flags:staging/*"]', "environments": '["production"]'}, False),
    ],
)
def test_a_freeze_is_about_the_environments_tools_and_targets_it_names(about: dict[str, str], stopped: bool) -> None:
    decision = evaluate(frozen(YEAR_END, grant(), freeze(**about)), request(), Usage(), INSIDE)
    assert isinstance(decision, Deny) is stopped


def test_reading_goes_on_in_a_freeze() -> None:
    rules = frozen(YEAR_END, grant(tool="get_ticket"), freeze())
    read = request(tool="get_ticket", target="tickets:sandbox/7")
    assert isinstance(evaluate(rules, read, Usage(), INSIDE), Permit)


def test_a_holding_freeze_asks_for_people_until_it_ends() -> None:
    rules = frozen(YEAR_END, grant(), freeze(effect='"hold"', approval=SRE))
    held = evaluate(rules, request(), Usage(), INSIDE)
    assert isinstance(held, Hold)
    assert [obligation.rule for obligation in held.obligations] == ["z"]
    assert ("frozen", "z") in codes(held)
    assert isinstance(evaluate(rules, request(), Usage(), END), Permit)


def test_a_holding_freeze_adds_to_what_a_grant_asks() -> None:
    rules = frozen(
        YEAR_END, grant(approval='{ quorum = 1, from = ["alice"] }'), freeze(effect='"hold"', approval=SRE)
    )
    held = evaluate(rules, request(), Usage(), INSIDE)
    assert isinstance(held, Hold)
    assert {obligation.rule for obligation in held.obligations} == {"g", "z"}


def test_a_shadow_freeze_changes_nothing_and_says_what_it_would_do() -> None:
    decision = evaluate(frozen(YEAR_END, grant(), freeze(mode='"shadow"')), request(), Usage(), INSIDE)
    assert isinstance(decision, Permit)
    assert ("shadow_freeze", "z") in codes(decision)


def test_a_freeze_set_aside_lets_through_and_says_who_did() -> None:
    rules = frozen(YEAR_END, grant(), freeze())
    decision = evaluate(rules, request(), Usage(), INSIDE, SET_ASIDE)
    assert isinstance(decision, Permit)
    assert ("override", "z") in codes(decision)
    assert "alice" in decision.reasons[-1].text


def test_an_override_ends_when_it_says() -> None:
    rules = frozen(YEAR_END, grant(), freeze())
    assert isinstance(evaluate(rules, request(), Usage(), INSIDE + timedelta(hours=1) - TICK, SET_ASIDE), Permit)
    assert isinstance(evaluate(rules, request(), Usage(), INSIDE + timedelta(hours=1), SET_ASIDE), Deny)


def test_an_override_is_for_one_freeze_alone() -> None:
    rules = frozen(YEAR_END, grant(), freeze(), freeze("other"))
    assert codes(evaluate(rules, request(), Usage(), INSIDE, SET_ASIDE)) == [("frozen", "other")]


def test_a_freeze_is_refused_before_planning_where_no_plan_could_help() -> None:
    unplanned = request(target=None)
    assert screen(frozen(YEAR_END, grant(), freeze()), unplanned, Usage(), INSIDE) is not None
    assert screen(frozen(YEAR_END, grant(), freeze()), unplanned, Usage(), INSIDE, SET_ASIDE) is None
    assert screen(frozen(YEAR_END, grant(), freeze(tools='["create_ticket"]')), unplanned, Usage(), INSIDE) is None
    somewhere = frozen(YEAR_END, grant(), freeze(environments='["staging"]'))
    assert screen(somewhere, unplanned, Usage(), INSIDE) is None
    read = request(tool="get_ticket", target=None)
    assert screen(frozen(YEAR_END, grant(tool="get_ticket"), freeze()), read, Usage(), INSIDE) is None


def test_explain_tells_what_each_freeze_says() -> None:
    rules = frozen(
        YEAR_END,
        grant(),
        freeze(),
        freeze("shadow", mode='"shadow"'),
        freeze("elsewhere", environments='["production"]'),
        freeze("later", valid="{ from = 2027-06-01T00:00:00Z }"),
    )
    told = explain(rules, request(), Usage(), INSIDE)
    traces = {trace.rule: (trace.kind, trace.mode, trace.verdict) for trace in told.rules if trace.kind == "freeze"}
    assert traces == {
        "z": ("freeze", "live", "applies"),
        "shadow": ("freeze", "shadow", "applies"),
        "elsewhere": ("freeze", "live", "unrelated"),
        "later": ("freeze", "live", "misses"),
    }
    set_aside = explain(rules, request(), Usage(), INSIDE, SET_ASIDE)
    assert next(trace.verdict for trace in set_aside.rules if trace.rule == "z") == "misses"
    nowhere = explain(rules, request(target="flags:nowhere/x"), Usage(), INSIDE)
    assert all(trace.verdict == "open" for trace in nowhere.rules if trace.kind == "freeze")
    reading = explain(rules, request(tool="get_ticket"), Usage(), INSIDE)
    assert all(trace.verdict == "unrelated" for trace in reading.rules if trace.kind == "freeze")


def test_a_freeze_counts_between_its_dates_only() -> None:
    dated = freeze(valid="{ from = 2026-12-24T00:00:00Z, until = 2026-12-27T00:00:00Z }")
    rules = frozen(YEAR_END, grant(), dated)
    assert isinstance(evaluate(rules, request(), Usage(), datetime(2026, 12, 23, tzinfo=UTC)), Permit)
    decision = evaluate(rules, request(), Usage(), datetime(2026, 12, 25, tzinfo=UTC))
    assert isinstance(decision, Deny)
    assert decision.retry_at == datetime(2026, 12, 27, tzinfo=UTC)
    assert isinstance(evaluate(rules, request(), Usage(), INSIDE), Permit)


def test_the_next_stretch_is_found_within_the_dates_of_a_freeze() -> None:
    [plain] = frozen(YEAR_END, freeze()).freezes
    assert plain.at(BEGIN - TICK) is None
    found = plain.after(BEGIN - timedelta(days=90))
    assert found is not None
    assert (found.start, found.end) == (BEGIN, END)
    assert plain.after(BEGIN) is None
    [begun] = frozen(YEAR_END, freeze(valid="{ from = 2026-12-24T00:00:00Z }")).freezes
    found = begun.after(BEGIN)
    assert found is not None
    assert (found.start, found.end) == (datetime(2026, 12, 24, tzinfo=UTC), END)
    [over] = frozen(YEAR_END, freeze(valid="{ until = 2026-12-01T00:00:00Z }")).freezes
    assert over.after(datetime(2026, 11, 1, tzinfo=UTC)) is None
    [far] = frozen(YEAR_END, freeze(valid="{ from = 2026-11-01T00:00:00Z }")).freezes
    found = far.after(datetime(2026, 10, 1, tzinfo=UTC))
    assert found is not None
    assert found.start == BEGIN


def test_what_is_wrong_with_a_freeze_is_told_under_its_path() -> None:
    told = problems_of(
        YEAR_END,
        freeze(effect='"hold"'),
        freeze("a", approval=SRE),
        freeze("b", tools='["get_ticket", "nothing"]'),
        freeze("c", targets='["flags", "flags:a/["]'),
        freeze("d", environments='["nowhere"]'),
        freeze("e", "../x.ics"),
        freeze("f", "missing.ics"),
        freeze("g", colour='"red"', timezone='"Europe/Atlantis"'),
        freeze("h", override='["nobody"]'),
        '\n[[freezes]]\nid = "i"\n',
    )
    places = [problem.split(": ")[0] for problem in told]
    assert places == [
        "freezes[0].approval",
        "freezes[1].approval",
        "freezes[2].tools",
        "freezes[2].tools",
        "freezes[3].targets[0]",
        "freezes[3].targets[1]",
        "freezes[4].environments",
        "freezes[5].calendar",
        "freezes[6].calendar",
        "freezes[7].colour",
        "x.ics",
        "freezes[8].override",
        "freezes[9].calendar",
    ]


def test_a_calendar_that_no_freeze_names_is_not_part_of_a_policy() -> None:
    assert problems_of(YEAR_END, grant()) == ('"x.ics": is not used by policy.toml',)


def test_one_bad_calendar_is_told_once_for_all_its_freezes() -> None:
    assert problems_of("nonsense", freeze(), freeze("y")) == ("x.ics: 'nonsense' stands outside VCALENDAR",)


def test_the_same_id_may_not_name_a_freeze_and_a_grant() -> None:
    assert problems_of(YEAR_END, grant("z"), freeze()) == ('freezes[0].id: "z" is the id of grants[0] already',)


def test_days_without_a_zone_are_warned_of() -> None:
    days = calendar(event(";VALUE=DATE:20261224", ";VALUE=DATE:20261226"))
    assert any(text.startswith("x.ics: ") and "UTC" in text for text in frozen(days, freeze()).warnings())
    zoned = frozen(days, freeze(timezone='"Europe/Berlin"'))
    assert not any(text.startswith("x.ics") for text in zoned.warnings())
    assert any("no events" in text for text in frozen(calendar(), freeze()).warnings())


def test_a_grant_counts_between_its_dates_only() -> None:
    rules = policy(grant(valid="{ from = 2026-12-01T00:00:00+01:00, until = 2026-12-02T00:00:00Z }"))
    begin, end = datetime(2026, 11, 30, 23, tzinfo=UTC), datetime(2026, 12, 2, tzinfo=UTC)
    for moment, word in ((begin - TICK, "from"), (end, "until")):
        decision = evaluate(rules, request(), Usage(), moment)
        assert codes(decision) == [("no_grant", "g")]
        assert isinstance(decision, Deny)
        assert word in decision.reasons[0].text
        assert isinstance(screen(rules, request(), Usage(), moment), Deny)
    for moment in (begin, end - TICK):
        assert isinstance(evaluate(rules, request(), Usage(), moment), Permit)


def test_a_forbid_and_a_limit_count_between_their_dates_only() -> None:
    dates = "{ until = 2026-12-02T00:00:00Z }"
    before, after = datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 2, tzinfo=UTC)
    forbidden = policy(grant(), forbid(valid=dates))
    assert isinstance(evaluate(forbidden, request(), Usage(), before), Deny)
    assert isinstance(evaluate(forbidden, request(), Usage(), after), Permit)
    assert "set_flag" in forbidden.visible_tools("claude", None)
    limited = policy(grant(), budget(limits='["1 files_changed per hour"]', valid=dates))
    two = request(effects={"files_changed": 2})
    assert isinstance(evaluate(limited, two, Usage(), before), Deny)
    assert isinstance(evaluate(limited, two, Usage(), after), Permit)


@pytest.mark.parametrize(
    ("dates", "said"),
    [
        ('{ from = "2026-12-01" }', "valid.from: must be a date and time with an offset"),
        ("{ from = 2026-12-01T00:00:00 }", "valid.from: must be a date and time with an offset"),
        ("{ until = 2026-12-01 }", "valid.until: must be a date and time with an offset"),
        ("{}", "valid: says neither"),
        ("{ from = 2026-12-01T00:00:00Z, until = 2026-12-01T00:00:00Z }", "valid.until: comes no later"),
        ("{ to = 2026-12-01T00:00:00Z }", "valid.to: unknown key"),
        ("{ from = 0001-01-01T00:00:00+14:00 }", "valid.from: lies beyond the calendar"),
    ],
)
def test_dates_that_are_none_are_refused(dates: str, said: str) -> None:
    assert any(f"grants[0].{said}" in problem for problem in problems(grant(valid=dates)))


def test_without_circumstances_nothing_is_set_aside() -> None:
    assert NONE.override_of("z", INSIDE) is None


def test_a_policy_without_freezes_loads_no_calendar_library() -> None:
    program = (
        "import sys; from tests.policy.world import grant, policy; policy(grant()); "
        "print([name for name in ('icalendar', 'dateutil', 'recurring_ical_events') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
