"""Pull requests closed on GitHub, and what is left when something fails on the way."""

from __future__ import annotations

import anyio
import pytest

from keyturn.connectors.forge import Closed, Closing
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell
from tests.bed.faults import Fault, Instead, Meanwhile, echo
from tests.bed.faults import refusal as says
from tests.connectors.forge.contract import CHANGE, close, closing, land, opening
from tests.connectors.forge.github.troubles import TROUBLES, cases
from tests.connectors.forge.github.world import World
from tests.connectors.forge.repository import action

STEPS = {
    "the claim": ("POST", r".*/git/commits", 1),
    "the marker": ("POST", r".*/git/refs", 1),
    "the turn": ("POST", r".*/git/refs", 2),
    "the closing": ("PATCH", r".*/pulls/\d+", 1),
    "the deletion": ("DELETE", r".*/git/refs/heads/.*", 1),
}


def opened(world: World) -> Closing:
    """Open a pull request, and return its closing."""
    land(world.forge(), opening(world.forge(), CHANGE), action(1))
    return closing(world.forge(), action(1))


def probe(world: World, change: Closing) -> Closed | CannotHappen | CannotTell:
    return anyio.run(world.forge().probe_closing, change, action(2))


@pytest.mark.parametrize(("step", "trouble"), cases(STEPS, ("the closing", "the deletion")))
def test_whatever_happens_to_a_step_the_outcome_is_true(world: World, step: str, trouble: str) -> None:
    change = opened(world)
    method, path, nth = STEPS[step]
    world.proxy.faults.set(Fault(method, path, TROUBLES[trouble], nth=nth))
    try:
        told: object = close(world.forge(), change, action(2))
    except ConnectorError as error:
        world.proxy.faults.set()
        told = probe(world, change) if error.kind == "unknown" else error
    assert not isinstance(told, CannotTell)
    world.proxy.faults.set()
    state, gone = world.repository.pulls()[0]["state"], world.head(action(1).marker) is None
    assert (state == "closed") is gone is isinstance(told, Closed), told
    assert isinstance(probe(world, change), Closed if gone else CannotHappen)


def test_a_branch_that_moves_while_its_request_is_closed_is_left_alone_and_told(world: World) -> None:
    change = opened(world)
    push = Meanwhile(lambda: world.commit(action(1).marker, {"theirs.txt": b"pushed\n"}), after=True)
    world.proxy.faults.set(Fault("PATCH", r".*/pulls/\d+", push))
    with pytest.raises(ConnectorError, match="meanwhile and was left alone") as caught:
        close(world.forge(), change, action(2))
    assert caught.value.kind == "unknown"
    assert world.head(action(1).marker) not in (None, change.head)
    answer = probe(world, change)
    assert isinstance(answer, CannotTell)
    world.repository.delete(action(1).marker)
    assert isinstance(probe(world, change), Closed)


def test_a_branch_that_a_rule_keeps_is_told(world: World) -> None:
    change = opened(world)
    deed = Instead(says(422, "Repository rule violations found"))
    world.proxy.faults.set(Fault("DELETE", r".*/git/refs/heads/.*", deed, nth=0))
    with pytest.raises(ConnectorError, match="a rule may protect it") as caught:
        close(world.forge(), change, action(2))
    assert caught.value.kind == "unknown"


def test_a_closing_that_was_only_said_to_happen_is_not_believed(world: World) -> None:
    change = opened(world)
    world.proxy.faults.set(Fault("PATCH", r".*/pulls/\d+", Instead(echo(200)), nth=0))
    with pytest.raises(ConnectorError, match="and did not") as caught:
        close(world.forge(), change, action(2))
    assert caught.value.kind == "unknown"
    assert world.head(action(1).marker) == change.head


def test_closing_for_somebody_who_may_only_read_is_refused_and_leaves_nothing(world: World) -> None:
    change = opened(world)
    with pytest.raises(ConnectorError, match="not accessible") as caught:
        close(world.forge(who="bob"), change, action(2))
    assert caught.value.kind == "refused"
    assert len(world.refs()) == 1
