"""Suspensions: set without a signature and only ever stricter, lifted by a listed person, and in force meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.canon import Json
from keyturn.fold.state import State
from keyturn.fold.suspensions import LIFT, READ_ONLY, SUSPENDED, Scope, lift_digest
from keyturn.log.entry import Entry
from keyturn.log.fold import STANDING, FoldError
from tests.approvals.world import action_id
from tests.fold.people import ALICE, MALLORY, Person
from tests.fold.test_state import restored
from tests.fold.world import TOOL, WORDS, World

EVERYTHING = Scope("all")
SCOPES = [EVERYTHING, Scope("principal", "claude"), Scope("tool", TOOL), Scope("environment", "production")]
ELSEWHERE = [Scope("principal", "codex"), Scope("tool", "other"), Scope("environment", "staging")]
BY: Json = {"type": "account", "name": "root"}


def suspend(world: World, scope: Scope = EVERYTHING, mode: str = SUSPENDED) -> Entry:
    return world.add("suspension.set", {"scope": scope.to_json(), "mode": mode, "by": BY})


def lift(world: World, scope: Scope = EVERYTHING, by: Person = ALICE, /, **changed: Any) -> Entry:
    present = world.state.suspensions.of(scope)
    digest = lift_digest(present.digest, WORDS) if present else WORDS.replace("hmac-", "")
    act = world.act(LIFT, scope.subject, digest, by, **changed)
    return world.add("suspension.lifted", {"scope": scope.to_json(), "act": act}, data={"reason": WORDS})


@pytest.fixture
def world() -> World:
    return World().found()


@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_nothing_is_requested_read_or_begun_in_a_suspended_scope(world: World, scope: Scope) -> None:
    world.ask(1, decision="permit")
    suspend(world, scope)
    with pytest.raises(FoldError, match="suspended since entry"):
        world.ask(2, decision="permit")
    with pytest.raises(FoldError, match="suspended since entry"):
        world.read()
    with pytest.raises(FoldError, match="suspended since entry"):
        world.start(number=1)


@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_read_only_mode_stops_what_changes_something_and_lets_reads_go_on(world: World, scope: Scope) -> None:
    world.ask(1, decision="permit")
    suspend(world, scope, READ_ONLY)
    world.read()
    with pytest.raises(FoldError, match="read-only since entry"):
        world.ask(2, decision="permit")
    with pytest.raises(FoldError, match="read-only since entry"):
        world.start(number=1)


@pytest.mark.parametrize("scope", ELSEWHERE, ids=str)
def test_what_lies_elsewhere_goes_on(world: World, scope: Scope) -> None:
    suspend(world, scope)
    world.read()
    world.ask_and_start()


def test_what_had_begun_before_is_finished(world: World) -> None:
    world.ask_and_start()
    suspend(world)
    world.finish("unknown")
    world.resolve("succeeded")


def test_what_waits_is_cancelled_by_the_account_that_suspends(world: World) -> None:
    world.ask()
    suspend(world)
    world.cancel(by="root", kind="account")
    assert world.state.actions[action_id(1)].ended == "cancelled"


def test_a_listed_persons_signature_lifts_it(world: World) -> None:
    world.ask(decision="permit")
    suspend(world)
    lift(world)
    assert world.state.suspensions.present() == []
    world.start()


def test_a_suspension_may_become_stricter_and_nothing_else(world: World) -> None:
    suspend(world, mode=READ_ONLY)
    with pytest.raises(FoldError, match="already"):
        suspend(world, mode=READ_ONLY)
    second = suspend(world)
    for mode in (SUSPENDED, READ_ONLY):
        with pytest.raises(FoldError, match="already"):
            suspend(world, mode=mode)
    [present] = world.state.suspensions.present()
    assert (present.mode, present.seq, present.by) == (SUSPENDED, second.seq, "root")


def test_a_lift_by_somebody_not_listed_is_refused(world: World) -> None:
    suspend(world)
    with pytest.raises(FoldError, match="lists no reviewer 'mallory'"):
        lift(world, EVERYTHING, MALLORY)


def test_a_lift_of_what_is_not_suspended_is_refused(world: World) -> None:
    suspend(world, Scope("tool", TOOL))
    with pytest.raises(FoldError, match="everything is not suspended"):
        lift(world)


def test_a_lift_signed_for_another_scope_is_refused(world: World) -> None:
    suspend(world)
    with pytest.raises(FoldError, match="the signed act says"):
        lift(world, EVERYTHING, object="tool:" + TOOL)


def test_a_lift_is_good_for_that_suspension_and_no_later_one(world: World) -> None:
    suspend(world)
    lifted = lift(world)
    suspend(world)
    with pytest.raises(FoldError, match="the signed act says"):
        world.add("suspension.lifted", lifted.facts, data=lifted.data)


def test_words_that_were_not_signed_do_not_lift_it(world: World) -> None:
    suspend(world)
    act = world.act(LIFT, "all", lift_digest(world.entries[-1].digest, WORDS))
    with pytest.raises(FoldError, match="the signed act says"):
        world.add("suspension.lifted", {"scope": EVERYTHING.to_json(), "act": act})


@pytest.mark.parametrize("scope", [Scope("all", "claude"), Scope("tool")], ids=repr)
def test_only_everything_has_no_name(world: World, scope: Scope) -> None:
    with pytest.raises(FoldError, match="a scope has a name"):
        suspend(world, scope)


def test_the_strictest_of_several_suspensions_is_the_one_named(world: World) -> None:
    suspend(world, mode=READ_ONLY)
    suspend(world, Scope("tool", TOOL))
    halting = world.state.suspensions.halting
    found = halting(principal="claude", tool=TOOL, environment="production", governed=True)
    assert found is not None
    assert str(found.scope) == f"tool {TOOL}"
    other = halting(principal="claude", tool="other", environment=None, governed=True)
    assert other is not None
    assert str(other.scope) == "everything"
    assert halting(principal="claude", tool="other", environment=None, governed=False) is None


def test_an_environment_that_is_not_known_yet_lies_in_no_suspended_environment(world: World) -> None:
    suspend(world, Scope("environment", "production"))
    halting = world.state.suspensions.halting
    assert halting(principal="claude", tool=TOOL, environment=None, governed=True) is None
    assert halting(principal="claude", tool=TOOL, environment="production", governed=True) is not None


def test_suspensions_stand_in_snapshots_and_are_told_again_from_their_entries(world: World) -> None:
    suspend(world, SCOPES[1], READ_ONLY)
    suspend(world)
    lift(world)
    suspend(world, SCOPES[2])
    few = [entry for entry in world.entries if entry.kind in STANDING]
    assert State.standing_of(few, len(world.entries)) == world.state.standing()
    assert restored(world.state).suspensions.present() == world.state.suspensions.present()
    assert [str(one.scope) for one in world.state.suspensions.present()] == ["principal claude", f"tool {TOOL}"]
