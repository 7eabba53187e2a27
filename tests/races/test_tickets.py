"""Tickets that others edit while a change of ours is on its way, in a folder here and on GitHub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bed.emulator import Emulator
from tests.races.hub import Hub, hub_of
from tests.races.stage import MOMENTS, Moment, Stage, meanwhile, reasons


@dataclass(slots=True)
class Tracker:
    """A tracker with one open ticket: how others change it, and how they step in while our change is on its way."""

    ticket: str
    wire: Callable[[Stage], None]
    set_status: Callable[[str], object]
    status: Callable[[], str]
    comment: Callable[[str], object]
    comments: Callable[[], str]
    strike: Callable[[Callable[[], object]], None] = lambda _: None
    strike_first: Callable[[Callable[[], object]], None] = lambda _: None
    theirs: str = "closed"


def _folder(stage: Stage) -> Tracker:
    path = stage.folder / "samples/tickets/OPS-1.md"

    def edit(status: str) -> None:
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(f"status: {status}\n" if line.startswith("status:") else line for line in lines))

    def status() -> str:
        return next(line[8:].strip() for line in path.read_text().splitlines() if line.startswith("status:"))

    return Tracker(
        ticket="OPS-1",
        wire=lambda stage: stage.wire(),
        set_status=edit,
        status=status,
        comment=lambda text: path.write_text(f"{path.read_text()}\n{text}\n"),
        comments=path.read_text,
    )


def _issues(hub: Hub) -> Tracker:
    repository = hub.repository
    number = repository.issue("Checkout is slow", "It takes nine seconds.")
    reading = {"not_planned": "not planned"}

    def edit(status: str) -> None:
        reason = {"closed": "completed", "not planned": "not_planned"}.get(status, "reopened")
        repository.edit_issue(number, state="open" if status == "open" else "closed", state_reason=reason)

    def status() -> str:
        found = repository.read_issue(number)
        return "open" if found["state"] == "open" else reading.get(found["state_reason"], "closed")

    return Tracker(
        ticket=str(number),
        wire=lambda stage: stage.wire(tickets=hub.wiring(stage)),
        set_status=edit,
        status=status,
        comment=lambda text: repository.comment(number, text),
        comments=lambda: "\n".join(repository.comments(number)),
        strike=meanwhile(hub.proxy, "PATCH", rf".*/issues/{number}"),
        strike_first=meanwhile(hub.proxy, "POST", rf".*/issues/{number}/comments"),
        theirs="not planned",
    )


CASES: list[tuple[str, Moment]] = [
    *(("folder", moment) for moment in MOMENTS[:2]),  # a folder's change is one rename, under a lock
    *(("github", moment) for moment in MOMENTS),
]
each_case = pytest.mark.parametrize(("tracker", "moment"), CASES, indirect=["tracker"])


@pytest.fixture
def tracker(request: pytest.FixtureRequest, stage: Stage, tmp_path: Path) -> Iterator[Tracker]:
    if request.param == "folder":
        made = _folder(stage)
        made.wire(stage)
        yield made
        return
    emulator: Emulator = request.getfixturevalue("github_emulator")
    with hub_of(emulator, tmp_path) as hub:
        made = _issues(hub)
        made.wire(stage)
        yield made


def asked(stage: Stage, tracker: Tracker, **more: Any) -> str:
    return stage.ask("update_ticket", ticket=tracker.ticket, **{"status": "closed", "comment": "Done now.", **more})


def through(stage: Stage, tracker: Tracker, moment: Moment, deed: Callable[[], object]) -> dict[str, Any]:
    return stage.through(moment, deed, tracker.strike, asked(stage, tracker))


@pytest.mark.parametrize("moment", MOMENTS[:2])
@pytest.mark.parametrize("tracker", ["folder", "github"], indirect=True)
def test_a_status_that_others_set_first_is_left_alone(stage: Stage, tracker: Tracker, moment: Moment) -> None:
    told = through(stage, tracker, moment, lambda: tracker.set_status(tracker.theirs))
    assert (told["status"], tracker.status()) == ("stale", tracker.theirs)
    assert "status is no longer" in reasons(told)
    assert "Done now." not in tracker.comments()


@pytest.mark.parametrize("tracker", ["github"], indirect=True)
def test_a_status_that_others_set_before_our_comment_arrives_is_left_alone(stage: Stage, tracker: Tracker) -> None:
    told = stage.through(
        "before the answer",
        lambda: tracker.set_status(tracker.theirs),
        tracker.strike_first,
        asked(stage, tracker),
    )
    assert (told["status"], tracker.status()) == ("failed", tracker.theirs)
    assert "somebody set the status to not planned before it could be set" in reasons(told)
    [finished] = stage.effects(str(told["action_id"]))
    assert finished.facts["effect"] is True
    assert tracker.comments().count("Done now.") == 1


@pytest.mark.parametrize("tracker", ["github"], indirect=True)
def test_a_status_that_others_set_on_the_way_is_set_over_and_that_is_what_was_reviewed(
    stage: Stage, tracker: Tracker
) -> None:
    """GitHub takes no precondition: others who are faster by that instant are set over."""
    told = through(stage, tracker, "before the answer", lambda: tracker.set_status(tracker.theirs))
    assert (told["status"], tracker.status()) == ("succeeded", "closed")
    assert tracker.comments().count("Done now.") == 1


@each_case
def test_a_comment_of_somebody_else_voids_nothing(stage: Stage, tracker: Tracker, moment: Moment) -> None:
    told = through(stage, tracker, moment, lambda: tracker.comment("I am on it."))
    assert (told["status"], tracker.status()) == ("succeeded", "closed"), told
    assert (tracker.comments().count("I am on it."), tracker.comments().count("Done now.")) == (1, 1)


def test_two_homes_that_set_one_status_set_it_once(
    stages: Callable[[str], Stage], github_emulator: Emulator, tmp_path: Path
) -> None:
    first, second = stages("first"), stages("second")
    with hub_of(github_emulator, tmp_path) as hub:
        tracker = _issues(hub)
        for one in (first, second):
            tracker.wire(one)
        theirs = asked(second, tracker, status="not planned", comment="Never.")
        second.world.approve(theirs)
        told = first.through(
            "before the execution", lambda: second.run(theirs), lambda _: None, asked(first, tracker)
        )
        assert (told["status"], second.ended(theirs), tracker.status()) == ("stale", "succeeded", "not planned")
        assert "Done now." not in tracker.comments()


@pytest.mark.parametrize("moment", MOMENTS[:2])
def test_an_issue_of_another_repository_that_took_the_name_is_left_alone(
    stage: Stage, github_emulator: Emulator, tmp_path: Path, moment: Moment
) -> None:
    with hub_of(github_emulator, tmp_path) as hub:
        tracker = _issues(hub)
        tracker.wire(stage)

        def replaced() -> None:
            hub.replaced(proposing=False)
            hub.repository.issue("Somebody else's", "Another matter.")

        told = stage.through(moment, replaced, lambda _: None, asked(stage, tracker))
        assert (tracker.status(), tracker.comments()) == ("open", ""), told
        assert told["status"] in {"stale", "failed"}
