"""Further commits on an open pull request on GitHub, and what is left when something fails on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from keyturn.connectors.forge import Landed, Revision
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from tests.bed.faults import Fault, Instead, Meanwhile
from tests.bed.faults import refusal as says
from tests.connectors.forge.contract import CHANGE, apply, land, opening, revision
from tests.connectors.forge.github.troubles import TROUBLES, cases
from tests.connectors.forge.github.world import World
from tests.connectors.forge.repository import action

NEWER = {"docs/new.md": b"newer\n"}
STEPS = {
    "the commit": ("POST", r".*/git/commits", 1),
    "the marker": ("POST", r".*/git/refs", 1),
    "the turn": ("POST", r".*/git/refs", 2),
    "the branch": ("PATCH", r".*/git/refs/heads/.*", 1),
}


def opened(world: World) -> Revision:
    """Open a pull request, and return an update of it that was reviewed."""
    land(world.forge(), opening(world.forge(), CHANGE), action(1))
    return revision(world.forge(), action(1), NEWER)


def probe(world: World, change: Revision) -> Landed | CannotHappen | CannotTell:
    return anyio.run(world.forge().probe, change, action(2))


@pytest.mark.parametrize(("step", "trouble"), cases(STEPS, ("the branch",)))
def test_whatever_happens_to_a_step_the_outcome_is_true_and_the_commit_lands_at_most_once(
    world: World, step: str, trouble: str
) -> None:
    change = opened(world)
    method, path, nth = STEPS[step]
    world.proxy.faults.set(Fault(method, path, TROUBLES[trouble], nth=nth))
    try:
        told: object = apply(world.forge(), change, action(2))
    except ConnectorError as error:
        world.proxy.faults.set()
        told = probe(world, change) if error.kind == "unknown" else error
    assert not isinstance(told, CannotTell)
    commits = [commit["sha"] for commit in world.repository.log(action(1).marker)]
    if isinstance(told, Landed):
        assert told.commit == commits[0]
        assert commits[1] == change.head
        assert world.files(told.branch)["docs/new.md"] == b"newer\n"
    else:
        assert commits[0] == change.head
    world.proxy.faults.set()
    assert isinstance(probe(world, change), Landed if isinstance(told, Landed) else CannotHappen)


def test_a_push_of_others_in_between_is_kept_and_the_update_is_stale(world: World) -> None:
    change = opened(world)
    theirs: list[str] = []
    push = Meanwhile(lambda: theirs.append(world.commit(action(1).marker, {"theirs.txt": b"pushed\n"})))
    world.proxy.faults.set(Fault("PATCH", r".*/git/refs/heads/.*", push))
    stale = apply(world.forge(), change, action(2))
    assert isinstance(stale, Stale)
    assert "no longer at the reviewed commit" in stale.moved[0]
    assert world.head(action(1).marker) == theirs[0]
    assert isinstance(probe(world, change), CannotHappen)


def test_two_updates_of_one_head_leave_one_of_the_two(world: World, tmp_path: Path) -> None:
    change = opened(world)
    other = revision(world.forge(), action(1), {"docs/new.md": b"otherwise\n"})
    elsewhere = replace(world, home=tmp_path / "elsewhere")
    second: list[object] = []
    deed = Meanwhile(lambda: second.append(apply(elsewhere.forge(), other, action(3))))
    world.proxy.faults.set(Fault("POST", r".*/git/refs", deed, nth=2))
    first = apply(world.forge(), change, action(2))
    assert {type(first), type(second[0])} == {Landed, Stale}
    assert len(world.repository.log(action(1).marker)) == len(world.repository.log("main")) + 2


def test_what_github_refuses_to_move_gives_its_turn_back(world: World) -> None:
    change = opened(world)
    deed = Instead(says(403, "Resource not accessible by personal access token"))
    world.proxy.faults.set(Fault("PATCH", r".*/git/refs/heads/.*", deed))
    with pytest.raises(ConnectorError, match="not accessible") as caught:
        apply(world.forge(), change, action(2))
    assert caught.value.kind == "refused"
    assert not [name for name in world.refs() if "/turn/" in name]
    assert isinstance(apply(world.forge(), change, action(3)), Landed)


def test_an_update_after_the_pull_request_went_to_another_branch_is_stale(world: World) -> None:
    change = opened(world)
    world.repository.branch("other")
    world.repository.ask("PATCH", f"pulls/{world.repository.pulls()[0]['number']}", {"base": "other"})
    stale = apply(world.forge(), change, action(2))
    assert isinstance(stale, Stale)
    assert "goes to branch other now" in stale.moved[0]


def test_an_update_of_what_nobody_opened_is_refused(world: World) -> None:
    change = opened(world)
    other = Revision(pull=action(7).action, base="main", head=change.head, title="x", files=change.files)
    with pytest.raises(ConnectorError, match="no pull request of action"):
        apply(world.forge(), other, action(2))
    assert len(world.refs()) == 1
