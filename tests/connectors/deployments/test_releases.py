from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from pydantic import ValidationError

from keyturn.canon import encode
from keyturn.connectors.checking import Finding
from keyturn.connectors.deployments import Deployments, Preview, Rollback, layout
from keyturn.connectors.deployments.releases import Settings, build
from keyturn.connectors.deployments.tree import Tree, scan_tree
from keyturn.connectors.files import Disk, Folder
from keyturn.connectors.journal import journal
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Happened, Stale, Succeeded
from tests.connectors.deployments.contract import DeploymentsContract, preview
from tests.connectors.deployments.processes import CountingDisk, action, survive
from tests.connectors.deployments.world import World, apply_until, lay_out, open_port, probe_until
from tests.connectors.surroundings import world_at


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class TestReleaseFolders(DeploymentsContract):
    """The port's promises, kept by real folders."""


def counted(home: Path) -> CountingDisk:
    """Apply in a world of its own and return the disk that counted."""
    disk, world = CountingDisk(), World(make(home))
    anyio.run(open_port(home, disk).apply, preview(world).rollback, action(1))
    return disk


def died(tmp_path: Path, steps: list[int]) -> list[tuple[World, Rollback]]:
    """Return a world for each step at which an executor died in it."""
    worlds = [World(make(tmp_path / f"died-{number}")) for number in range(len(steps))]
    rollbacks = [preview(world).rollback for world in worlds]
    runs = [(w.home, r, action(1), step) for w, r, step in zip(worlds, rollbacks, steps, strict=True)]
    assert not any(survive(apply_until, runs))
    return list(zip(worlds, rollbacks, strict=True))


def test_whatever_the_step_an_executor_dies_at_applying_again_completes_once(tmp_path: Path) -> None:
    disk = counted(tmp_path / "counted")
    moved = []
    for world, rollback in died(tmp_path, list(range(disk.steps))):
        moved.append(world.live() == "2.3.1")
        assert isinstance(anyio.run(world.port.apply, rollback, action(1)), Succeeded)
        assert (world.live(), world.switches_of(action(1)), len(world.history())) == ("2.3.1", 1, 4)
        assert (world.marks(), world.staged()) == ({action(1).action: "done"}, [])
    assert moved == [step > disk.placed["current"] for step in range(disk.steps)]


def test_whatever_the_step_an_executor_dies_at_a_probe_tells_what_happened(tmp_path: Path) -> None:
    for world, rollback in died(tmp_path, list(range(counted(tmp_path / "counted").steps))):
        moved = world.live() == "2.3.1"
        assert isinstance(anyio.run(world.port.probe, rollback, action(1)), Happened if moved else CannotHappen)
        late = anyio.run(world.port.apply, rollback, action(1))
        assert isinstance(late, Succeeded if moved else Failed)
        assert (world.live() == "2.3.1", world.switches_of(action(1))) == (moved, int(moved))
        assert world.staged() == []


@pytest.mark.parametrize("moved", [False, True], ids=["before the switch", "after the switch"])
def test_whatever_the_step_a_probe_dies_at_the_next_one_says_the_same(tmp_path: Path, moved: bool) -> None:
    died_at = counted(tmp_path / "counted").placed["current"] + int(moved)
    cases = died(tmp_path, [died_at] * 30)
    runs = [(world.home, rollback, action(1), step) for step, (world, rollback) in enumerate(cases)]
    survived = survive(probe_until, runs)
    assert survived[:5] == [False] * 5
    assert survived[-1]
    for world, rollback in cases:
        told = anyio.run(world.port.probe, rollback, action(1))
        assert isinstance(told, Happened if moved else CannotHappen)
        assert isinstance(anyio.run(world.port.apply, rollback, action(1)), Succeeded if moved else Failed)
        assert (world.live() == "2.3.1", world.switches_of(action(1))) == (moved, int(moved))


class FullDisk(Disk):
    """Refuses every step from the given one on."""

    def __init__(self, step: int) -> None:
        self.left = step

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write(self, fd: int, data: bytes) -> None:
        self._step()
        super().write(fd, data)

    def sync(self, fd: int) -> None:
        self._step()
        super().sync(fd)

    def rename(self, folder: int, name: str, to_folder: int, to_name: str) -> None:
        self._step()
        super().rename(folder, name, to_folder, to_name)


