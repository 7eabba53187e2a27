"""What holds of all freezes: their order never matters, none loosens anything, and no calendar breaks the reader."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.model.decision import Decision, Deny, Hold, Permit
from keyturn.policy import Circumstances, Override, Usage, evaluate, explain, screen
from keyturn.policy.calendar.lines import CalendarError
from keyturn.policy.calendar.reading import read_calendar
from keyturn.policy.calendar.times import Calendar
from tests.policy.freezes.calendars import calendar, event, freeze, frozen
from tests.policy.world import grant, request

BEGIN = datetime(2026, 12, 1, tzinfo=UTC)
HOLD = {"effect": '"hold"', "approval": '{ quorum = 1, from = ["group:sre"] }'}
TWO = {"effect": '"hold"', "approval": '{ quorum = 2, from = ["alice", "carol", "dave"] }'}
EFFECTS = st.sampled_from([{}, HOLD, TWO, {"mode": '"shadow"'}, {**HOLD, "mode": '"shadow"'}])
ABOUT = st.sampled_from(
    [{}, {"environments": '["staging"]'}, {"tools": '["create_ticket"]'}, {"targets": '["flags:*/**"]'}]
)
DATES = st.sampled_from(
    [{}, {"valid": "{ from = 2026-12-03T00:00:00Z }"}, {"valid": "{ until = 2026-12-03T00:00:00Z }"}]
)
CALENDARS = st.sampled_from(["x.ics", "y.ics", "z.ics"])
X = calendar(event(":20261201T000000Z", ":20261201T120000Z", "RRULE:FREQ=DAILY"))
Y = calendar(event(";VALUE=DATE:20261203", ";VALUE=DATE:20261206"))
Z = calendar(event(";TZID=Europe/Berlin:20261204T170000", ";TZID=Europe/Berlin:20261207T070000"))
GRANTS = st.sampled_from([grant(), grant(approval='{ quorum = 1, from = ["dave"] }'), ""])
MOMENTS = st.integers(0, 24 * 10).map(lambda hours: BEGIN + timedelta(hours=hours))
RULES = st.lists(st.tuples(CALENDARS, EFFECTS, ABOUT, DATES), max_size=4).map(
    lambda found: [
        freeze(f"f{index}", path, **{**effect, **about, **dates})
        for index, (path, effect, about, dates) in enumerate(found)
    ]
)
ASIDE = st.lists(st.integers(0, 3), max_size=2, unique=True).map(
    lambda found: Circumstances(
        overrides=tuple(
            Override(freeze=f"f{index}", until=BEGIN + timedelta(days=5), seq=9, by="alice") for index in found
        )
    )
)
STRICTNESS = {Permit: 0, Hold: 1, Deny: 2}


def decide(rules: tuple[str, ...], now: datetime, aside: Circumstances) -> Decision:
    return evaluate(frozen(X, *rules, y=Y, z=Z), request(), Usage(), now, aside)


def all_named(rules: list[str]) -> tuple[str, ...]:
    """Name every calendar, so that any rules make a policy."""
    return (
        *rules,
        *(
            freeze(f"unused {path}", path, tools='["create_ticket"]', mode='"shadow"')
            for path in ("x.ics", "y.ics", "z.ics")
        ),
    )


def asked(decision: Decision) -> set[str]:
    return {obligation.rule for obligation in decision.obligations} if isinstance(decision, Hold) else set()


@settings(max_examples=60, deadline=None)
@given(rules=RULES, allowed=GRANTS, now=MOMENTS, aside=ASIDE)
def test_the_order_of_freezes_never_matters(
    rules: list[str], allowed: str, now: datetime, aside: Circumstances
) -> None:
    found = {repr(decide((allowed, *all_named(list(order))), now, aside)) for order in list(permutations(rules))[:6]}
    assert len(found) == 1


@settings(max_examples=60, deadline=None)
@given(rules=RULES, added=RULES, allowed=GRANTS, now=MOMENTS, aside=ASIDE)
def test_a_freeze_never_loosens(
    rules: list[str], added: list[str], allowed: str, now: datetime, aside: Circumstances
) -> None:
    more = [rule.replace('id = "f', 'id = "more f') for rule in added]
    before = decide((allowed, *all_named(rules)), now, aside)
    after = decide((allowed, *all_named([*rules, *more])), now, aside)
    assert STRICTNESS[type(after)] >= STRICTNESS[type(before)]
    if not isinstance(after, Deny):
        assert asked(before) <= asked(after)


@settings(max_examples=60, deadline=None)
@given(rules=RULES, allowed=GRANTS, now=MOMENTS, aside=ASIDE)
def test_setting_aside_is_all_that_lets_a_frozen_call_through(
    rules: list[str], allowed: str, now: datetime, aside: Circumstances
) -> None:
    texts = (allowed, *all_named(rules))
    policy = frozen(X, *texts, y=Y, z=Z)
    told = explain(policy, request(), Usage(), now, aside)
    assert told.decision == decide(texts, now, aside)
    denying = [t.rule for t in told.rules if t.kind == "freeze" and t.mode == "live" and t.verdict == "applies"]
    frozen_by = [r.rule for r in told.decision.reasons if r.code == "frozen"]
    assert set(frozen_by) <= set(denying)
    if screen(policy, request(target=None), Usage(), now, aside) is not None:
        assert isinstance(told.decision, Deny)
    if isinstance(told.decision, Deny) and frozen_by and told.decision.retry_at is not None:
        assert told.decision.retry_at > now
        later = evaluate(policy, request(), Usage(), told.decision.retry_at, aside)
        ends = {
            item.freeze.id for item in policy.freezing("set_flag", "staging", "flags:staging/dark", now, aside).denied
        }
        still = {r.rule for r in later.reasons if r.code == "frozen"} & ends if isinstance(later, Deny) else set()
        assert not still or len(ends) > 1  # of several, one may have begun again


NAMES = st.sampled_from(
    ["DTSTART", "DTEND", "DURATION", "RRULE", "EXDATE", "RDATE", "UID", "RECURRENCE-ID", "STATUS", "X"]
)
PARAMETERS = st.sampled_from(
    ["", ";VALUE=DATE", ";TZID=Europe/Berlin", ";TZID=Nowhere", ";VALUE=PERIOD", ';TZID="', ";A=1;A=2"]
)
VALUES = st.one_of(
    st.sampled_from([
        "20261201T080000Z", "20261201T080000", "20261201", "20261202T080000Z", "PT1H", "-PT1H", "P1D", "P999999999D",
        "FREQ=DAILY", "FREQ=WEEKLY;BYDAY=FR", "FREQ=MONTHLY;BYDAY=5MO;BYSETPOS=-1", "FREQ=YEARLY;BYWEEKNO=53",
        "FREQ=DAILY;COUNT=-1", "FREQ=YEARLY;BYYEARDAY=-366", "20261201T080000Z/PT5H",
        "20261201T080000Z,20261203T080000Z", "00000000T000000Z", "",
        "FREQ=DAILY;UNTIL=99991231T235959Z", "FREQ=WEEKLY;WKST=XX", "FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=2",
    ]),
    st.text(max_size=12),
)  # fmt: skip


def read_or_refuse(text: str) -> Calendar | None:
    """Read a calendar; None where it is refused with its problems, and no other error is ever raised."""
    try:
        return read_calendar(text)
    except CalendarError as error:
        if not error.problems:
            raise
        return None


LINES = st.lists(st.tuples(NAMES, PARAMETERS, VALUES).map("{0[0]}{0[1]}:{0[2]}".format), max_size=6)


@settings(max_examples=150, deadline=None)
@given(events=st.lists(LINES, max_size=3), now=MOMENTS)
def test_whatever_a_calendar_holds_it_is_read_or_refused(events: list[list[str]], now: datetime) -> None:
    read = read_or_refuse(calendar(*("\n".join(["UID:u", *lines]) for lines in events)))
    if read is None:
        return
    span = read.at(now)
    assert span is None or span.end is None or span.start <= now < span.end
    following = read.after(now)
    assert following is None or following.start > now


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=200))
def test_whatever_a_text_is_it_is_read_or_refused(text: str) -> None:
    for candidate in (text, f"BEGIN:VCALENDAR\n{text}\nEND:VCALENDAR"):
        read_or_refuse(candidate)
