"""Erasing payloads: for a listed person alone, never what the log rests on, never what an open action needs."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.canon import Json
from keyturn.fold.erasure import STRUCTURAL, erasure
from keyturn.log.entry import Entry
from keyturn.log.fold import FoldError
from tests.approvals.world import action_id
from tests.fold.people import ALICE, MALLORY, Person
from tests.fold.world import World

BASIS = "GDPR article 17"


@pytest.fixture
def world() -> World:
    return World().found()


def erase(
    world: World, seq: int, field: str = "reason", by: Person = ALICE, /, basis: str = BASIS, **changed: Any
) -> Entry:
    facts: dict[str, Json] = {"entry": seq, "field": field, "basis": BASIS}
    act = erasure(facts)
    signed = world.act(act.verb, act.object, act.digest, by, **changed)
    return world.add("payload.erased", {**facts, "basis": basis, "act": signed})


def test_a_listed_person_erases_a_payload_of_what_is_over(world: World) -> None:
    asked = world.ask(1)
    world.cancel(number=1)
    erase(world, asked.seq)


def test_who_is_not_listed_erases_nothing(world: World) -> None:
    asked = world.read()
    with pytest.raises(FoldError, match="lists no reviewer"):
        erase(world, asked.seq, "result", MALLORY)


@pytest.mark.parametrize("field", sorted(STRUCTURAL))
def test_what_the_log_rests_on_is_never_erased(world: World, field: str) -> None:
    with pytest.raises(FoldError, match="never erased"):
        erase(world, 2, field)


def test_nothing_is_erased_before_it_is_written(world: World) -> None:
    with pytest.raises(FoldError, match="there is no entry"):
        erase(world, len(world.entries))


def test_what_an_open_action_needs_is_not_erased(world: World) -> None:
    asked = world.ask(1)
    review = world.review(ALICE)
    started = world.start(number=1, reviews=[review.seq])
    for seq in (asked.seq, review.seq, started.seq):
        with pytest.raises(FoldError, match=f"action {action_id(1)} is not over"):
            erase(world, seq)


def test_a_ground_that_was_not_signed_erases_nothing(world: World) -> None:
    asked = world.read()
    with pytest.raises(FoldError, match="the signed act says"):
        erase(world, asked.seq, basis="because")
