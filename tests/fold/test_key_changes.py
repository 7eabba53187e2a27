"""Changes of the entry key: in pairs, each signed for by a listed person, and nothing in between."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.fold.key_changes import key_change
from keyturn.log.entry import Entry
from keyturn.log.fold import STANDING, FoldError
from tests.approvals.world import POLICY
from tests.fold.people import ALICE, MALLORY, Person
from tests.fold.test_state import restored
from tests.fold.world import OTHER_POLICY, World, b64

KEY, OTHER = b64(b"\x05" * 32), b64(b"\x06" * 32)
OLD = "a" * 32


@pytest.fixture
def world() -> World:
    return World().found()


def add(world: World, key: str = KEY) -> Entry:
    return world.add("key.added", {"key": key, "proof": b64(bytes(64))})


def revoke(
    world: World, by: Person = ALICE, /, reason: str = "rotated", signed_for: str = KEY, **changed: Any
) -> Entry:
    facts = {"revoked": OLD, "reason": reason}
    act = key_change(facts, signed_for)
    return world.add("key.revoked", {**facts, "act": world.act(act.verb, act.object, act.digest, by, **changed)})


@pytest.mark.parametrize("reason", ["rotated", "compromised"])
def test_a_listed_person_changes_the_key(world: World, reason: str) -> None:
    add(world)
    revoke(world, reason=reason)
    world.ask(1, decision="permit")


def test_nothing_follows_a_new_key_but_the_end_of_the_old_one(world: World) -> None:
    added = add(world)
    with pytest.raises(FoldError, match=f"no person signed for the key that entry {added.seq} added"):
        world.ask(1)
    with pytest.raises(FoldError, match="no person signed"):
        add(world, OTHER)
    revoke(world)


def test_a_key_does_not_end_alone(world: World) -> None:
    with pytest.raises(FoldError, match="directly after the one that takes its place"):
        revoke(world)
    add(world)
    revoke(world)
    with pytest.raises(FoldError, match="directly after the one that takes its place"):
        revoke(world)


def test_who_is_not_listed_changes_no_key(world: World) -> None:
    add(world)
    with pytest.raises(FoldError, match="lists no reviewer"):
        revoke(world, MALLORY)


def test_an_act_for_another_key_changes_nothing(world: World) -> None:
    add(world)
    with pytest.raises(FoldError, match="the signed act says"):
        revoke(world, signed_for=OTHER)


def test_an_act_to_rotate_does_not_say_that_a_key_is_compromised(world: World) -> None:
    add(world)
    act = key_change({"revoked": OLD, "reason": "rotated"}, KEY)
    signed = world.act(act.verb, act.object, act.digest)
    with pytest.raises(FoldError, match="the signed act says"):
        world.add("key.revoked", {"revoked": OLD, "reason": "compromised", "act": signed})


def test_an_act_under_an_earlier_policy_is_void(world: World) -> None:
    add(world)
    revoke(world)
    world.activate(OTHER_POLICY, POLICY, world.act_activating(OTHER_POLICY))
    add(world, OTHER)
    with pytest.raises(FoldError, match="the policy in force is entry"):
        revoke(world, signed_for=OTHER, after=2)


def test_a_change_of_keys_ends_the_founding(world: World) -> None:
    add(world)
    revoke(world)
    with pytest.raises(FoldError, match="only the founding entries"):
        world.issue(2)


def test_a_key_that_waits_for_its_signature_stands_in_snapshots_and_is_told_again_from_its_entry(
    world: World,
) -> None:
    for step in (add, revoke):
        step(world)
        standing = world.state.standing()
        entries = [entry for entry in world.entries if entry.kind in STANDING]
        assert type(world.state).standing_of(entries, len(world.entries)) == standing
        assert restored(world.state).standing() == standing
    assert world.state.standing()["newcomer"] is None
