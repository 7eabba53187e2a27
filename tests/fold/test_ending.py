"""How a log ends, how another goes on from it, and payloads that had their time: by listed people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keyturn.canon import Json
from keyturn.fold.ending import PREDECESSOR, closing
from keyturn.fold.pruning import environment_of, pruning
from keyturn.fold.state import State
from keyturn.log.entry import Entry
from keyturn.log.fold import FoldError
from keyturn.log.keys import LogVerifier
from tests.fold.people import ALICE, MALLORY, Person
from tests.fold.world import World
from tests.vectors.story import ORIGIN, OTHER_KEY

OTHER = str(LogVerifier("other/" + "0" * 32, OTHER_KEY.public))
OWN = str(LogVerifier(ORIGIN, OTHER_KEY.public))
SOME = "hmac-sha256:" + "0" * 64


@pytest.fixture
def world() -> World:
    return World().found()


def close(world: World, successor: str | None = OTHER, by: Person = ALICE, **other: Json) -> Entry:
    facts: dict[str, Json] = {"successor": successor}
    act = closing(world.entries[0].log, {"successor": other.get("signed_for", successor)})
    return world.add("log.closed", {**facts, "act": world.act(act.verb, act.object, act.digest, by)})


def succeed(world: World, verifier: str = OTHER, **data: str) -> Entry:
    facts: dict[str, Json] = {"verifier": verifier, "size": 5, "root": "0" * 64}
    return world.add("log.succeeds", facts, data=data or {PREDECESSOR: SOME})


def prune(
    world: World, before: int, environment: str | None = None, by: Person = ALICE, *, signed: int | None = None
) -> Entry:
    facts: dict[str, Json] = {"environment": environment, "before": before, "basis": "90 days"}
    act = pruning({**facts, "before": signed or before})
    return world.add("payloads.pruned", {**facts, "act": world.act(act.verb, act.object, act.digest, by)})


def test_a_listed_person_ends_a_log_when_all_is_over(world: World) -> None:
    world.ask(1)
    world.cancel(number=1)
    close(world)


def test_a_log_may_end_without_another(world: World) -> None:
    close(world, None)


@pytest.mark.parametrize("state", ["pending", "approved", "running", "unknown"])
def test_a_log_does_not_end_while_an_action_is_not_over(world: World, state: str) -> None:
    world.ask(1)
    if state != "pending":
        review = world.review(ALICE)
    if state in {"running", "unknown"}:
        world.start(number=1, reviews=[review.seq])
    if state == "unknown":
        world.finish("unknown")
    with pytest.raises(FoldError, match=f"is {state}"):
        close(world)


def test_who_is_not_listed_ends_nothing(world: World) -> None:
    with pytest.raises(FoldError, match="lists no reviewer"):
        close(world, by=MALLORY)


def test_what_was_signed_is_which_log_goes_on(world: World) -> None:
    with pytest.raises(FoldError, match="the signed act says"):
        close(world, signed_for=None)


@pytest.mark.parametrize(("successor", "words"), [("nobody", "names no log"), ("own", "goes on from itself")])
def test_what_goes_on_is_another_log(world: World, successor: str, words: str) -> None:
    with pytest.raises(FoldError, match=words):
        close(world, OWN if successor == "own" else successor)


def test_a_log_says_what_it_goes_on_from_while_it_is_founded(world: World) -> None:
    succeed(world)
    assert world.state.predecessor == OTHER
    again = State.from_json(world.state.to_json())
    assert again.predecessor == OTHER
    assert again.founding
    assert State.standing_of(world.entries, len(world.entries)) == world.state.standing()


def test_a_log_that_has_begun_says_nothing_of_the_kind(world: World) -> None:
    world.read()
    with pytest.raises(FoldError, match="while it is founded"):
        succeed(world)


def test_a_log_goes_on_from_one_log(world: World) -> None:
    succeed(world)
    with pytest.raises(FoldError, match="from one log"):
        succeed(world)


def test_it_keeps_the_checkpoint_of_the_log_before(world: World) -> None:
    with pytest.raises(FoldError, match="keeps no checkpoint"):
        succeed(world, reason=SOME)


@pytest.mark.parametrize("verifier", ["nobody", "own"])
def test_it_goes_on_from_another_log(world: World, verifier: str) -> None:
    with pytest.raises(FoldError, match=r"names no log|from itself"):
        succeed(world, OWN if verifier == "own" else verifier)


def test_a_listed_person_prunes_what_is_over(world: World) -> None:
    world.ask(1)
    world.cancel(number=1)
    prune(world, len(world.entries))


def test_nothing_is_pruned_before_it_is_written(world: World) -> None:
    with pytest.raises(FoldError, match="there is no entry"):
        prune(world, len(world.entries) + 1)


def test_what_an_open_action_needs_is_not_pruned_where_it_is(world: World) -> None:
    asked = world.ask(1)
    prune(world, asked.seq)
    prune(world, asked.seq + 1, "elsewhere")
    for where in (None, asked.text("environment")):
        with pytest.raises(FoldError, match="is not over"):
            prune(world, asked.seq + 1, where)


def test_who_is_not_listed_prunes_nothing_and_nobody_more_than_was_signed(world: World) -> None:
    with pytest.raises(FoldError, match="lists no reviewer"):
        prune(world, 2, by=MALLORY)
    with pytest.raises(FoldError, match="the signed act says"):
        prune(world, 3, signed=2)


def test_what_has_expired_is_over_without_an_entry_that_says_so(world: World) -> None:
    asked = world.ask(1)
    world.wait(timedelta(days=2))
    prune(world, asked.seq + 1)


def test_an_entry_belongs_to_the_environment_of_its_action(world: World) -> None:
    asked = world.ask(1)
    actions: Any = dict(world.state.actions)
    stopped = world.cancel(number=1)
    assert environment_of(asked, {}) == environment_of(stopped, actions) == asked.text("environment")
    assert environment_of(stopped, {}) is None
    assert environment_of(world.entries[2], actions) is None
