"""New pull requests on GitHub: what lands, what is refused, and what is left when something fails on the way."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import anyio
import pytest

from keyturn.connectors.forge import Landed, Opening
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from tests.bed.faults import DropAfter, Fault, Instead, Meanwhile, echo
from tests.bed.faults import refusal as says
from tests.bed.manners import MAKING
from tests.connectors.forge.contract import CHANGE, apply, land, opening
from tests.connectors.forge.github.troubles import TROUBLES, cases
from tests.connectors.forge.github.world import World
from tests.connectors.forge.repository import action

STEPS = {
    "a blob": ("POST", r".*/git/blobs", 1),
    "the tree": ("POST", r".*/git/trees", 1),
    "the commit": ("POST", r".*/git/commits", 1),
    "the marker": ("POST", r".*/git/refs", 1),
    "the branch": ("POST", r".*/git/refs", 2),
    "the pull request": ("POST", r".*/pulls", 1),
}
BINARY = {**CHANGE, "data/logo.bin": b"\xff\xfe\0binary"}


def probe(world: World, change: Opening, number: int = 1) -> Landed | CannotHappen | CannotTell:
    return anyio.run(world.forge().probe, change, action(number))


def test_what_was_reviewed_lands_and_the_pull_request_says_for_whom(world: World) -> None:
    change = opening(world.forge(), BINARY)
    landed = land(world.forge(), change, action(1))
    assert world.files(landed.branch) == {
        **{path: data for path, data in world.files("main").items() if path not in BINARY},
        **{path: data for path, data in BINARY.items() if data is not None},
    }
    assert landed.number is not None
    told = world.repository.pull(landed.number)
    assert (told["title"], told["draft"], told["base"]["ref"]) == ("Say hello", True, "main")
    assert told["body"] == f"Opened by Keyturn for claude, action {action(1).action}.\n\nBecause."
    assert landed.url == told["html_url"]
    commit = world.repository.ask("GET", f"git/commits/{landed.commit}")
    assert commit["message"].splitlines()[-2:] == [
        f"Keyturn-Action: {action(1).action}",
        "Keyturn-Principal: claude",
    ]
    assert commit["author"]["name"] == "claude (Keyturn)"
    assert [parent["sha"] for parent in commit["parents"]] == [change.base_commit]


def test_modes_of_files_are_kept_and_given(world: World) -> None:
    forge = world.forge()
    change = opening(forge, {"src/run.sh": b"#!/bin/sh\nexec false\n", "tool.sh": b"#!/bin/sh\n"})
    files = tuple(replace(item, mode="100755") for item in change.files)
    landed = land(forge, replace(change, files=files), action(1))
    seen = anyio.run(forge.snapshot, landed.branch, ["src/run.sh", "tool.sh", "README.md"])
    modes = {path: file.state.mode if file else None for path, file in seen.files.items()}
    assert modes == {"src/run.sh": "100755", "tool.sh": "100755", "README.md": "100644"}


def test_an_app_opens_pull_requests_with_tokens_for_this_repository_alone(world: World) -> None:
    forge = world.app(world.emulator.pem, world.emulator.app_id)
    landed = land(forge, opening(forge, CHANGE), action(1))
    assert landed.number is not None
    asked = world.proxy.seen.of("POST", r"/app/installations/\d+/access_tokens")
    assert len(asked) == 1
    assert asked[0].json() == {
        "repositories": [world.repository.name],
        "permissions": {
            "checks": "read",
            "contents": "write",
            "metadata": "read",
            "pull_requests": "write",
            "statuses": "read",
        },
    }


def test_a_token_that_may_only_read_is_refused_and_leaves_nothing(world: World) -> None:
    change = opening(world.forge(), CHANGE)
    with pytest.raises(ConnectorError, match="not accessible") as caught:
        apply(world.forge(who="bob"), change, action(1))
    assert caught.value.kind == "refused"
    assert world.refs() == {}
    assert world.head(action(1).marker) is None


def test_a_branch_of_others_under_the_same_name_is_refused_and_left_alone(world: World) -> None:
    change = opening(world.forge(), CHANGE)
    theirs = world.repository.branch(action(1).marker)
    with pytest.raises(ConnectorError, match="holds something else"):
        apply(world.forge(), change, action(1))
    assert world.head(action(1).marker) == theirs
    assert world.refs() == {}


def test_a_branch_that_others_make_in_between_is_left_alone_and_what_was_begun_is_taken_back(world: World) -> None:
    change = opening(world.forge(), CHANGE)
    branch = action(1).marker
    world.proxy.faults.set(Fault("POST", r".*/git/refs", Meanwhile(lambda: world.repository.branch(branch)), nth=2))
    with pytest.raises(ConnectorError, match="holds something else") as caught:
        apply(world.forge(), change, action(1))
    assert caught.value.kind == "refused"
    assert world.head(branch) == world.head("main")
    assert isinstance(probe(world, change), CannotHappen)


def test_where_there_are_no_drafts_nothing_else_is_opened_and_the_branch_goes_again(world: World) -> None:
    change = opening(world.forge(), CHANGE)
    words = "Draft pull requests are not supported in this repository."
    world.proxy.faults.set(Fault("POST", r".*/pulls", Instead(says(422, words)), nth=0))
    with pytest.raises(ConnectorError, match="draft = false") as caught:
        apply(world.forge(), change, action(1))
    assert caught.value.kind == "refused"
    world.proxy.faults.set()
    assert world.head(action(1).marker) is None
    assert world.repository.pulls() == []
    assert isinstance(probe(world, change), CannotHappen)
    with pytest.raises(ConnectorError, match="cannot land any more"):
        apply(world.forge(), change, action(1))


def test_a_pull_request_that_was_opened_otherwise_than_reviewed_is_not_called_a_success(world: World) -> None:
    change = opening(world.forge(), CHANGE)

    def open_no_draft() -> None:
        world.repository.open_pull(action(1).marker, title="Say hello", draft=False)

    world.proxy.faults.set(Fault("POST", r".*/pulls", Meanwhile(open_no_draft)))
    with pytest.raises(ConnectorError, match="not opened as reviewed") as caught:
        apply(world.forge(), change, action(1))
    assert caught.value.kind == "unknown"
    answer = probe(world, change)
    assert isinstance(answer, CannotTell)
    assert "no draft" in answer.reason


def test_a_pull_request_that_people_went_on_with_still_counts(world: World) -> None:
    forge = world.forge()
    change = opening(forge, CHANGE)
    landed = land(forge, change, action(1))
    assert landed.number is not None
    time.sleep(MAKING.total_seconds())
    world.repository.ask("PATCH", f"pulls/{landed.number}", {"draft": False, "title": "Better words"})
    world.repository.close(landed.number)
    world.repository.delete(landed.branch)
    assert land(forge, change, action(1)) == landed
    assert world.head(landed.branch) is None


def test_a_touched_file_that_changes_between_review_and_executing_is_stale(world: World) -> None:
    forge = world.forge()
    change = opening(forge, CHANGE)
    world.commit("main", {"src/app.py": b"theirs\n"})
    assert isinstance(apply(forge, change, action(1)), Stale)
    assert world.refs() == {}


def test_another_tree_than_was_reviewed_is_never_committed(world: World) -> None:
    forge = world.forge()
    change = opening(forge, CHANGE)
    other = world.repository.ask("GET", f"git/commits/{world.head('main')}")["tree"]["sha"]
    world.proxy.faults.set(Fault("POST", r".*/git/trees", Instead(echo(201, sha=other))))
    with pytest.raises(ConnectorError, match="another tree"):
        apply(forge, change, action(1))
    assert world.proxy.seen.of("POST", r".*/git/commits") == []


def settled(world: World, change: Any, fault: Fault) -> tuple[str, object]:
    """Apply under a fault, then probe as the gateway does where it is unknown; return what was told of it."""
    world.proxy.faults.set(fault)
    try:
        told: object = apply(world.forge(), change, action(1))
    except ConnectorError as error:
        if error.kind != "unknown":
            return error.kind, error
        world.proxy.faults.set()
        told = probe(world, change)
    return "told", told


@pytest.mark.parametrize(("step", "trouble"), cases(STEPS, ("the branch", "the pull request")))
def test_whatever_happens_to_a_step_the_outcome_is_true_and_the_effect_happens_at_most_once(
    world: World, step: str, trouble: str
) -> None:
    change = opening(world.forge(), BINARY)
    method, path, nth = STEPS[step]
    kind, told = settled(world, change, Fault(method, path, TROUBLES[trouble], nth=nth))
    branch, pulls = world.head(action(1).marker), world.repository.pulls()
    assert len(pulls) <= 1
    assert not isinstance(told, CannotTell)
    assert (branch is not None) is (len(pulls) == 1) is isinstance(told, Landed), (kind, told)
    if isinstance(told, Landed):
        assert (told.commit, told.number) == (branch, pulls[0]["number"])
        assert world.files(told.branch)["src/app.py"] == BINARY["src/app.py"]
    world.proxy.faults.set()
    assert isinstance(probe(world, change), Landed if isinstance(told, Landed) else CannotHappen)


def test_a_marker_whose_answer_is_lost_is_looked_up_at_once(world: World) -> None:
    change = opening(world.forge(), BINARY)
    method, path, nth = STEPS["the marker"]
    world.proxy.faults.set(Fault(method, path, DropAfter(), nth=nth))
    landed = land(world.forge(), change, action(1))
    assert len(world.proxy.faults.struck) == 1
    assert landed.commit == world.head(landed.branch)


@pytest.mark.parametrize("step", [step for step in STEPS if step != "the marker"])
def test_an_executor_that_comes_back_finishes_what_a_lost_answer_left(world: World, step: str) -> None:
    change = opening(world.forge(), BINARY)
    method, path, nth = STEPS[step]
    world.proxy.faults.set(Fault(method, path, DropAfter(), nth=nth))
    with pytest.raises(ConnectorError) as caught:
        apply(world.forge(), change, action(1))
    assert caught.value.kind == "unknown"
    landed = land(world.forge(), change, action(1))
    assert landed.commit == world.head(landed.branch)
    assert len(world.repository.pulls()) == 1
