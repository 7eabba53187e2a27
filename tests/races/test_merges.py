"""The merge race: what others do to a pull request on GitHub while its merge is on its way through the gateway."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.connectors.forge.repository import FILES
from tests.races.hub import EVIL, PUT, TOUCHED, UNTOUCHED, WORK, Hub, hub, with_work
from tests.races.stage import MOMENTS, Moment, Stage, meanwhile, reasons

__all__ = ["hub"]


@pytest.fixture
def number(stage: Stage, hub: Hub) -> int:
    """A pull request of somebody's, in a repository that the home merges."""
    stage.wire(forge=hub.wiring(stage))
    return hub.propose()


def asked(stage: Stage, number: int, principal: str = "claude", **more: str) -> str:
    return stage.ask("merge_pull_request", principal, repository="shop", number=number, **more)


def merged(
    stage: Stage, hub: Hub, number: int, moment: Moment, deed: Callable[[], object]
) -> tuple[dict[str, object], dict[str, bytes]]:
    """Merge while others do a deed; returns what is told, and what main holds in the end."""
    told = stage.through(moment, deed, meanwhile(hub.proxy, *PUT), asked(stage, number))
    return told, hub.files()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_head_that_moves_is_never_merged(stage: Stage, hub: Hub, number: int, moment: Moment) -> None:
    told, files = merged(stage, hub, number, moment, lambda: hub.push("work", EVIL))
    assert (told["status"], files) == ("stale", FILES)
    assert "no longer at the reviewed commit" in reasons(told)


def test_a_head_that_moves_after_the_merge_is_not_part_of_it(stage: Stage, hub: Hub, number: int) -> None:
    action = asked(stage, number)
    stage.world.approve(action)
    hub.proxy.faults.set(hub.after_the_deed(lambda: hub.push("work", EVIL)))
    assert (stage.run(action)["status"], hub.files()) == ("succeeded", with_work(WORK))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_base_that_moves_elsewhere_voids_nothing(stage: Stage, hub: Hub, number: int, moment: Moment) -> None:
    told, files = merged(stage, hub, number, moment, lambda: hub.push("main", UNTOUCHED))
    assert (told["status"], files) == ("succeeded", with_work(WORK, UNTOUCHED))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_base_that_moves_in_a_touched_file_voids_the_review(
    stage: Stage, hub: Hub, number: int, moment: Moment
) -> None:
    told, files = merged(stage, hub, number, moment, lambda: hub.push("main", TOUCHED))
    assert (told["status"], files) == ("stale", with_work(TOUCHED))
    assert re.search(r"src/app\.py has changed on main|cannot be merged into main as it is any more", reasons(told))


def test_a_blend_that_nobody_saw_is_never_called_a_success(stage: Stage, hub: Hub, number: int) -> None:
    theirs, blended = FILES["src/app.py"] + b"# theirs\n", b"print('hello')\n# theirs\n"
    told = stage.through("before the answer", lambda: None, hub.blends(theirs, blended), asked(stage, number))
    assert told["status"] == "unknown"
    assert "not as reviewed: it changed something else than the reviewed files" in reasons(told)
    assert hub.files()["src/app.py"] == blended


@pytest.mark.parametrize("moment", MOMENTS[:2])
def test_a_request_that_goes_elsewhere_is_not_merged(stage: Stage, hub: Hub, number: int, moment: Moment) -> None:
    told, files = merged(stage, hub, number, moment, lambda: hub.retarget(number))
    assert (told["status"], files, hub.files("release")) == ("stale", FILES, FILES)
    assert "release" in reasons(told)


def test_a_request_that_goes_elsewhere_on_the_way_is_told_as_a_failure_with_an_effect(
    stage: Stage, hub: Hub, number: int
) -> None:
    told, files = merged(stage, hub, number, "before the answer", lambda: hub.retarget(number))
    assert (files, hub.files("release")) == (FILES, with_work(WORK))
    assert told["status"] == "failed", told
    assert "release" in reasons(told)
    [finished] = stage.effects(str(told["action_id"]))
    assert finished.facts["effect"] is True


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("branch", ["work", "main"])
def test_a_branch_that_is_forced_away_and_back_is_what_was_reviewed(
    stage: Stage, hub: Hub, number: int, moment: Moment, branch: str
) -> None:
    told, files = merged(stage, hub, number, moment, lambda: hub.aside(branch))
    assert (told["status"], files) == ("succeeded", with_work(WORK))


