from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from pydantic import ValidationError

from keyturn.connectors.checking import Finding
from keyturn.connectors.files import Disk
from keyturn.connectors.tickets import NewTicket
from keyturn.connectors.tickets.document import parse_document
from keyturn.connectors.tickets.folder import Settings
from keyturn.connectors.tickets.folder.looking import disk_findings, filesystem
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Happened, Stale, Succeeded, Unknown
from tests.connectors.deployments.processes import CountingDisk, action, survive
from tests.connectors.tickets.contract import draft
from tests.connectors.tickets.world import TICKET, World, create_until, open_port, probe_creation_until

MADE = Succeeded({"ticket": "OPS-2", "url": None})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def create(world: World, number: int = 1, ticket: NewTicket | None = None) -> object:
    outcome: object = anyio.run(world.port.create, ticket or draft(world).ticket, action(number))
    return outcome


def counted(home: Path) -> CountingDisk:
    disk, world = CountingDisk(), World(make(home))
    assert anyio.run(open_port(home, disk).create, draft(world).ticket, action(1)) == MADE
    return disk


def died(tmp_path: Path, steps: list[int]) -> list[tuple[World, NewTicket]]:
    """Return a world for each step at which an executor died in it."""
    worlds = [World(make(tmp_path / f"died-{number}")) for number in range(len(steps))]
    tickets = [draft(world).ticket for world in worlds]
    runs = [(w.home, t, action(1), step) for w, t, step in zip(worlds, tickets, steps, strict=True)]
    assert not any(survive(create_until, runs))
    return list(zip(worlds, tickets, strict=True))


def new_ones(world: World) -> list[str]:
    return [ticket for ticket in world.tickets() if ticket != "OPS-1"]


def test_whatever_the_step_an_executor_dies_at_creating_again_makes_one_ticket(tmp_path: Path) -> None:
    disk = counted(tmp_path / "counted")
    made = []
    for world, ticket in died(tmp_path, list(range(disk.steps))):
        before = new_ones(world)
        made.append(bool(before))
        outcome = create(world, ticket=ticket)
        assert isinstance(outcome, Succeeded)
        assert new_ones(world) == [outcome.result["ticket"]]
        assert before in ([], new_ones(world))
        assert (world.marks(), world.staged()) == ({action(1).action: "done"}, [])
    placed = next(step for name, step in disk.placed.items() if name == "OPS-2.md")
    assert made == [step > placed for step in range(disk.steps)]


def test_whatever_the_step_an_executor_dies_at_a_probe_tells_whether_the_ticket_was_made(tmp_path: Path) -> None:
    for world, ticket in died(tmp_path, list(range(counted(tmp_path / "counted").steps))):
        made = new_ones(world)
        told = anyio.run(world.port.probe_creation, ticket, action(1))
        late = create(world, ticket=ticket)
        if made:
            assert told == Happened({"ticket": made[0], "url": None})
            assert isinstance(late, Succeeded)
        else:
            assert isinstance(told, CannotHappen)
            assert isinstance(late, Failed)
        assert (new_ones(world), world.staged()) == (made, [])


@pytest.mark.parametrize("happened", [False, True], ids=["before the rename", "after the rename"])
def test_whatever_the_step_a_probe_of_a_creation_dies_at_the_next_one_says_the_same(
    tmp_path: Path, happened: bool
) -> None:
    died_at = counted(tmp_path / "counted").placed["OPS-2.md"] + int(happened)
    cases = died(tmp_path, [died_at] * 30)
    survived = survive(probe_creation_until, [(w.home, t, action(1), step) for step, (w, t) in enumerate(cases)])
    assert survived[:5] == [False] * 5
    assert survived[-1]
    for world, ticket in cases:
        assert bool(new_ones(world)) is happened
        told = anyio.run(world.port.probe_creation, ticket, action(1))
        assert isinstance(told, Happened if happened else CannotHappen)


def test_the_file_of_a_new_ticket_is_one_as_people_write_them(world: World) -> None:
    assert create(world, ticket=draft(world, "Search: slow", "Ten\nseconds.\n", ["shop", "on call", "yes"]).ticket)
    assert (world.root / "OPS-2.md").read_text() == (
        '---\nid: OPS-2\ntitle: "Search: slow"\nstatus: open\nlabels: [shop, "on call", "yes"]\n---\n\n'
        f"Written by claude through Keyturn, action {action(1).action}. <!-- keyturn/{action(1).action} -->\n\n"
        "Ten\nseconds.\n"
    )
    assert (world.root / "OPS-2.md").stat().st_mode & 0o777 == 0o644