def test_a_disk_that_fails_at_any_step_is_refused_before_the_switch_and_unknown_from_then_on(tmp_path: Path) -> None:
    seen = set()
    for step in itertools.count():
        home = tmp_path / str(step)
        home.mkdir()
        world = World(home)
        rollback = preview(world).rollback
        said = applied(open_port(home, FullDisk(step)), rollback)
        seen.add(said)
        if said == "Succeeded":
            break
        assert world.live() == "2.4.0" or said == "Unknown"
        told = anyio.run(world.port.probe, rollback, action(1))
        assert isinstance(told, Happened if world.live() == "2.3.1" else CannotHappen)
    assert seen == {"refused", "Unknown", "Succeeded"}


def applied(port: Deployments, rollback: Rollback) -> str:
    """Apply and say the outcome's name, or the kind of the error."""
    try:
        return type(anyio.run(port.apply, rollback, action(1))).__name__
    except ConnectorError as error:
        return error.kind


def test_a_probe_on_a_disk_that_cannot_be_written_cannot_tell(world: World) -> None:
    rollback = preview(world).rollback
    assert isinstance(anyio.run(open_port(world.home, FullDisk(0)).probe, rollback, action(1)), CannotTell)
    assert isinstance(anyio.run(world.port.apply, rollback, action(1)), Succeeded)


def test_a_lost_mark_is_made_good_by_the_history(world: World) -> None:
    rollback = preview(world).rollback
    anyio.run(world.port.apply, rollback, action(1))
    shutil.rmtree(world.root / ".keyturn")
    world.move("2.4.0")
    outcome = anyio.run(world.port.apply, rollback, action(1))
    assert isinstance(outcome, Failed)  # it was made, and something else is live by now
    assert (world.live(), world.switches_of(action(1)), outcome.effect) == ("2.4.0", 1, True)


def test_an_operator_who_moves_on_before_the_record_is_written_is_not_overwritten(tmp_path: Path) -> None:
    [(world, rollback)] = died(tmp_path, [counted(tmp_path / "counted").placed["current"] + 1])
    world.move("2.2.0")
    told = anyio.run(world.port.probe, rollback, action(1))
    assert isinstance(told, Happened)
    assert (told.result["to"], told.result["current"]) == ("2.3.1", "2.2.0")
    assert (world.live(), world.history()[-1]["to"]) == ("2.2.0", "2.2.0")


def test_an_action_id_used_for_another_change_is_refused(world: World) -> None:
    anyio.run(world.port.apply, preview(world).rollback, action(1))
    other = preview(world, "2.2.0").rollback
    with pytest.raises(ConnectorError, match="marked for another change"):
        anyio.run(world.port.apply, other, action(1))
    assert isinstance(anyio.run(world.port.probe, other, action(1)), CannotTell)
    assert world.live() == "2.3.1"


@pytest.mark.parametrize(
    "name",
    ["../../x", "", "019aa1b2-c3d4-4000-8000-000000000001", "019AA1B2-C3D4-7000-8000-000000000001"],
)
def test_an_action_id_that_is_no_uuidv7_is_refused(world: World, name: str) -> None:
    with pytest.raises(ConnectorError, match="UUIDv7"):
        anyio.run(world.port.apply, preview(world).rollback, replace(action(1), action=name))
    assert world.live() == "2.4.0"


def test_the_history_line_carries_principal_action_and_the_time_inside_its_id(world: World) -> None:
    anyio.run(world.port.apply, preview(world).rollback, action(1))
    assert world.history()[-1] == {
        "action": action(1).action,
        "at": "2025-11-20T14:37:18.676000Z",
        "from": "2.4.0",
        "principal": "claude",
        "to": "2.3.1",
    }


@pytest.mark.parametrize("text", ["", '{"to":"2.2.0"', '{"action":null,"at":"x","from":"2.4.0","princ'])
def test_half_a_line_left_by_a_dead_append_is_cut_off(world: World, text: str) -> None:
    with (world.root / "history.jsonl").open("a") as file:
        file.write(text)
    assert isinstance(anyio.run(world.port.apply, preview(world, "previous").rollback, action(1)), Succeeded)
    assert [line["to"] for line in world.history()] == ["2.2.0", "2.3.1", "2.4.0", "2.3.1"]


def test_a_whole_last_line_without_its_newline_counts(world: World) -> None:
    path = world.root / "history.jsonl"
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert isinstance(anyio.run(world.port.apply, preview(world, "previous").rollback, action(1)), Succeeded)
    assert [line["to"] for line in world.history()] == ["2.2.0", "2.3.1", "2.4.0", "2.3.1"]


@pytest.mark.parametrize(
    "line", ["nonsense", "[]", "{}", '{"to":1}', '{"to":"1","from":2}', '{"to":"1","to":"2"}', '{"to":"1","at":0}']
)
def test_a_history_line_that_is_no_switch_is_named(world: World, line: str) -> None:
    path = world.root / "history.jsonl"
    path.write_text(line + "\n" + path.read_text())
    with pytest.raises(ConnectorError, match=r"web/staging/history.jsonl line 1: "):
        preview(world)


