"""Undos as the fold takes them: of what was done, once, and by whom they may be asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keyturn.approvals.action import status
from keyturn.approvals.life import obligation_to_json
from keyturn.approvals.statement import ReviewStatement
from keyturn.canon import Json
from keyturn.fold.recovery import RECOVER, recovery_digest
from keyturn.fold.state import State
from keyturn.fold.undoing import MOST, UNDO, Undos, call_of, undo_digest
from keyturn.log.entry import Entry
from keyturn.log.fold import FoldError
from keyturn.model.errors import Refused
from keyturn.model.plan import OWN_ACTION, Inverse, from_result
from tests.approvals.world import ORIGIN, action_id, obligation
from tests.fold.people import ALICE, BOB, MALLORY, Person, listed
from tests.fold.world import TOOL, WORDS, World

DATA = {"reason": WORDS}
ZEROS = "sha256:" + "0" * 64


def done(outcome: str = "succeeded", **changed: Any) -> World:
    """A log with one action that was carried out."""
    world = World().found()
    world.ask_and_start()
    world.finish(outcome, **changed)
    return world


def undone(world: World, number: int = 1) -> dict[str, Any]:
    mine = [entry for entry in world.entries if entry.action == action_id(number)]
    return {"action": action_id(number), "digest": mine[0].digest, "request": mine[0].seq, "outcome": mine[-1].seq}


def undo(world: World, number: int = 2, of: int = 1, **changed: Any) -> Entry:
    named = {**undone(world, of), **changed.pop("undone", {})}
    facts = {**world.request_facts(decision="permit"), "undoes": named, "act": None, **changed}
    return world.add("action.undoing", facts, action_id(number), DATA)


def signed(world: World, number: int = 2, by: Person = ALICE, **changed: Any) -> Entry:
    said, named = changed.pop("said", {}), undone(world)
    digest = said.pop("digest", undo_digest(named["digest"], TOOL, DATA))
    act = world.act(UNDO, said.pop("object", named["action"]), digest, by, **said)
    return undo(world, number, **{"token": None, "transport": "signed", "act": act, **changed})


def test_an_undo_is_an_action_that_knows_what_it_undoes() -> None:
    world = done()
    undo(world)
    action = world.state.actions[action_id(2)]
    assert (action.undoes, action.asked_by, world.state.undos.of(action_id(1))) == (action_id(1), None, action_id(2))


def test_a_person_asks_by_signature() -> None:
    world = done()
    signed(world)
    assert world.state.actions[action_id(2)].asked_by == "alice"


@pytest.mark.parametrize("outcome", ["failed", "stale", "unknown"])
def test_what_was_not_done_is_not_undone(outcome: str) -> None:
    world = done(outcome)
    with pytest.raises(FoldError, match="nothing is known to have been done"):
        undo(world)


def test_what_failed_with_an_effect_is_undone() -> None:
    world = done("failed", effect=True)
    undo(world)
    assert action_id(2) in world.state.actions


def test_what_is_not_over_is_not_undone() -> None:
    world = World().found()
    world.ask_and_start()
    with pytest.raises(FoldError, match="nothing is known to have been done"):
        undo(world)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"undone": {"digest": ZEROS}}, "not the action that it names"),
        ({"undone": {"request": 4}}, "not the action that it names"),
        ({"undone": {"outcome": 5}}, "not over before it"),
        ({"undone": {"outcome": 99}}, "not over before it"),
        ({"principal": "codex"}, "not the action that it names"),
        ({"token": None}, "by one of them alone"),
    ],
    ids=str,
)
def test_an_undo_that_contradicts_what_it_names_is_refused(changed: dict[str, Any], says: str) -> None:
    world = done()
    with pytest.raises(FoldError, match=says):
        undo(world, **changed)


@pytest.mark.parametrize(
    ("said", "by", "says"),
    [
        ({"digest": ZEROS}, ALICE, "the signed act says"),
        ({"object": action_id(3)}, ALICE, "the signed act says"),
        ({"after": 1}, ALICE, "the policy in force is entry"),
        ({}, MALLORY, "lists no reviewer"),
        ({"by": "bob"}, ALICE, "lists no reviewer"),
    ],
    ids=str,
)
def test_an_act_that_asks_for_something_else_is_refused(said: dict[str, Any], by: Person, says: str) -> None:
    with pytest.raises(FoldError, match=says):
        signed(done(), by=by, said=dict(said))


def test_an_act_signed_before_the_ledger_was_restored_is_refused() -> None:
    world = done()
    before = world.now
    world.wait(timedelta(minutes=1))
    restore(world)
    world.wait(timedelta(minutes=1))
    with pytest.raises(FoldError, match="sign it anew"):
        signed(world, said={"at": before})
    signed(world)


def test_token_and_act_together_are_refused() -> None:
    with pytest.raises(FoldError, match="by one of them alone"):
        signed(done(), token="sha256:" + "0" * 63 + "1")


def test_who_asks_for_what_is_held_is_excluded() -> None:
    world = done()
    held = {**world.request_facts(), "obligations": [obligation_to_json(obligation("bob"))]}
    facts: dict[str, Any] = {name: held[name] for name in ("decision", "obligations", "reviewers", "excluded")}
    facts["reviewers"] = listed(BOB)
    with pytest.raises(FoldError, match="who asks for it is not excluded"):
        signed(world, **facts)
    signed(world, **{**facts, "excluded": ["olga", "alice"]})
    with pytest.raises(FoldError, match="asks for it and may not review it"):
        review(world, ALICE)
    review(world, BOB)
    assert status(world.state.actions[action_id(2)], world.now) == "approved"


def review(world: World, by: Person) -> None:
    action = world.state.actions[action_id(2)]
    said = ReviewStatement(
        log=ORIGIN,
        action=action.id,
        digest=action.digest,
        verdict="approve",
        reviewer=by.name,
        reason=WORDS,
        at=world.now,
    )
    world.add("action.reviewed", world.review_facts(said, by), action.id, {"review.reason": WORDS})


def restore(world: World) -> None:
    last = world.entries[-1]
    facts: dict[str, Json] = {
        "reason": "restored",
        "size": last.seq + 1,
        "leaf": last.leaf,
        "missing": None,
        "clock": None,
    }
    act = world.act(RECOVER, "restored", recovery_digest(facts, None))
    world.add("recovery", {**facts, "act": act})


def test_what_is_open_or_done_is_not_undone_a_second_time() -> None:
    world = done()
    undo(world)
    with pytest.raises(FoldError, match="is undone by"):
        undo(world, 3)
    world.start(number=2)
    world.finish("succeeded", number=2)
    with pytest.raises(FoldError, match="which is succeeded"):
        undo(world, 3)


def test_after_an_undo_that_came_to_nothing_another_may_follow() -> None:
    world = done()
    undo(world)
    world.cancel(2)
    undo(world, 3)
    assert world.state.undos.of(action_id(1)) == action_id(3)


def test_an_undo_is_undone_like_any_action() -> None:
    world = done()
    undo(world)
    world.start(number=2)
    world.finish("succeeded", number=2)
    undo(world, 3, of=2)
    assert world.state.undos.of(action_id(2)) == action_id(3)


def test_what_the_fold_has_forgotten_it_takes_on_trust() -> None:
    world = done()
    named = undone(world)
    world.wait(timedelta(hours=3))
    world.pad()
    assert action_id(1) not in world.state.actions
    undo(world, undone=named)


def test_what_is_undone_outlives_a_snapshot() -> None:
    world = done()
    undo(world)
    again = State.from_json(world.state.to_json())
    assert (again.undos.of(action_id(1)), again.undos.pairs()) == (action_id(2), world.state.undos.pairs())


def test_of_one_principal_only_the_youngest_are_remembered_and_none_older_counts_as_free() -> None:
    undos = Undos([("codex", "theirs", "undoing")])
    for number in range(MOST + 10):
        undos.take("claude", f"undone {number:04}", "undoing")
    assert (undos.of("undone 0009"), undos.of("undone 0010"), undos.of("theirs")) == (None, "undoing", "undoing")
    assert len(undos.pairs()) == MOST + 1
    undos.take("claude", "undone 0003", "another")
    assert undos.of("undone 0003") is None
    assert [undos.forgotten("claude", f"undone {number}") for number in ("0003", "0010", "0500", "9999")] == [
        True, False, False, False
    ]  # fmt: skip
    assert not undos.forgotten("codex", "a")
    assert not undos.forgotten("nobody", "a")


def test_a_call_is_filled_in_from_the_action_and_its_result() -> None:
    arguments: dict[str, Json] = {"a": OWN_ACTION, "b": from_result("ticket"), "c": {"from": "afar"}, "d": 1}
    inverse = Inverse(summary="", tool=TOOL, arguments=arguments)
    filled = call_of(inverse, "the id", {"ticket": "OPS-7"})
    assert filled == {"a": "the id", "b": "OPS-7", "c": {"from": "afar"}, "d": 1}
    with pytest.raises(Refused, match="does not say"):
        call_of(inverse, "the id", {"ticket": None})