def test_a_draft_names_what_is_not_known_yet(world: World) -> None:
    seen = draft(world)
    assert seen.diff.startswith("diff --git a/OPS-<number>.md b/OPS-<number>.md\nnew file")
    assert "+id: OPS-<number>\n" in seen.diff
    assert seen.ticket.facts == {"prefix": "OPS", "status": "open", "recipients": 0}
    assert (seen.recipients, seen.guard) == (0, {"highest": 1})


def test_the_number_follows_the_highest_of_the_prefix_whatever_the_files_are(world: World) -> None:
    (world.root / "OPS-7.md").mkdir()
    (world.root / "ops-8.md").write_text("not a ticket")
    (world.root / "WEB-90.md").write_text("not a ticket")
    (world.root / "OPS-100.txt").write_text("not a ticket")
    world.port = open_port(world.home, prefix="OPS")
    assert create(world) == Succeeded({"ticket": "OPS-9", "url": None})


def test_an_id_is_not_given_again_after_its_ticket_was_removed(world: World) -> None:
    assert create(world) == MADE
    (world.root / "OPS-2.md").unlink()
    assert create(world, 2) == Succeeded({"ticket": "OPS-3", "url": None})
    assert create(world) == MADE
    assert not (world.root / "OPS-2.md").exists()


def test_ids_that_cannot_be_told_from_the_files_are_refused_with_advice(world: World) -> None:
    shutil.copy(world.path, world.root / "WEB-1.md")
    with pytest.raises(ConnectorError, match=r'sets one, such as prefix = "OPS", in \[tickets.ops\]'):
        draft(world)
    world.path.unlink()
    (world.root / "WEB-1.md").unlink()
    with pytest.raises(ConnectorError, match="cannot be told from the files"):
        draft(world)
    world.port = open_port(world.home, prefix="NEW")
    assert create(world) == Succeeded({"ticket": "NEW-1", "url": None})


def test_a_prefix_or_a_first_status_that_changed_after_the_review_is_stale(world: World) -> None:
    ticket = draft(world).ticket
    world.port = open_port(world.home, prefix="WEB")
    assert create(world, ticket=ticket) == Stale(("prefix",))
    world.port = open_port(world.home, statuses=["new", "done"])
    assert create(world, ticket=ticket) == Stale(("status",))
    world.port = open_port(world.home)
    shutil.copy(world.path, world.root / "WEB-1.md")
    assert create(world, ticket=ticket) == Stale(("prefix",))
    assert create(world, ticket=replace(ticket, facts={**ticket.facts, "prefix": None})) == Stale(("prefix",))
    assert sorted(world.tickets()) == ["OPS-1", "WEB-1"]


def test_an_action_that_died_with_its_intent_and_is_stale_by_now_is_fenced(tmp_path: Path) -> None:
    at = counted(tmp_path / "counted").placed["OPS-2.md"]
    [(world, ticket)] = died(tmp_path, [at])
    shutil.copy(world.path, world.root / "WEB-1.md")
    assert create(world, ticket=ticket) == Stale(("prefix",))
    assert (world.marks(), world.staged()) == ({action(1).action: "fenced"}, [])


def test_a_name_that_somebody_takes_at_the_same_moment_is_left_to_them(tmp_path: Path) -> None:
    at = counted(tmp_path / "counted").placed["OPS-2.md"]
    [(world, ticket)] = died(tmp_path, [at])
    theirs = TICKET.replace("OPS-1", "OPS-2")
    (world.root / "OPS-2.md").write_text(theirs)
    assert create(world, ticket=ticket) == Failed("somebody else made OPS-2 at the same moment; ask again")
    assert (world.root / "OPS-2.md").read_text() == theirs
    assert isinstance(anyio.run(world.port.probe_creation, ticket, action(1)), CannotHappen)


