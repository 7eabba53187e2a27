"""Policies that several people sign for: what the fold counts, and what it refuses whoever wrote it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keyturn.canon import Json
from keyturn.fold.guarding import ENDORSE, MOST_PROPOSALS, waiting_with
from keyturn.fold.recovery import RESTORED
from keyturn.log.entry import Entry
from keyturn.log.fold import FoldError
from tests.approvals.world import POLICY
from tests.fold.people import ALICE, BOB, MALLORY
from tests.fold.test_recovery import facts_of, sign_for
from tests.fold.world import World, token

ROOT: dict[str, Json] = {"type": "account", "name": "root"}
FIRST, NEXT = token(70), token(71)


@pytest.fixture
def made() -> World:
    """A log whose policy asks alice and bob to sign for the next one."""
    world = World().found()
    world.activate(FIRST, POLICY, world.act_activating(FIRST))
    guard(world)
    return world


def guard(world: World, **changed: Json) -> Entry:
    asked: dict[str, Json] = {"quorum": 2, "from": ["alice", "bob"], "reviewers": ["alice", "bob"]}
    return world.add("policy.guarded", {"policy": force(world), **asked, **changed})


def force(world: World) -> str:
    assert world.state.policy is not None
    return world.state.policy.digest


def propose(world: World, policy: str = NEXT, **changed: Json) -> Entry:
    facts: dict[str, Json] = {"policy": policy, "previous": force(world), "by": ROOT, **changed}
    return world.add("policy.proposed", facts)


def endorse(world: World, by: Any, policy: str = NEXT, **changed: Json) -> Entry:
    proposal = world.state.proposals[policy].seq
    act = world.act(ENDORSE, force(world), policy, by)
    return world.add("policy.endorsed", {"policy": policy, "proposal": proposal, "act": act, **changed})


def activate(world: World, policy: str = NEXT, by: Any = ALICE) -> Entry:
    return world.activate(policy, force(world), world.act_activating(policy, by))


def test_a_policy_follows_once_as_many_have_signed_as_the_one_before_asks(made: World) -> None:
    with pytest.raises(FoldError, match="asks that 2 of alice, bob sign"):
        activate(made)
    propose(made)
    with pytest.raises(FoldError, match="still asked: bob"):
        activate(made)
    endorse(made, BOB)
    activate(made)
    assert (force(made), made.state.guard, made.state.proposals) == (NEXT, None, {})


def test_one_person_counts_once(made: World) -> None:
    propose(made)
    endorse(made, ALICE)
    with pytest.raises(FoldError, match="endorsed this policy"):
        endorse(made, ALICE)
    with pytest.raises(FoldError, match="still asked: bob"):
        activate(made, by=ALICE)


def test_an_endorsement_is_of_the_proposal_it_names_and_by_those_who_are_asked(made: World) -> None:
    proposal = propose(made)
    with pytest.raises(FoldError, match="not proposed in the entry it names"):
        endorse(made, BOB, proposal=proposal.seq - 1)
    with pytest.raises(FoldError, match="lists no reviewer"):
        endorse(made, MALLORY)
    endorse(made, BOB, proposal=proposal.seq)


def test_endorsements_from_before_a_restore_are_void(made: World) -> None:
    propose(made)
    endorse(made, BOB)
    made.wait(timedelta(seconds=1))
    sign_for(made, facts_of(made, RESTORED))
    made.wait(timedelta(seconds=1))
    assert made.state.proposals == {}
    with pytest.raises(FoldError, match="still asked: bob"):
        activate(made)


def test_a_policy_is_proposed_once_and_follows_the_one_in_force(made: World) -> None:
    propose(made)
    with pytest.raises(FoldError, match="was proposed in entry"):
        propose(made)
    with pytest.raises(FoldError, match="does not follow the policy in force"):
        propose(made, token(72), previous=POLICY)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"quorum": 3}, "more people than it names"),
        ({"reviewers": ["alice", "alice"]}, "more people than it names"),
        ({"reviewers": ["alice", "mallory"]}, "does not list"),
        ({"policy": POLICY}, "not in force"),
    ],
)
def test_a_guard_that_cannot_be_met_or_is_of_another_policy_is_refused(changed: dict[str, Json], said: str) -> None:
    world = World().found()
    world.activate(FIRST, POLICY, world.act_activating(FIRST))
    with pytest.raises(FoldError, match=said):
        guard(world, **changed)
    guard(world)


def test_a_guard_stands_directly_after_the_activation_and_its_contracts_and_once() -> None:
    world = World().found()
    world.activate(FIRST, POLICY, world.act_activating(FIRST))
    world.publish()
    guard(world)
    with pytest.raises(FoldError, match="said already"):
        guard(world)
    propose(world)
    endorse(world, BOB)
    activate(world)
    world.deny()
    with pytest.raises(FoldError, match="directly after its activation"):
        guard(world)


def test_of_too_many_proposals_the_oldest_that_fewest_endorsed_makes_room(made: World) -> None:
    policies = [token(100 + number) for number in range(MOST_PROPOSALS + 1)]
    for policy in policies[:-1]:
        propose(made, policy)
    endorse(made, BOB, policies[0])
    propose(made, policies[-1])
    assert list(made.state.proposals) == [policies[0], *policies[2:]]
    found = made.state.proposals[policies[-1]]
    assert policies[2] not in waiting_with(found, made.state.proposals)