@pytest.mark.parametrize("moment", MOMENTS[:2])
def test_checks_that_turn_red_void_the_review(stage: Stage, hub: Hub, number: int, moment: Moment) -> None:
    head = hub.repository.head("work")
    hub.repository.check_run(head, "ci")
    told, files = merged(stage, hub, number, moment, lambda: hub.repository.check_run(head, "ci", "failure"))
    assert (told["status"], files) == ("stale", FILES)
    assert "the check 'ci' was success at the review and is failure" in reasons(told)


def test_what_turns_against_a_merge_on_the_way_is_too_late(stage: Stage, hub: Hub, number: int) -> None:
    """GitHub itself refuses where the base is protected: checks must have passed then, and reviews approve."""
    head = hub.repository.head("work")
    hub.repository.check_run(head, "ci")
    hub.repository.review(number, "APPROVE")

    def against() -> None:
        hub.repository.check_run(head, "ci", "failure")
        hub.withdraw(number)

    told, files = merged(stage, hub, number, "before the answer", against)
    assert (told["status"], files) == ("succeeded", with_work(WORK))


@pytest.mark.parametrize("moment", MOMENTS[:2])
def test_an_approval_that_is_withdrawn_on_the_forge_voids_the_review(
    stage: Stage, hub: Hub, number: int, moment: Moment
) -> None:
    hub.repository.review(number, "APPROVE")
    told, files = merged(stage, hub, number, moment, lambda: hub.withdraw(number))
    assert (told["status"], files) == ("stale", FILES)
    assert "the approval of 'carol' on the forge is not there any more" in reasons(told)


@pytest.mark.parametrize("moment", MOMENTS)
def test_somebody_else_who_merges_first_did_it(stage: Stage, hub: Hub, number: int, moment: Moment) -> None:
    told, files = merged(stage, hub, number, moment, lambda: hub.repository.merge(number))
    assert (told["status"], files, hub.merges()) == ("stale", with_work(WORK), 1)
    assert "merged" in reasons(told)


@pytest.mark.parametrize("moment", MOMENTS)
def test_another_repository_that_takes_the_name_gets_nothing(
    stage: Stage, hub: Hub, number: int, moment: Moment
) -> None:
    told, _ = merged(stage, hub, number, moment, hub.replaced)
    assert told["status"] in {"stale", "failed"}, told
    assert hub.twin_is_untouched()


def test_two_homes_that_merge_one_request_merge_it_once(stages: Callable[[str], Stage], hub: Hub) -> None:
    """Each home has its own turn at the host, so nothing but GitHub keeps them apart."""
    first, second = stages("first"), stages("second")
    for one in (first, second):
        one.wire(forge=hub.wiring(one))
    number = hub.propose()
    theirs = asked(second, number)
    second.world.approve(theirs)
    told = first.through(
        "before the answer", lambda: second.run(theirs), meanwhile(hub.proxy, *PUT), asked(first, number)
    )
    assert (told["status"], second.ended(theirs)) == ("stale", "succeeded")
    assert (hub.files(), hub.merges()) == (with_work(WORK), 1)


# reverts


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_revert_puts_nothing_over_what_changed_since(stage: Stage, hub: Hub, number: int, moment: Moment) -> None:
    hub.repository.merge(number)
    action = stage.ask("revert_pull_request", repository="shop", number=number)
    strike = meanwhile(hub.proxy, "POST", r".*/git/refs")
    told = stage.through(moment, lambda: hub.push("main", TOUCHED), strike, action)
    assert hub.files() == with_work(WORK, TOUCHED)
    opened = [pull for pull in hub.repository.pulls("open") if pull["number"] != number]
    if moment == "before the answer":  # a pull request lands nothing: whoever merges it sees what stands there
        assert (told["status"], len(opened)) == ("succeeded", 1)
    else:
        assert (told["status"], opened) == ("stale", [])
        assert "src/app.py" in reasons(told)


def test_a_revert_of_a_merge_whose_files_changed_since_is_not_even_planned(
    stage: Stage, hub: Hub, number: int
) -> None:
    hub.repository.merge(number)
    hub.push("main", TOUCHED)
    said = stage.refused("revert_pull_request", repository="shop", number=number)
    assert "src/app.py" in said
