"""What a policy tightens by itself: read strictly, and due exactly when something is wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.model.errors import ConfigurationError
from keyturn.policy import Policy, read_policy
from keyturn.policy.alarms import Alarms
from keyturn.policy.degrade import Tightening, due
from keyturn.policy.queue import Queue
from tests.policy.world import CATALOG, NOW, PEOPLE

RULES = """
[degrade]
on_unknown_outcomes = { over = 2, mode = "read-only" }
on_anchor_lag = { over = "1h", mode = "suspended", environments = ["staging", "production"] }
on_incident = { mode = "suspended" }
"""


def read(text: str) -> Policy:
    return read_policy({"policy.toml": PEOPLE + text}, CATALOG)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    return list(caught.value.problems)


def test_nothing_is_due_while_nothing_is_wrong() -> None:
    assert list(due(read(RULES).degrade, Alarms(unknown=2, unanchored=NOW - timedelta(hours=1)), NOW)) == []
    assert read("").degrade == ()


def test_each_trouble_has_its_rule_its_environments_and_its_words() -> None:
    wrong = Alarms(unknown=3, unanchored=NOW - timedelta(hours=1, microseconds=1), incident=("compromised", 17))
    asked = [(item.rule, item.mode, item.environment, item.why) for item in due(read(RULES).degrade, wrong, NOW)]
    lag = "no anchor has covered the ledger for more than 1h"
    assert asked == [
        ("on_unknown_outcomes", "read-only", None, "3 outcomes are unknown, more than 2"),
        ("on_anchor_lag", "suspended", "production", lag),
        ("on_anchor_lag", "suspended", "staging", lag),
        ("on_incident", "suspended", None, "a key was revoked as compromised (entry 17)"),
    ]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_more_trouble_never_makes_less_due(over: int, few: int, more: int) -> None:
    rules = (Tightening(name="on_unknown_outcomes", mode="read-only", environments=None, over=over),)
    less = list(due(rules, Alarms(unknown=few), NOW))
    assert bool(less) == (few > over)
    assert len(list(due(rules, Alarms(unknown=few + more), NOW))) >= len(less)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[degrade]\non_fire = {}", 'degrade.on_fire: unknown key "on_fire"'),
        ("[degrade]\non_unknown_outcomes = {}", "degrade.on_unknown_outcomes.over: is missing"),
        ("[degrade]\non_unknown_outcomes = { over = -1 }", "degrade.on_unknown_outcomes.over: must be an integer"),
        ('[degrade]\non_anchor_lag = { over = "31d" }', "degrade.on_anchor_lag.over: 31d is longer than 30 days"),
        ("[degrade]\non_incident = { over = 1 }", 'degrade.on_incident.over: unknown key "over"'),
        ('[degrade]\non_incident = { mode = "off" }', 'degrade.on_incident.mode: must be one of "read-only"'),
        (
            '[degrade]\non_incident = { environments = ["prodution"] }',
            'degrade.on_incident.environments: there is no environment "prodution" (did you mean "production"?)',
        ),
        ("[queue]", "queue: caps nothing"),
        ("[queue]\ntotal = 0", "queue.total: must be an integer from 1"),
        ('[queue]\ntotal = 1\npatience = "1h"', "queue.patience: 1h is longer"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(text: str, problem: str) -> None:
    assert any(found.startswith(problem) for found in problems(text)), problems(text)


def test_a_queue_is_read_with_its_defaults() -> None:
    assert read("[queue]\nper_principal = 2").queue == Queue(per_principal=2)
    assert read("").queue is None