def test_a_deployment_that_moves_while_it_is_planned_asks_to_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moving(folder: Folder) -> Tree:
        if world.live() == "2.4.0":
            world.move("2.2.0")
        return scan_tree(folder)

    monkeypatch.setattr(layout, "scan_tree", moving)
    with pytest.raises(ConnectorError, match="moved while planning") as refusal:
        preview(world)
    assert refusal.value.kind == "retry"


def test_previous_is_refused_where_history_does_not_know_it(world: World) -> None:
    (world.root / "current").unlink()
    (world.root / "current").symlink_to("releases/2.2.0")
    with pytest.raises(ConnectorError, match=r"does not say what was live before 2\.2\.0"):
        preview(world, "previous")
    assert anyio.run(world.port.snapshot, "staging").previous is None
    (world.root / "history.jsonl").unlink()
    with pytest.raises(ConnectorError, match="name the version instead"):
        preview(world, "previous")
    assert preview(world, "2.3.1").rollback.target == "2.3.1"


@pytest.mark.parametrize(
    "text",
    [
        "../../etc",
        "/etc",
        "releases/../../etc",
        "releases/2.4.0/bin",
        "releases/",
        "releases/a\nb",
        "2.4.0",
        "releases/previous",
    ],
)
def test_a_current_link_that_does_not_name_a_release_is_refused(world: World, text: str) -> None:
    (world.root / "current").unlink()
    (world.root / "current").symlink_to(text)
    with pytest.raises(ConnectorError, match="not to releases/VERSION"):
        preview(world)
    with pytest.raises(ConnectorError, match="not to releases/VERSION"):
        anyio.run(world.port.snapshot, "staging")


def test_a_current_that_is_missing_or_no_symlink_is_refused(world: World) -> None:
    (world.root / "current").unlink()
    with pytest.raises(ConnectorError, match="web/staging/current: is missing"):
        preview(world)
    (world.root / "current").mkdir()
    with pytest.raises(ConnectorError, match="is a folder, not a symlink"):
        preview(world)


@pytest.mark.parametrize("to", ["..", "../2.3.1", "/etc", "2.3.1/bin", "a\x1b[2J", ".x", "1..2", "-rf", "2.3.1\n"])
def test_a_target_that_is_no_version_name_is_refused(world: World, to: str) -> None:
    with pytest.raises(ConnectorError, match="is not a version") as refusal:
        preview(world, to)
    assert "\x1b" not in str(refusal.value)


def test_releases_that_are_no_folders_are_not_listed_and_not_entered(world: World) -> None:
    releases = world.root / "releases"
    (releases / "3.0.0").symlink_to("2.3.1")
    (releases / "3.1.0").write_text("a file")
    (releases / "bad name").mkdir()
    assert len(anyio.run(world.port.snapshot, "staging").revisions) == 3
    with pytest.raises(ConnectorError, match=r"releases/3.0.0: is a symlink, not a folder"):
        preview(world, "3.0.0")
    with pytest.raises(ConnectorError, match=r"releases/3.1.0: is a file, not a folder"):
        preview(world, "3.1.0")


def test_a_releases_folder_that_is_a_symlink_is_not_followed(world: World, tmp_path: Path) -> None:
    (world.root / "releases").rename(tmp_path / "elsewhere")
    (world.root / "releases").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConnectorError, match="never followed"):
        preview(world)


@pytest.mark.parametrize("name", [".keyturn", ".keyturn/actions", ".keyturn/staged", ".keyturn/lock"])
def test_a_state_folder_or_lock_that_is_a_symlink_is_not_followed(world: World, tmp_path: Path, name: str) -> None:
    rollback = preview(world).rollback
    elsewhere = make(tmp_path / "elsewhere")
    (world.root / name).parent.mkdir(exist_ok=True)
    (world.root / name).symlink_to(elsewhere)
    with pytest.raises(ConnectorError, match="symlink"):
        anyio.run(world.port.apply, rollback, action(1))
    assert list(elsewhere.iterdir()) == []
    assert world.live() == "2.4.0"


@pytest.mark.parametrize(
    "mark",
    [b"", b"{}", b"\xff", b"[]", b'{"action":"other","body":{},"state":"done"}'],
)
def test_a_mark_that_nobody_of_ours_wrote_settles_nothing(world: World, mark: bytes) -> None:
    rollback = preview(world).rollback
    actions = make(world.root / ".keyturn" / "actions")
    (actions / f"{action(1).action}.json").write_bytes(mark)
    with pytest.raises(ConnectorError, match="mark"):
        anyio.run(world.port.apply, rollback, action(1))
    assert isinstance(anyio.run(world.port.probe, rollback, action(1)), CannotTell)
    assert world.live() == "2.4.0"


