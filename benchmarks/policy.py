"""Deciding one request with many grants in the policy: a pure function, no ledger."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from benchmarks.homes import ROOT
from benchmarks.measure import Effort, Row, Topic, alternate, rate
from keyturn.contracts import read_catalog
from keyturn.model.decision import Permit, Request
from keyturn.policy import Policy, Usage, evaluate, read_policy

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
    return Topic(
        "Deciding",
        "Nothing is written; the process's own time. In the first rows each assistant has one grant and the policy "
        "many; in the last rows all grants are the asking assistant's, and each is judged.",
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
