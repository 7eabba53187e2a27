from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from pydantic import ValidationError

from keyturn.connectors.files import Disk
from keyturn.connectors.tickets import TicketChange
from keyturn.connectors.tickets.folder import Settings, reading, updating
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Happened, Stale, Succeeded, Unknown
from tests.connectors.deployments.processes import CountingDisk, action, survive
from tests.connectors.tickets.contract import preview
from tests.connectors.tickets.fenced import FencedContract
from tests.connectors.tickets.world import TICKET, World, apply_until, open_port, probe_until


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class TestTicketFolder(FencedContract):
    """The port's promises, kept by a real folder."""


def changed(world: World) -> bool:
    return "status: closed" in world.text()


def counted(home: Path) -> CountingDisk:
    """Apply in a world of its own and return the disk that counted."""
    disk, world = CountingDisk(), World(make(home))
    anyio.run(open_port(home, disk).apply, preview(world, "closed", "Bye.").change, action(1))
    return disk


def died(tmp_path: Path, steps: list[int], comment: str | None) -> list[tuple[World, TicketChange]]:
    """Return a world for each step at which an executor died in it."""
    worlds = [World(make(tmp_path / f"died-{number}")) for number in range(len(steps))]
    changes = [preview(world, "closed", comment).change for world in worlds]
    runs = [(w.home, c, action(1), step) for w, c, step in zip(worlds, changes, steps, strict=True)]
    assert not any(survive(apply_until, runs))
    return list(zip(worlds, changes, strict=True))


def test_whatever_the_step_an_executor_dies_at_applying_again_completes_once(tmp_path: Path) -> None:
    disk = counted(tmp_path / "counted")
    happened = []
    for world, change in died(tmp_path, list(range(disk.steps)), "Bye."):
        happened.append(changed(world))
        assert isinstance(anyio.run(world.port.apply, change, action(1)), Succeeded)
        assert (changed(world), world.comments_of(action(1)), world.text().count("Bye.")) == (True, 1, 1)
        assert (world.marks(), world.staged()) == ({action(1).action: "done"}, [])
    assert happened == [step > disk.placed["OPS-1.md"] for step in range(disk.steps)]


@pytest.mark.parametrize("comment", [None, "Bye."], ids=["status only", "status and comment"])
def test_whatever_the_step_an_executor_dies_at_a_probe_tells_what_happened(
    tmp_path: Path, comment: str | None
) -> None:
    for world, change in died(tmp_path, list(range(counted(tmp_path / "counted").steps)), comment):
        happened = changed(world)
        told = anyio.run(world.port.probe, change, action(1))
        assert isinstance(told, Happened if happened else CannotHappen)
        late = anyio.run(world.port.apply, change, action(1))
        assert isinstance(late, Succeeded if happened else Failed)
        assert (changed(world), world.staged()) == (happened, [])


@pytest.mark.parametrize("happened", [False, True], ids=["before the change", "after the change"])
def test_whatever_the_step_a_probe_dies_at_the_next_one_says_the_same(tmp_path: Path, happened: bool) -> None:
    died_at = counted(tmp_path / "counted").placed["OPS-1.md"] + int(happened)
    cases = died(tmp_path, [died_at] * 30, None)
    survived = survive(probe_until, [(w.home, c, action(1), step) for step, (w, c) in enumerate(cases)])
    assert survived[:5] == [False] * 5
    assert survived[-1]
    for world, change in cases:
        assert changed(world) is happened
        told = anyio.run(world.port.probe, change, action(1))
        assert isinstance(told, Happened if happened else CannotHappen)


def test_every_other_byte_of_the_ticket_stays_and_so_does_its_mode(world: World) -> None:
    world.path.chmod(0o640)
    anyio.run(world.port.apply, preview(world, "in progress", "Two\nlines.\n").change, action(1))
    section = (
        "\n## Comment by claude at 2025-11-20T14:37:18.676000Z\n\n"
        f"Written by claude through Keyturn, action {action(1).action}. <!-- keyturn/{action(1).action} -->\n\n"
        "Two\nlines.\n"
    )
    assert world.text() == TICKET.replace("status: open  ", "status: in progress  ") + section
    assert world.path.stat().st_mode & 0o777 == 0o640


def test_the_diff_of_a_preview_holds_names_for_what_is_not_known_yet(world: World) -> None:
    seen = preview(world, "closed", "Bye.")
    assert seen.diff.startswith("diff --git a/OPS-1.md b/OPS-1.md\n")
    assert "-status: open                  # see the board\n+status: closed                  # see" in seen.diff
    assert "+## Comment by <principal> at <time>\n" in seen.diff
    assert "+Written by <principal> through Keyturn, action <action>. <!-- keyturn/<action> -->\n" in seen.diff
    assert (seen.added, seen.removed) == (7, 1)


def test_a_file_with_carriage_returns_keeps_them_everywhere(world: World) -> None:
    world.path.write_bytes(TICKET.replace("\n", "\r\n").encode())
    anyio.run(world.port.apply, preview(world, "closed", "One\ntwo").change, action(1))
    assert world.text().count("\n") == world.text().count("\r\n")
    assert world.text().endswith("One\r\ntwo\r\n")


