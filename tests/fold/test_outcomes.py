"""How actions ended is noted in the history that risk scores go by: once, and only what is settled."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keyturn.canon import Json
from keyturn.fold.state import State
from keyturn.policy.history import Past
from tests.approvals.world import action_id
from tests.fold.world import WORDS, World

TARGET = "forge:shop/main"


def past(world: World) -> Past:
    asked = world.state.usage.past("claude", "open_pull_request", TARGET, timedelta(days=7), world.now)
    again = State.from_json(world.state.to_json())
    assert again.usage.past("claude", "open_pull_request", TARGET, timedelta(days=7), world.now) == asked
    return asked


def ended(world: World, outcome: str, effect: bool | None) -> None:
    """Run the first action to this outcome."""
    world.ask_and_start(target=TARGET)
    assert past(world) == Past()
    facts: dict[str, Json] = {"instance": world.entries[-1].facts["instance"], "recovered": False}
    world.add("execution.finished", {**facts, "outcome": outcome, "effect": effect}, action_id(1))


@pytest.mark.parametrize(
    ("outcome", "effect", "expected"),
    [
        ("succeeded", True, Past(known=True)),
        ("failed", False, Past(failed=1)),
        ("failed", True, Past(failed=1)),
        ("stale", False, Past()),
        ("unknown", None, Past()),
    ],
)
def test_an_outcome_is_noted_once_it_is_there(outcome: str, effect: bool | None, expected: Past) -> None:
    world = World().found()
    ended(world, outcome, effect)
    assert past(world) == expected


@pytest.mark.parametrize(("outcome", "expected"), [("succeeded", Past(known=True)), ("failed", Past(failed=1))])
def test_an_unknown_outcome_is_noted_when_it_is_settled(outcome: str, expected: Past) -> None:
    world = World().found()
    ended(world, "unknown", None)
    facts: dict[str, Json] = {"outcome": outcome, "effect": True, "method": "operator"}
    act = world.act_resolving(outcome)
    world.add("execution.resolved", {**facts, "act": act}, action_id(1), {"resolve.reason": WORDS})
    assert past(world) == expected


def test_what_never_ran_leaves_nothing() -> None:
    world = World().found()
    world.ask(target=TARGET)
    world.add("action.cancelled", {"by": {"type": "account", "name": "root"}}, action_id(1))
    assert past(world) == Past()