def test_a_mark_in_an_unknown_state_settles_nothing(world: World) -> None:
    rollback = preview(world).rollback
    path = make(world.root / ".keyturn" / "actions") / f"{action(1).action}.json"
    path.write_bytes(encode({"action": action(1).action, "body": {}, "state": "maybe"}))
    with pytest.raises(ConnectorError, match="unknown state"):
        anyio.run(world.port.apply, rollback, action(1))


def test_a_lock_that_is_held_for_too_long_asks_to_come_back(world: World) -> None:
    with Folder.open(world.root, "web/staging", Disk()) as root, journal(root):  # noqa: SIM117 - the second must wait
        with pytest.raises(ConnectorError, match="held by another process") as refusal, journal(root, wait=0.05):
            pass
    assert (refusal.value.kind, refusal.value.retry_after) == ("retry", 5)


def test_a_target_that_vanished_after_the_review_is_stale(world: World) -> None:
    rollback = preview(world).rollback
    shutil.rmtree(world.root / "releases" / "2.3.1")
    assert anyio.run(world.port.apply, rollback, action(1)) == Stale(("target",))


def test_a_prepared_switch_whose_world_moved_is_fenced_and_stale(tmp_path: Path) -> None:
    [(world, rollback)] = died(tmp_path, [counted(tmp_path / "counted").placed["current"]])
    world.move("2.2.0")
    assert anyio.run(world.port.apply, rollback, action(1)) == Stale(("current",))
    assert (world.marks(), world.staged()) == ({action(1).action: "fenced"}, [])


@pytest.mark.parametrize(
    "change",
    [
        lambda release: (release / "bin" / "start").chmod(0o700),
        lambda release: (release / "empty").mkdir(),
        lambda release: (release / "app.py").rename(release / "app2.py"),
        lambda release: (release / "link").symlink_to("/etc/passwd"),
        lambda release: (release / "app.py").write_bytes(b"x" * (release / "app.py").stat().st_size),
    ],
    ids=["mode", "new folder", "new name", "new symlink", "new bytes of equal size"],
)
def test_every_kind_of_change_moves_the_manifest(world: World, change: Callable[[Path], None]) -> None:
    before = preview(world).rollback.facts
    change(world.root / "releases" / "2.3.1")
    after = preview(world).rollback.facts
    assert before["manifest"] != after["manifest"]
    assert {**before, "manifest": ""} == {**after, "manifest": ""}


def test_a_release_that_holds_a_fifo_or_a_socket_is_refused(world: World) -> None:
    os.mkfifo(world.root / "releases" / "2.3.1" / "pipe")
    with pytest.raises(ConnectorError, match="pipe: is neither file, folder nor symlink"):
        preview(world)


def test_an_objection_to_what_the_facts_give_fails_the_switch_without_effect(world: World) -> None:
    rollback, heard = preview(world).rollback, []

    def objection(seen: Preview) -> str:
        heard.append(seen)
        return "not that"

    outcome = anyio.run(world.port.apply, rollback, action(1), objection)
    assert outcome == Failed("not that")
    assert (world.live(), world.marks(), heard) == ("2.4.0", {}, [preview(world)])


def test_guard_and_facts_say_what_was_seen(world: World) -> None:
    seen = preview(world)
    assert seen.guard == {"current_link": "releases/2.4.0", "history_length": 3}
    assert seen.rollback.facts.keys() == {"current", "target", "manifest", "manifest_from"}
    assert str(seen.rollback.facts["manifest"]).startswith("sha256:")


def test_settings_name_what_is_wrong() -> None:
    for wrong in [
        {"kind": "other", "environments": {"a": "b"}},
        {"kind": "releases", "environments": {}},
        {"kind": "releases", "environments": {"a/b": "c"}},
        {"kind": "releases", "environments": {"a": ""}},
        {"kind": "releases", "environments": {"a": "b"}, "healthy": []},
        {"kind": "releases", "environments": {"a": "b"}, "health_timeout": "soon"},
        {"kind": "releases", "environments": {"a": "b"}, "health_timeout": "2h"},
        {"kind": "releases", "environments": {"a": "b"}, "health": [""]},
    ]:
        with pytest.raises(ValidationError):
            Settings.model_validate(wrong)