def test_a_lost_journal_is_made_good_by_the_tag_in_the_ticket(world: World) -> None:
    ticket = draft(world).ticket
    assert create(world, ticket=ticket) == MADE
    shutil.rmtree(world.root / ".keyturn")
    (world.root / "OPS-0.md").mkdir()
    assert create(world, ticket=ticket) == MADE
    shutil.rmtree(world.root / ".keyturn")
    assert anyio.run(world.port.probe_creation, ticket, action(1)) == Happened(MADE.result)
    assert world.tickets() == ["OPS-0", "OPS-1", "OPS-2"]


def test_an_action_id_used_for_another_ticket_is_refused(world: World) -> None:
    assert create(world) == MADE
    other = draft(world, "Another").ticket
    with pytest.raises(ConnectorError, match="marked for another change"):
        create(world, ticket=other)
    assert isinstance(anyio.run(world.port.probe_creation, other, action(1)), CannotTell)


class Replacing(Disk):
    """Lets somebody do something right after our rename."""

    def __init__(self, edit: Callable[[], object]) -> None:
        self.edit = edit

    def rename(self, folder: int, name: str, to_folder: int, to_name: str) -> None:
        super().rename(folder, name, to_folder, to_name)
        if to_name == "OPS-2.md":
            self.edit()


def test_a_ticket_that_is_replaced_at_once_is_a_failure_with_an_effect(world: World) -> None:
    edit = Replacing(lambda: (world.root / "OPS-2.md").write_text("gone"))
    outcome = anyio.run(open_port(world.home, edit).create, draft(world).ticket, action(1))
    assert isinstance(outcome, Failed)
    assert (outcome.effect, outcome.result) == (True, MADE.result)


def test_a_disk_that_fails_at_the_rename_leaves_it_unknown_until_a_probe(world: World) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    ticket = draft(world).ticket
    outcome = anyio.run(open_port(world.home, Replacing(fail)).create, ticket, action(1))
    assert outcome == Unknown("the ticket was begun, then: ops/OPS-2.md: Input/output error")
    assert anyio.run(world.port.probe_creation, ticket, action(1)) == Happened(MADE.result)


def test_a_record_that_cannot_be_written_is_unknown_until_it_can(world: World) -> None:
    marks = world.root / ".keyturn" / "actions" / f"{action(1).action}.json"

    def spoil() -> None:
        marks.unlink()
        marks.mkdir()

    ticket = draft(world).ticket
    outcome = anyio.run(open_port(world.home, Replacing(spoil)).create, ticket, action(1))
    assert isinstance(outcome, Unknown)
    assert outcome.reason.startswith("the ticket was made, then: ")
    assert isinstance(anyio.run(world.port.probe_creation, ticket, action(1)), CannotTell)


def test_an_intent_that_does_not_name_its_ticket_cannot_be_told(world: World) -> None:
    ticket = draft(world).ticket
    assert create(world, ticket=ticket) == MADE
    mark = world.root / ".keyturn" / "actions" / f"{action(1).action}.json"
    mark.write_text(mark.read_text().replace(',"ticket":"OPS-2"', ""))
    told = anyio.run(world.port.probe_creation, ticket, action(1))
    assert isinstance(told, CannotTell)
    assert "does not say which ticket" in told.reason


@pytest.mark.parametrize("record", ["{", "[]", '{"OPS":"7"}', '{"OPS":0}', '{"OPS":1000000000}'])
def test_a_record_of_numbers_that_nobody_of_ours_wrote_is_refused(world: World, record: str) -> None:
    assert create(world) == MADE
    (world.root / ".keyturn" / "numbers.json").write_text(record)
    with pytest.raises(ConnectorError, match=r"numbers.json: is not a record"):
        create(world, 2)


def test_numbers_end_somewhere(world: World) -> None:
    (world.root / "OPS-999999999.md").write_text("")
    with pytest.raises(ConnectorError, match="the numbers of OPS are used up"):
        create(world)


def test_a_probe_of_a_folder_that_holds_nothing_cannot_tell_and_leaves_no_fence(world: World) -> None:
    ticket = draft(world).ticket
    world.root.rename(world.home / "mounted")
    assert isinstance(anyio.run(world.port.probe_creation, ticket, action(1)), CannotTell)
    world.root.mkdir()
    assert isinstance(anyio.run(world.port.probe_creation, ticket, action(1)), CannotTell)
    assert list(world.root.iterdir()) == []


