"""Deciding one request, asking a whole policy, and looking up what was used: pure functions, no ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from benchmarks.homes import ROOT
from benchmarks.measure import Effort, Row, Topic, alternate, rate
from keyturn.contracts import read_catalog
from keyturn.model.decision import Permit, Request
from keyturn.policy import Policy, Usage, evaluate, read_policy
from keyturn.policy.reach.findings import findings
from keyturn.policy.reach.who_can import Inquiry, abilities
from keyturn.policy.usage import Scope

GRANTS = (10, 100, 1_000, 10_000)
ASKED = 1_000
"""How many grants the questions about a whole policy are asked of."""
USES = 1_000_000
FILE = 2_000
"""Grants per included file: a file of a policy holds at most a mebibyte."""
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)

REQUEST = Request(
    principal="a0",
    token_scopes=None,
    tool="update_ticket",
    arguments={"ticket": "T0-1", "comment": "done"},
    target="tickets:e0/T0-1",
    view={"comment": True, "audience": ["ops"]},
    effects={"calls": 1, "lines_changed": 1, "recipients": 1},
)
FILES = [f"src/shop/part{number}.py" for number in range(5)]
CHANGE = replace(
    REQUEST,
    view={"comment": True, "audience": ["ops"], "files": [{"path": path} for path in FILES]},
    effects={"calls": 1, "files_changed": 5, "lines_changed": 100, "recipients": 1},
    diff="".join(f"+    total_{number} = rate * {number}\n" for number in range(100)),
)

PRINCIPAL = """
[principals.{name}]
groups = ["assistants"]
scopes = ["ticket:write"]
"""
PLACE = """
[environments.e{number}]
targets = ["tickets:e{number}/*"]
{lane}
"""
GRANT = """
[[grants]]
id = "grant {number}"
principals = ["{name}"]
tool = "update_ticket"
contract = "{contract}"
where = {{ {place}target = {{ glob = "tickets:e{at}/{prefix}-*" }}, "arguments.status" = {{ exists = false }} }}
limits = ["1000000 calls per hour"]
{risk}
"""
CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//benchmarks//EN
BEGIN:VEVENT
UID:nightly
DTSTART;TZID=Europe/Berlin:20260101T220000
DTEND;TZID=Europe/Berlin:20260102T050000
RRULE:FREQ=DAILY
END:VEVENT
END:VCALENDAR
"""
RISK = "\n[risk.weights]\nsize = 20\n"
LANE = '\n[lanes.green]\ntools = ["update_ticket"]\nrecipients = ["ops", "*@example.org"]\nretention = "30d"\n'
FREEZE = '\n[[freezes]]\nid = "nights"\nenvironments = ["e0"]\ncalendar = "nights.ics"\n'
BUDGET = """
[tools.update_ticket]
cost = 5
runtime = "60s"

[[limits]]
id = "general"
limits = ["1000000 calls per day per environment", "9000000 cost per week per tool", "9000000 runtime per day"]
"""
TEXTS = {"risk": RISK, "lane": LANE, "freeze": FREEZE, "budget": BUDGET}
FEATURES = (("risk",), ("lane",), ("freeze",), ("budget",), tuple(TEXTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a policy is made.

    each      grants of each assistant
    places    environments; with more than one, each grant is about one of them
    features  what is switched on: "risk", "lane", "freeze", "budget"
    """

    grants: int
    each: int = 1
    places: int = 1
    features: tuple[str, ...] = ()


def measure(effort: Effort) -> Topic:
    rows = [
        *_about_one(effort),
        *(_with(effort, *features) for features in FEATURES),
        *(row for each in (1, ASKED) for row in _about_all(each, effort)),
        *_looking_up(effort),
    ]
    return Topic(
        "Deciding",
        "Nothing is written anywhere, so durability plays no part; the process's own time. A decision comes with all "
        "its reasons. `check` and `who-can` look at all grants of a policy at once, and are held against reading its "
        "text. Of uses, two in three were settled; they spread over a week, 10 assistants and 500 targets.",
        rows,
    )


def _about_one(effort: Effort) -> list[Row]:
    """Measure decisions in policies where few, ten or all grants are about the call."""
    return [
        *(_row(Shape(grants=grants), "of as many assistants", effort) for grants in GRANTS),
        *(_row(Shape(grants=grants, each=10), "10 about this call", effort) for grants in GRANTS[2:]),
        _row(Shape(grants=1_000, each=1_000, places=100), "all of one assistant, 10 in this environment", effort),
        *(_row(Shape(grants=grants, each=grants), "all about this call", effort) for grants in GRANTS[:3]),
    ]


def _row(shape: Shape, whose: str, effort: Effort) -> Row:
    few = Shape(grants=1)
    count = effort.count(200 if shape.each >= 100 and shape.places == 1 else 2_000)
    ours, theirs = alternate(
        effort.rounds, partial(_rate, policy(shape), REQUEST, count), partial(_rate, policy(few), REQUEST, count)
    )
    judged = shape.each // shape.places
    aim = 50_000 if judged == 1 and shape.grants == 10 else 20_000 if judged <= 10 and shape.grants <= ASKED else 0
    return Row(
        what=f"{shape.grants:,} grants, {whose}",
        ours=_speed(ours),
        against="one grant",
        theirs=_speed(theirs),
        ratio=theirs / ours,
        aim=f"≥ {aim:,}/s" if aim else "",
    )


def _with(effort: Effort, *features: str) -> Row:
    """Measure what a feature costs where it is used: the same request, with and without it."""
    shape = Shape(grants=ASKED, features=features)
    asked = CHANGE if "risk" in features else REQUEST
    count = effort.count(500 if "risk" in features else 2_000)
    ours, theirs = alternate(
        effort.rounds,
        partial(_rate, policy(shape), asked, count),
        partial(_rate, policy(Shape(grants=ASKED)), asked, count),
    )
    diff = ", for 100 added lines" if "risk" in features else ""
    return Row(
        what=f"{ASKED:,} grants, with {', '.join(features)}{diff}",
        ours=_speed(ours),
        against="without",
        theirs=_speed(theirs),
        ratio=theirs / ours,
    )


def _about_all(each: int, effort: Effort) -> list[Row]:
    """Measure what is asked of a whole policy: it is asked at a terminal, and should be there in 2 s."""
    shape = Shape(grants=ASKED, each=each)
    rules = policy(shape)
    inquiry = Inquiry(policy=rules, tool="update_ticket", environment="e0", now=NOW, without_approval=True)
    asked: dict[str, Callable[[], object]] = {
        "check": lambda: findings(rules, NOW),
        "who-can": lambda: abilities(inquiry),
    }
    whose = "one assistant" if each == ASKED else "as many assistants"
    rounds = 1 if effort.divided > 1 else min(effort.rounds, 3)
    rows = []
    for name, work in asked.items():
        ours, theirs = alternate(
            rounds,
            partial(rate, 1, work, time.process_time),
            partial(rate, 1, partial(policy, shape), time.process_time),
        )
        rows.append(
            Row(
                what=f"`policy {name}`, {ASKED:,} grants of {whose}",
                ours=f"{1 / ours:.2f} s",
                against="reading it",
                theirs=f"{1 / theirs:.2f} s",
                ratio=theirs / ours,
                aim="< 2 s",
            )
        )
    return rows


def _looking_up(effort: Effort) -> list[Row]:
    """Measure how long it takes to tell what is used of a limit."""
    count = effort.count(USES)
    full, little = used(count), used(100)
    scopes = {
        "per principal": Scope(principal=frozenset({"a0"}), tool=frozenset({"update_ticket"})),
        "per target": Scope(target=frozenset({"tickets:e0/T0"})),
        "of ten principals": Scope(principal=frozenset(f"a{number}" for number in range(10))),
    }
    rows = []
    for name, scope in scopes.items():
        first = 1 / rate(1, partial(_asked, full, scope), time.process_time)
        _asked(little, scope)
        ours, theirs = alternate(
            effort.rounds,
            partial(rate, effort.count(2_000), partial(_asked, full, scope), time.process_time),
            partial(rate, effort.count(2_000), partial(_asked, little, scope), time.process_time),
        )
        rows.append(
            Row(
                what=f"what is used, {name}, of {count:,} uses (the first time {first * 1000:,.1f} ms)",
                ours=f"{1000 / ours:.4f} ms",
                against="of 100 uses",
                theirs=f"{1000 / theirs:.4f} ms",
                ratio=theirs / ours,
                aim="< 1 ms",
            )
        )
    return rows


def _asked(usage: Usage, scope: Scope) -> object:
    return usage.used("calls", scope, timedelta(days=1), NOW)


def _rate(rules: Policy, request: Request, count: int) -> float:
    usage = Usage()
    if not isinstance(evaluate(rules, request, usage, NOW), Permit):
        raise TypeError("the request is not permitted")
    return rate(count, lambda: evaluate(rules, request, usage, NOW), time.process_time)


def _speed(found: float) -> str:
    return f"{found:,.0f}/s ({1e6 / found:,.0f} µs)"


def used(count: int) -> Usage:
    """Return what so many actions of the last week have used."""
    usage = Usage()
    step = timedelta(days=7) / (count + 1)
    for number in range(count):
        who, on = number * 7 % 10, number * 31 % 500
        usage.reserve(
            str(number),
            NOW - step * (count - number),
            principal=f"a{who}",
            owner="bob" if who % 2 else None,
            tool="update_ticket",
            target=f"tickets:e{on % 10}/T{on}",
            environment=f"e{on % 10}",
            amounts={"calls": 1, "lines_changed": number % 50},
            pending=False,
        )
        if number % 3:
            usage.settle(str(number), release=False)
    return usage


def policy(shape: Shape) -> Policy:
    """Return a policy of that shape: its grants in included files, as one of many rules would be."""
    contracts = read_catalog(ROOT / "tool_schemas").contracts
    names = [f"a{number}" for number in range(shape.grants // shape.each)]
    rules = [
        GRANT.format(
            number=number,
            name=names[number % len(names)],
            contract=contracts["update_ticket"].label,
            place=f'environment = "e{number % shape.places}", ' if shape.places > 1 else "",
            at=number % shape.places,
            prefix=f"T{number}",
            risk="risk = { deny_at = 100 }" if "risk" in shape.features else "",
        )
        for number in range(shape.grants)
    ]
    lane = 'lane = "green"' if "lane" in shape.features else ""
    head = [
        'version = 1\nincludes = ["policy.d/"]\n',
        *(PLACE.format(number=number, lane=lane) for number in range(shape.places)),
        *(text for name, text in TEXTS.items() if name in shape.features),
    ]
    parts = [rules[at : at + FILE] for at in range(0, len(rules), FILE)]
    return read_policy(
        {
            "policy.toml": "".join(head),
            "policy.d/people.toml": "".join(PRINCIPAL.format(name=name) for name in names),
            **{f"policy.d/grants{number}.toml": "".join(part) for number, part in enumerate(parts)},
            **({"nights.ics": CALENDAR} if "freeze" in shape.features else {}),
        },
        contracts,
    )