def test_two_environments_in_one_folder_are_a_configuration_error(tmp_path: Path) -> None:
    lay_out(tmp_path, "staging")
    (tmp_path / "production").symlink_to("staging")
    settings = Settings(kind="releases", environments={"staging": "staging", "production": "production"})
    with pytest.raises(ConfigurationError, match=r"deployments\.web\.environments\.production: is the same folder"):
        build("web", settings, world_at(tmp_path))


def test_the_identity_of_an_environment_is_the_real_path_of_its_folder(tmp_path: Path) -> None:
    lay_out(tmp_path, "real")
    (tmp_path / "alias").symlink_to("real")
    settings = Settings(kind="releases", environments={"staging": "alias"})
    backend = build("web", settings, world_at(tmp_path, {"SECRET": "x"})).backend("staging")
    assert backend.to_json() == {
        "port": "deployments",
        "name": "web",
        "kind": "releases",
        "location": str(tmp_path.resolve() / "real"),
        "account": "",
    }


def test_a_folder_that_is_not_there_is_named_without_its_path(tmp_path: Path) -> None:
    settings = Settings(kind="releases", environments={"staging": "nowhere"})
    port: Deployments = build("web", settings, world_at(tmp_path))
    with pytest.raises(ConnectorError, match="web/staging: is missing") as refusal:
        anyio.run(port.snapshot, "staging")
    assert str(tmp_path) not in str(refusal.value)


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_a_probe_of_a_folder_that_holds_nothing_cannot_tell_and_leaves_no_fence(tmp_path: Path) -> None:
    world = World(tmp_path)
    rollback = preview(world).rollback
    mounted = world.root.with_name("mounted")
    world.root.rename(mounted)
    world.root.mkdir()
    assert isinstance(anyio.run(world.port.probe, rollback, action(1)), CannotTell)
    assert list(world.root.iterdir()) == []


def test_a_folder_that_was_put_in_the_place_of_the_reviewed_one_is_not_touched(world: World) -> None:
    """The back end is compared before the folder is opened, and the way there may move in between."""
    reviewed = replace(preview(world).rollback, location=world.port.backend("staging").location)
    moved = world.home / "moved"
    world.root.rename(moved)
    world.root.symlink_to(moved)
    with pytest.raises(ConnectorError, match="web/staging: is another folder now") as refusal:
        anyio.run(world.port.apply, reviewed, action(1))
    assert refusal.value.kind == "conflict"
    assert isinstance(anyio.run(world.port.probe, reviewed, action(1)), CannotTell)
    assert ((moved / "current").readlink(), (moved / ".keyturn").exists()) == (Path("releases/2.4.0"), False)
    world.root.unlink()
    with pytest.raises(ConnectorError, match="is missing"):
        anyio.run(world.port.apply, reviewed, action(1))
    moved.rename(world.root)
    assert isinstance(anyio.run(world.port.apply, reviewed, action(1)), Succeeded)


def test_a_check_says_what_is_live_and_that_all_is_well(world: World) -> None:
    assert anyio.run(world.port.check) == (Finding("ok", "web/staging: 2.4.0 is live; 3 releases"),)


def test_a_check_names_a_folder_that_is_not_there_or_in_disorder(tmp_path: Path) -> None:
    world = World(tmp_path)
    (world.root / "current").unlink()
    [broken] = anyio.run(world.port.check)
    assert (broken.level, "web/staging/current: is missing" in broken.text) == ("wrong", True)
    shutil.rmtree(world.root)
    [gone] = anyio.run(world.port.check)
    assert (gone.level, gone.text) == ("wrong", "web/staging: is missing")
    assert "deployments.web" in gone.advice


def test_a_check_names_a_missing_history_and_a_health_command_that_cannot_run(tmp_path: Path) -> None:
    world = World(tmp_path)
    (world.root / "history.jsonl").unlink()
    found = anyio.run(open_port(tmp_path, health=["/no/such/command"]).check)
    assert [finding.level for finding in found] == ["ok", "note", "wrong"]
    assert "name the version" in found[1].advice
    assert "/no/such/command" in found[2].text
    assert anyio.run(open_port(tmp_path, health=["true"]).check)[-1].level == "note"


def test_a_check_names_a_folder_that_this_account_cannot_write(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.root.chmod(0o500)
    if os.geteuid() == 0:  # root may write everywhere: what the system says to others is said here

        def refused(*args: object, **more: object) -> bool:
            return False

        monkeypatch.setattr(os, "access", refused)
    found = anyio.run(world.port.check)
    world.root.chmod(0o700)
    assert [finding.level for finding in found] == ["ok", "wrong"]
    assert "cannot write" in found[1].text