def test_a_folder_in_the_place_of_the_reviewed_one_gets_no_ticket(world: World) -> None:
    reviewed = replace(draft(world).ticket, location=world.port.backend().location)
    world.root.rename(world.home / "moved")
    world.root.symlink_to(world.home / "moved")
    with pytest.raises(ConnectorError, match="another folder now"):
        create(world, ticket=reviewed)


@pytest.mark.parametrize(
    ("statuses", "closed"),
    [
        (["new", "waiting", "Done"], "Done"),
        (["new", "resolved", "closed"], "closed"),
        (["new", "resolved"], "resolved"),
        (["new", "later"], None),
        (["closed"], None),
    ],
)
def test_undoing_a_new_ticket_sets_the_status_that_means_closed_where_there_is_one(
    world: World, statuses: list[str], closed: str | None
) -> None:
    world.port = open_port(world.home, statuses=statuses)
    inverse = world.port.inverse_of_creation(draft(world).ticket)
    assert inverse.arguments.get("status") == closed
    assert (inverse.tool is None) == (closed is None)
    assert ("stays" in inverse.summary) is True


@pytest.mark.parametrize("prefix", ["", "1A", "OPS-", "A B", "x" * 32, "A\n"])
def test_a_prefix_has_the_form_that_ids_have(prefix: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"kind": "folder", "path": "x", "prefix": prefix})


def wrong(world: World) -> list[Finding]:
    return [finding for finding in anyio.run(world.port.check) if finding.level == "wrong"]


def test_a_check_counts_tickets_that_cannot_be_used_and_names_one(world: World) -> None:
    (world.root / "OPS-2.md").write_text("---\nid: OPS-2\n---\n")
    shutil.copy(world.path, world.root / "OPS-3.md")
    (world.root / "README.md").write_text("no ticket")
    [found] = wrong(world)
    assert found.text.startswith("ops: 2 of 3 tickets cannot be used; the first: ops/OPS-2.md: is not a ticket")
    assert found.advice


def test_a_check_of_a_folder_that_is_not_there_says_so(world: World) -> None:
    world.root.rename(world.home / "away")
    [found] = wrong(world)
    assert (found.text, "mend `path`" in found.advice) == ("ops: is missing", True)


def test_a_check_says_that_no_ticket_can_be_made_without_a_prefix(world: World) -> None:
    world.path.unlink()
    notes = [finding for finding in anyio.run(world.port.check) if finding.level == "note"]
    assert [note.advice for note in notes] == ['set `prefix`, such as prefix = "OPS"']
    world.port = open_port(world.home, prefix="OPS")
    assert [finding.level for finding in anyio.run(world.port.check)] == ["ok", "ok"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_check_of_a_folder_that_may_not_be_written_says_so(world: World) -> None:
    world.root.chmod(0o500)
    [found] = wrong(world)
    assert found.text == "ops: this account may not write there"


MOUNTS = """\
23 28 0:22 / /proc rw,relatime shared:12 - proc proc rw
36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext4 /dev/root rw
40 35 0:50 / /srv rw shared:1 master:2 - nfs4 box:/srv rw
50 35 0:51 / /odd rw
"""


@pytest.mark.parametrize(
    ("device", "kind"), [(os.makedev(98, 0), "ext4"), (os.makedev(0, 50), "nfs4"), (os.makedev(0, 51), "")]
)
def test_the_type_of_a_file_system_is_found_by_its_device(device: int, kind: str) -> None:
    assert filesystem(MOUNTS, device) == kind


def test_disks_that_will_not_do_are_told_from_those_that_are_worth_a_word() -> None:
    assert disk_findings("ops", "ext4", free=True, read_only=False) == ()
    levels = {
        (kind, free, read_only): [found.level for found in disk_findings("ops", kind, free=free, read_only=read_only)]
        for kind, free, read_only in [("nfs4", True, False), ("vfat", True, False), ("ext4", False, True)]
    }
    assert list(levels.values()) == [["note"], ["wrong"], ["wrong", "wrong"]]


def test_the_file_of_a_new_ticket_reads_as_what_was_asked(world: World) -> None:
    title = "'x' \"y\" \\ # : - [a] {b} & * ! | > % é \N{PILE OF POO}"
    assert create(world, ticket=draft(world, title, "", ["a, b", "[c]", '"']).ticket) == MADE
    made = parse_document((world.root / "OPS-2.md").read_bytes(), "x")
    assert (made.title, made.labels) == (title, ("a, b", "[c]", '"'))
