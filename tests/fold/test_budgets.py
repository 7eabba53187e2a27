"""What an action reserves beside its effects, and what is left of it; and who has to sign before it begins."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keyturn.approvals.action import status
from keyturn.approvals.life import LifeError
from keyturn.fold.state import State
from keyturn.log.fold import FoldError
from keyturn.policy.usage import Scope, Usage
from tests.approvals.world import START, TTL, action_id, obligation, seconds
from tests.fold.people import ALICE, BOB, MALLORY
from tests.fold.world import World, token

WEEK = timedelta(days=7)


def reserve(made: World, number: int = 1, cost: int = 5, runtime: int = 60) -> None:
    made.add("action.reserved", {"amounts": {"cost": cost, "runtime": runtime}}, action_id(number))


def withhold(made: World, number: int = 1, *rules: str) -> None:
    made.add("action.withheld", {"rules": list(rules or ("by hand",))}, action_id(number))


def release(made: World, number: int = 1, by: Any = ALICE, **changed: Any) -> None:
    digest = made.state.actions[action_id(number)].digest
    act = made.act("action.execute", action_id(number), digest, by, **changed)
    made.add("action.released", {"act": act}, action_id(number))


def used(made: World) -> tuple[int, int, int]:
    """Cost, runtime and calls."""
    return tuple(made.state.usage.used(unit, Scope(), WEEK, made.now).amount for unit in ("cost", "runtime", "calls"))  # type: ignore[return-value]  # three


def running(cost: int = 5, runtime: int = 60) -> World:
    made = World().found()
    made.ask(1, decision="permit")
    reserve(made, 1, cost, runtime)
    made.start()
    return made


def test_what_is_reserved_counts_from_the_request_on() -> None:
    made = World().found()
    made.ask(1)
    assert used(made) == (0, 0, 1)
    reserve(made)
    assert used(made) == (5, 60, 1)
    made.review(ALICE)
    assert used(made) == (5, 60, 1)


@pytest.mark.parametrize(
    ("outcome", "effect", "left"),
    [
        ("succeeded", True, (5, 8, 1)),
        ("failed", True, (5, 8, 1)),
        ("failed", False, (0, 8, 0)),
        ("stale", False, (0, 8, 0)),
        ("unknown", None, (5, 60, 1)),
    ],
)
def test_the_end_settles_the_runtime_by_whole_seconds(
    outcome: str, effect: bool | None, left: tuple[int, int, int]
) -> None:
    made = running()
    made.wait(timedelta(seconds=7, microseconds=1))
    made.finish(outcome, effect=effect)
    assert used(made) == left


def test_what_was_unknown_is_settled_by_when_that_was_found() -> None:
    made = running()
    made.wait(seconds(20))
    made.finish("unknown", effect=None)
    made.wait(timedelta(days=2))
    made.resolve("failed", effect=False)
    assert used(made) == (0, 20, 0)


def test_no_runtime_counts_for_more_than_was_reserved() -> None:
    made = running()
    made.wait(timedelta(hours=3))
    made.finish("failed", effect=False)
    assert used(made) == (0, 60, 0)


def test_a_tool_that_only_costs_leaves_no_runtime() -> None:
    made = running(runtime=0)
    made.wait(seconds(20))
    made.finish("succeeded")
    assert used(made) == (5, 0, 1)


@pytest.mark.parametrize("end", ["cancel", "stale", "reject", "expire"])
def test_what_never_began_gives_back_all_it_reserved(end: str) -> None:
    made = World().found()
    made.ask(1)
    reserve(made)
    if end == "reject":
        made.review(BOB, "reject")
    elif end == "expire":
        made.now = START + TTL
        made.expire()
    else:
        getattr(made, end)()
    assert used(made) == (0, 0, 0)


def test_a_changed_mind_takes_all_of_it_again() -> None:
    made = World().found()
    made.ask(1, obligation("alice", "bob", rejects=2))
    reserve(made)
    made.review(ALICE)
    made.wait(seconds(1))
    made.review(ALICE, "reject")
    assert used(made) == (5, 60, 1)


def test_a_snapshot_keeps_what_is_reserved_and_settles_it_as_its_maker_does() -> None:
    made = running()
    again = World().found()
    made.wait(seconds(9))
    again.state = State.from_json(made.state.to_json())
    assert again.state.to_json() == made.state.to_json()
    entry = made.finish("succeeded")
    again.state.apply(entry)
    assert again.state.to_json() == made.state.to_json()


@pytest.mark.parametrize("late", ["after another entry", "twice", "in shadow", "of nothing"])
def test_a_reservation_that_does_not_stand_with_its_request_is_refused(late: str) -> None:
    made = World().found()
    made.ask(1, decision="shadow" if late == "in shadow" else "permit")
    if late == "after another entry":
        made.throttle()
    if late == "twice":
        reserve(made)
    with pytest.raises(FoldError, match="directly after a request"):
        reserve(made, 1, *((0, 0) if late == "of nothing" else (5, 60)))


def test_a_withheld_action_begins_only_once_somebody_has_signed() -> None:
    made = World().found()
    made.ask(1, decision="permit")
    withhold(made)
    with pytest.raises(FoldError, match="nobody has signed for it"):
        made.start()
    release(made)
    made.start()
    assert status(made.state.actions[action_id(1)], made.now) == "running"


def test_it_is_withheld_directly_after_what_it_reserves() -> None:
    made = World().found()
    made.ask(1, decision="permit")
    reserve(made)
    withhold(made)
    action = made.state.actions[action_id(1)]
    assert [made.entries[seq].kind for seq in action.beside] == ["action.reserved", "action.withheld"]
    with pytest.raises(FoldError, match="directly after a request"):
        withhold(made)


def test_nobody_is_withheld_without_a_rule() -> None:
    made = World().found()
    made.ask(1, decision="permit")
    with pytest.raises(FoldError, match="names the rules"):
        made.add("action.withheld", {"rules": []}, action_id(1))


@pytest.mark.parametrize(
    "changed", [{"verb": "action.resolve"}, {"digest": token(9)}, {"object": action_id(2)}, {"log": "other/log"}]
)
def test_a_signature_for_something_else_releases_nothing(changed: dict[str, str]) -> None:
    made = World().found()
    made.ask(1, decision="permit")
    withhold(made)
    with pytest.raises(FoldError, match=r"the signed act says|signed for another log"):
        release(made, 1, ALICE, **changed)
    release(made, 1, ALICE)


def test_a_signature_of_somebody_not_listed_releases_nothing() -> None:
    made = World().found()
    made.ask(1, decision="permit")
    withhold(made)
    with pytest.raises(FoldError, match="lists no reviewer"):
        release(made, by=MALLORY)


def test_only_what_is_approved_is_released_and_only_once() -> None:
    made = World().found()
    made.ask(1)
    withhold(made)
    with pytest.raises(FoldError, match="the action is pending"):
        release(made)
    made.review(ALICE)
    release(made)
    with pytest.raises(FoldError, match="waits for nobody's hand"):
        release(made)


def test_what_is_not_withheld_is_not_released() -> None:
    made = World().found()
    made.ask(1, decision="permit")
    with pytest.raises(FoldError, match="waits for nobody's hand"):
        release(made)


def test_a_count_that_is_settled_twice_or_unknown_changes_nothing() -> None:
    usage = Usage()
    usage.settle("nobody", release=True, settled={"runtime": 3})
    assert usage.used("runtime", Scope(), WEEK, START).amount == 0
    assert issubclass(LifeError, ValueError)


@pytest.mark.parametrize("release_", [True, False])
@pytest.mark.parametrize("turned_out", [0, 3, 9])
def test_what_turned_out_takes_the_place_of_what_was_reserved(release_: bool, turned_out: int) -> None:
    usage = Usage()
    amounts = {"calls": 1, "runtime": 9}
    facts = {"principal": "claude", "owner": None, "tool": "t", "target": "x", "environment": "e"}
    usage.reserve("a", START, **facts, amounts=amounts, pending=True)  # type: ignore[arg-type]  # facts by name
    usage.settle("a", release_, {"runtime": turned_out})
    at = START + seconds(1)
    left = {unit: usage.used(unit, Scope(), WEEK, at).amount for unit in ("calls", "runtime", "pending")}
    assert left == {"calls": 0 if release_ else 1, "runtime": turned_out, "pending": 0}
    assert Usage.from_json(usage.to_json()).to_json() == usage.to_json()
