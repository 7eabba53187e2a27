"""Deciding one request with many grants in the policy: a pure function, no ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from benchmarks.homes import ROOT
from benchmarks.measure import Effort, Row, Topic, alternate, rate
from keyturn.contracts import read_catalog
from keyturn.model.decision import Permit, Request
from keyturn.policy import Policy, Usage, evaluate, read_policy
from keyturn.policy.reach.findings import findings
from keyturn.policy.reach.who_can import Inquiry, abilities

GRANTS = (10, 100, 1_000)
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
HEAD = """\
version = 1
[principals.{name}]
groups = ["assistants"]
scopes = ["ticket:write"]
"""
GRANT = """
[[grants]]
id = "grant {number}"
principals = ["{name}"]
tool = "update_ticket"
contract = "{contract}"
where = {{ target = {{ glob = "tickets:ops/{prefix}-*" }}, "arguments.status" = {{ exists = false }} }}
limits = ["1000000 calls per hour"]
"""


def measure(effort: Effort) -> Topic:
    rows = [_row(grants, shared=shared, effort=effort) for shared in (False, True) for grants in GRANTS]
    rows += [row for shared in (False, True) for row in _about_all(shared=shared, effort=effort)]
    return Topic(
        "Deciding",
        "Nothing is written; the process's own time. In the first rows each assistant has one grant and the policy "
        "many; in the rows after them all grants are the asking assistant's, and each is judged. `check` and "
        "`who-can` look at all grants of a policy at once, and are held against reading its text.",
        rows,
    )


def _row(grants: int, *, shared: bool, effort: Effort) -> Row:
    one, many = policy(1, shared=shared), policy(grants, shared=shared)
    count = effort.count(2_000 if not shared else 200)
    ours, theirs = alternate(effort.rounds, lambda: _rate(many, count), lambda: _rate(one, count))
    return Row(
        what=f"{grants:,} grants{', all about this call' if shared else ''}",
        ours=f"{1e6 / ours:,.0f} µs",
        against="one grant",
        theirs=f"{1e6 / theirs:,.0f} µs",
        ratio=theirs / ours,
    )


def _about_all(*, shared: bool, effort: Effort) -> list[Row]:
    """Measure what is asked of a whole policy: it is asked at a terminal, and should be there in 2 s."""
    many = max(GRANTS)
    rules = policy(many, shared=shared)
    inquiry = Inquiry(policy=rules, tool="update_ticket", environment="tracker", now=NOW, without_approval=True)
    asked: dict[str, Callable[[], object]] = {
        "check": lambda: findings(rules, NOW),
        "who-can": lambda: abilities(inquiry),
    }
    whose = "one assistant" if shared else "as many assistants"
    rounds = 1 if effort.divided > 1 else min(effort.rounds, 3)
    rows = []
    for name, work in asked.items():
        ours, theirs = alternate(
            rounds,
            partial(rate, 1, work, time.process_time),
            partial(rate, 1, partial(policy, many, shared=shared), time.process_time),
        )
        rows.append(
            Row(
                what=f"`policy {name}`, {many:,} grants of {whose}",
                ours=f"{1 / ours:.2f} s",
                against="reading it",
                theirs=f"{1 / theirs:.2f} s",
                ratio=ours / theirs,
                aim="< 2 s",
            )
        )
    return rows


def _rate(rules: Policy, count: int) -> float:
    usage = Usage()
    request = Request(
        principal="a0",
        token_scopes=None,
        tool="update_ticket",
        arguments={"ticket": "T0-1", "comment": "done"},
        target="tickets:ops/T0-1",
        view={"comment": True},
        effects={"calls": 1, "lines_changed": 1},
    )
    if not isinstance(evaluate(rules, request, usage, NOW), Permit):
        raise TypeError("the request is not permitted")
    return rate(count, lambda: evaluate(rules, request, usage, NOW), time.process_time)


def policy(grants: int, *, shared: bool) -> Policy:
    """Return a policy with so many grants: all of one assistant, or one of each of as many assistants."""
    contracts = read_catalog(ROOT / "tool_schemas").contracts
    names = ["a0"] if shared else [f"a{number}" for number in range(grants)]
    people = "".join(HEAD.replace("version = 1\n", "").format(name=name) for name in names)
    rules = [
        GRANT.format(
            number=number,
            name=names[number % len(names)],
            contract=contracts["update_ticket"].label,
            prefix=f"T{number}",
        )
        for number in range(grants)
    ]
    tracker = '\n[environments.tracker]\ntargets = ["tickets:ops/*"]\n'
    return read_policy({"policy.toml": f"version = 1\n{people}{tracker}{''.join(rules)}"}, contracts)