def test_a_file_without_a_last_newline_gets_one_before_the_comment(world: World) -> None:
    world.path.write_text(TICKET.removesuffix("\n"))
    anyio.run(world.port.apply, preview(world, comment="Bye.").change, action(1))
    assert "Still slow.\n\n## Comment by claude" in world.text()


def test_facts_are_only_what_the_change_depends_on(world: World) -> None:
    assert preview(world, "closed").change.facts == {"ticket": "OPS-1", "recipients": 3, "status": "open"}
    assert preview(world, comment="Hello.").change.facts == {"ticket": "OPS-1", "recipients": 3, "exists": True}
    assert str(preview(world, "closed").guard["sha256"]).startswith("sha256:")


def test_a_lost_mark_is_made_good_by_the_tag_of_the_comment(world: World) -> None:
    change = preview(world, comment="Hello.").change
    anyio.run(world.port.apply, change, action(1))
    shutil.rmtree(world.root / ".keyturn")
    assert isinstance(anyio.run(world.port.apply, change, action(1)), Succeeded)
    assert world.comments_of(action(1)) == 1
    assert isinstance(anyio.run(world.port.probe, change, action(1)), Happened)


def test_an_action_id_used_for_another_change_is_refused(world: World) -> None:
    anyio.run(world.port.apply, preview(world, comment="Hello.").change, action(1))
    other = preview(world, comment="Bye.").change
    with pytest.raises(ConnectorError, match="marked for another change"):
        anyio.run(world.port.apply, other, action(1))
    assert isinstance(anyio.run(world.port.probe, other, action(1)), CannotTell)


class Meddling(Disk):
    """Lets an editor that ignores the lock write just before some of our steps."""

    def __init__(self, edit: Callable[[], None], times: int) -> None:
        self.edit = edit
        self.times = times

    def rename(self, folder: int, name: str, to_folder: int, to_name: str) -> None:
        super().rename(folder, name, to_folder, to_name)
        if to_name == action(1).action and self.times:
            self.times -= 1
            self.edit()


def test_an_edit_between_reading_and_renaming_is_kept(world: World) -> None:
    change = preview(world, comment="Bye.").change
    port = open_port(world.home, Meddling(lambda: world.comment("Me too."), 1))
    assert isinstance(anyio.run(port.apply, change, action(1)), Succeeded)
    assert world.text().index("Me too.") < world.text().index("Bye.")
    assert world.comments_of(action(1)) == 1


def test_an_edit_of_the_status_between_reading_and_renaming_is_stale_and_fenced(world: World) -> None:
    change = preview(world, "closed").change
    port = open_port(world.home, Meddling(lambda: world.set_status("in progress"), 1))
    assert anyio.run(port.apply, change, action(1)) == Stale(("status",))
    assert (world.marks(), world.staged()) == ({action(1).action: "fenced"}, [])


def test_a_ticket_that_keeps_changing_is_given_up_and_can_be_tried_again(world: World) -> None:
    change = preview(world, comment="Bye.").change
    port = open_port(world.home, Meddling(lambda: world.comment("Me too."), 5))
    with pytest.raises(ConnectorError, match="keeps changing") as refusal:
        anyio.run(port.apply, change, action(1))
    assert (refusal.value.kind, world.comments_of(action(1))) == ("retry", 0)
    assert isinstance(anyio.run(port.apply, change, action(1)), Succeeded)


class Replacing(Disk):
    """Lets somebody put something else in place of the ticket right after our rename, or fails then."""

    def __init__(self, edit: Callable[[], object]) -> None:
        self.edit = edit

    def rename(self, folder: int, name: str, to_folder: int, to_name: str) -> None:
        super().rename(folder, name, to_folder, to_name)
        if to_name == "OPS-1.md":
            self.edit()


def test_a_change_that_is_replaced_at_once_is_a_failure_with_an_effect(world: World) -> None:
    change = preview(world, "closed").change
    port = open_port(world.home, Replacing(lambda: world.set_status("open")))
    outcome = anyio.run(port.apply, change, action(1))
    assert isinstance(outcome, Failed)
    assert (outcome.effect, outcome.result["status"]) == (True, "open")


def test_a_change_that_cannot_be_read_back_is_unknown_until_it_can(world: World) -> None:
    change = preview(world, "closed").change
    port = open_port(world.home, Replacing(lambda: world.path.rename(world.root / "away")))
    outcome = anyio.run(port.apply, change, action(1))
    assert isinstance(outcome, Unknown)
    assert isinstance(anyio.run(world.port.probe, change, action(1)), CannotTell)
    (world.root / "away").rename(world.path)
    assert isinstance(anyio.run(world.port.probe, change, action(1)), Happened)


def test_a_disk_that_fails_at_the_change_leaves_it_unknown(world: World) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    change = preview(world, "closed").change
    outcome = anyio.run(open_port(world.home, Replacing(fail)).apply, change, action(1))
    assert outcome == Unknown("the change was begun, then: ops/OPS-1.md: Input/output error")
    assert isinstance(anyio.run(world.port.probe, change, action(1)), Happened)


@pytest.mark.parametrize(
    "ticket", ["../OPS-1", "OPS-1.md", "ops", "OPS-", "1-1", "OPS-1\n", "OPS-1234567890", "", "O/P-1"]
)
def test_what_is_no_ticket_id_is_neither_held_nor_read(world: World, ticket: str) -> None:
    assert not anyio.run(world.port.holds, ticket)
    with pytest.raises(ConnectorError, match="is not a ticket id"):
        anyio.run(world.port.snapshot, ticket)


def test_a_ticket_that_is_a_symlink_a_folder_or_a_fifo_is_refused(world: World, tmp_path: Path) -> None:
    world.path.rename(tmp_path / "elsewhere.md")
    world.path.symlink_to(tmp_path / "elsewhere.md")
    (world.root / "OPS-2.md").mkdir()
    os.mkfifo(world.root / "OPS-3.md")
    for ticket, problem in [
        ("OPS-1", "never followed"),
        ("OPS-2", "not a regular file"),
        ("OPS-3", "not a regular file"),
    ]:
        with pytest.raises(ConnectorError, match=problem):
            anyio.run(world.port.snapshot, ticket)


def test_a_ticket_beyond_the_bound_is_refused_when_read_and_when_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (reading, updating):
        monkeypatch.setattr(module, "MAX_FILE", len(TICKET) + 10)
    with pytest.raises(ConnectorError, match="would be larger than"):
        preview(world, comment="Hello.")
    world.comment("Some more words.")
    with pytest.raises(ConnectorError, match=r"ops/OPS-1.md: is larger than"):
        anyio.run(world.port.snapshot, "OPS-1")


def test_a_file_that_says_it_is_another_ticket_is_refused(world: World) -> None:
    shutil.copy(world.path, world.root / "OPS-2.md")
    with pytest.raises(ConnectorError, match="says that its id is 'OPS-1'"):
        anyio.run(world.port.snapshot, "OPS-2")


def test_a_status_that_may_not_be_set_here_has_no_inverse_call(world: World) -> None:
    world.set_status("on hold")
    inverse = world.port.inverse(preview(world, "closed", "Bye.").change)
    assert inverse.tool is None
    assert inverse.summary.startswith(
        "Its status was 'on hold', which cannot be set here any more. The comment stays"
    )


def test_facts_that_were_not_reviewed_are_stale(world: World) -> None:
    change = TicketChange(ticket="OPS-1", status="closed", comment=None, facts={})
    assert anyio.run(world.port.apply, change, action(1)) == Stale(("recipients", "status", "ticket"))


def test_a_tracker_may_have_statuses_of_its_own(world: World) -> None:
    world.port = open_port(world.home, statuses=["to do", "1.0"])
    assert isinstance(anyio.run(world.port.apply, preview(world, "1.0").change, action(1)), Succeeded)
    assert anyio.run(world.port.snapshot, "OPS-1").status == "1.0"
    with pytest.raises(ConnectorError, match=r"use one of: to do, 1\.0$"):
        preview(world, "closed")


def test_settings_name_what_is_wrong() -> None:
    for wrong in [
        {"kind": "folder"},
        {"kind": "folder", "path": ""},
        {"kind": "folder", "path": "x", "statuses": []},
        {"kind": "folder", "path": "x", "statuses": ["open", "open"]},
        {"kind": "folder", "path": "x", "statuses": ["open\nid: X-1"]},
        {"kind": "folder", "path": "x", "statuses": ["a: b"]},
        {"kind": "folder", "path": "x", "more": 1},
    ]:
        with pytest.raises(ValidationError):
            Settings.model_validate(wrong)


def test_the_identity_of_a_tracker_is_the_real_path_of_its_folder(world: World) -> None:
    (world.home / "alias").symlink_to("tickets")
    backend = open_port(world.home, path="alias").backend()
    assert (backend.port, backend.name, backend.kind) == ("tickets", "ops", "folder")
    assert backend.location == str(world.root.resolve())


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_a_probe_of_a_folder_that_holds_nothing_cannot_tell_and_leaves_no_fence(tmp_path: Path) -> None:
    world = World(tmp_path)
    change = anyio.run(world.port.preview, "OPS-1", "resolved", None).change
    folder = world.root
    folder.rename(folder.with_name("mounted"))
    folder.mkdir()
    assert isinstance(anyio.run(world.port.probe, change, action(1)), CannotTell)
    assert list(folder.iterdir()) == []


def test_a_folder_that_was_put_in_the_place_of_the_reviewed_one_is_not_touched(world: World) -> None:
    reviewed = replace(preview(world, "closed").change, location=world.port.backend().location)
    before, moved = world.text(), world.home / "moved"
    world.root.rename(moved)
    world.root.symlink_to(moved)
    with pytest.raises(ConnectorError, match="ops: is another folder now") as refusal:
        anyio.run(world.port.apply, reviewed, action(1))
    assert refusal.value.kind == "conflict"
    assert isinstance(anyio.run(world.port.probe, reviewed, action(1)), CannotTell)
    assert (world.text(), (moved / ".keyturn").exists()) == (before, False)
