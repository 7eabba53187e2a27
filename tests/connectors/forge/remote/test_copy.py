"""The copy of a remote may be lost, damaged, shallow or busy: answers are the same, only later."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from keyturn.connectors.forge import Landed
from keyturn.connectors.forge.remote.mirror import MOST_PACKS
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from tests.connectors.forge.contract import CHANGE, apply, land, opening, pull, revision, snapshot
from tests.connectors.forge.remote.served import Remote, Server, remote, served
from tests.connectors.forge.repository import action


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "root").mkdir()
    with served(tmp_path / "root") as running:
        yield running


@pytest.fixture
def shop(server: Server) -> Remote:
    made = remote(server)
    for number in range(5):
        made.commit("main", {f"old/{number}": b"old\n"})
    return made


def folder(shop: Remote) -> Path:
    (found,) = (path for path in shop.copy().iterdir() if path.is_dir())
    return found


def objects(shop: Remote) -> int:
    return sum(int(line.split(": ")[1]) for line in counted(shop) if line.startswith(("count", "in-pack")))


def counted(shop: Remote) -> list[str]:
    return shop.git("--git-dir", str(folder(shop)), "count-objects", "-v").splitlines()


def test_at_first_the_newest_commit_alone_is_fetched(shop: Remote) -> None:
    shop.commit("main", {"old/0": b"changed\n"})
    snapshot(shop.forge(), "main", "README.md")
    assert (folder(shop) / "shallow").read_text().split() == [shop.head("main")]
    assert "old" not in shop.git("--git-dir", str(folder(shop)), "log", "--format=%s", "--all", "--", "none")


def test_later_what_is_new_is_fetched_and_no_more(server: Server, shop: Remote) -> None:
    forge = shop.forge()
    snapshot(forge, "main", "README.md")
    before = objects(shop)
    shop.commit("main", {"x.txt": b"x\n"})
    assert snapshot(forge, "main", "x.txt").files["x.txt"] is not None
    assert objects(shop) - before <= 5  # commit, tree, blob, and what they are told apart from
    server.manners.seen.clear()
    snapshot(forge, "main", "x.txt")
    assert [exchange for exchange in server.manners.seen if exchange.body.count(b"want ")] == []


def test_a_base_that_moved_on_is_judged_without_its_whole_history(shop: Remote) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    for number in range(3):
        shop.commit("main", {f"new/{number}": b"new\n"})
    assert isinstance(apply(forge, change, action(1)), Landed)
    assert (folder(shop) / "shallow").exists()


@pytest.mark.parametrize("lost", ["thrown away", "another home"])
def test_without_the_copy_the_same_is_done(shop: Remote, lost: str) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    for number in range(3):
        shop.commit("main", {f"new/{number}": b"new\n"})
    if lost == "thrown away":
        shutil.rmtree(shop.copy())
    other = shop.forge(home="home" if lost == "thrown away" else "other")
    landed = land(other, change, action(1))
    assert land(forge, change, action(1)) == landed


def test_a_landing_far_below_a_branchs_head_is_found_by_a_new_copy(shop: Remote) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    landed = land(forge, change, action(1))
    for number in range(4):
        shop.commit(landed.branch, {f"theirs/{number}": b"theirs\n"})
    shop.git("update-ref", "-d", f"refs/keyturn/pull/{action(1).action}")
    shutil.rmtree(shop.copy())
    snapshot(shop.forge(), "main", "README.md")
    snapshot(shop.forge(), landed.branch, "README.md")
    assert anyio.run(forge.probe, change, action(1)) == landed


def test_a_pull_request_is_told_alike_by_a_new_copy(shop: Remote) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    land(forge, revision(forge, action(1), {"docs/new.md": b"newer\n"}), action(2))
    shop.commit("main", {"busy": b"busy\n"})
    told = pull(forge, action(1))
    assert (told.commits, told.base_moved, told.status) == (2, True, "open")
    other = shop.forge(home="other")
    snapshot(other, action(1).marker, "README.md")
    assert pull(other, action(1)) == told
    snapshot(shop.forge(home="third"), "main", "README.md")
    assert pull(shop.forge(home="third"), action(1)) == told


def test_a_base_that_was_replaced_is_stale_although_the_old_one_is_still_here(shop: Remote) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    shop.rewind("main")
    assert isinstance(apply(forge, change, action(1)), Stale)
    shutil.rmtree(shop.copy())
    assert isinstance(apply(forge, change, action(1)), Stale)


def test_a_reviewed_commit_that_nobody_has_any_more_is_named(shop: Remote) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    shop.rewind("main")
    shop.git("reflog", "expire", "--expire=now", "--all")
    shop.git("gc", "--quiet", "--prune=now")
    shutil.rmtree(shop.copy())
    with pytest.raises(ConnectorError, match="no longer has the commit"):
        anyio.run(forge.reviewed, change)
    assert isinstance(anyio.run(forge.probe, change, action(1)), CannotHappen)


def test_a_server_that_gives_no_commit_by_its_id_gives_it_in_its_history(server: Server, shop: Remote) -> None:
    server.manners.version = ""
    change = opening(shop.forge(), CHANGE)
    shop.commit("main", {"y": b"y\n"})
    shutil.rmtree(shop.copy())
    assert anyio.run(shop.forge().reviewed, change).commit == change.base_commit
    assert isinstance(apply(shop.forge(), change, action(1)), Landed)


def test_a_server_out_of_order_is_not_taken_for_one_without_the_commit(server: Server, shop: Remote) -> None:
    change = opening(shop.forge(), CHANGE)
    shutil.rmtree(shop.copy())
    server.manners.before = lambda _: 503
    with pytest.raises(ConnectorError, match="busy or out of order") as refusal:
        anyio.run(shop.forge().reviewed, change)
    assert refusal.value.kind == "retry"


@pytest.mark.parametrize("wound", ["packs", "config", "head", "lock"])
def test_a_damaged_copy_is_made_anew(shop: Remote, wound: str) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    copy = folder(shop)
    match wound:
        case "packs":
            for pack in (copy / "objects" / "pack").iterdir():
                pack.chmod(0o600)
                pack.write_bytes(b"nonsense")
        case "config":
            (copy / "config").write_text("[core\n")
        case "head":
            (copy / "HEAD").unlink()
        case _:
            (copy / "shallow.lock").touch()
            shop.commit("main", {"y": b"y\n"})
    assert land(forge, change, action(1)).commit == shop.head(action(1).marker)


def test_a_copy_of_too_many_packs_is_made_anew(shop: Remote) -> None:
    forge = shop.forge()
    snapshot(forge, "main", "README.md")
    packs = folder(shop) / "objects" / "pack"
    for number in range(MOST_PACKS + 1):
        (packs / f"pack-{number}.pack").touch()
    snapshot(forge, "main", "README.md")
    assert len(list(packs.glob("*.pack"))) == 1


def test_a_copy_that_others_hold_is_waited_for_and_given_up(shop: Remote) -> None:
    forge = shop.forge()
    snapshot(forge, "main", "README.md")
    object.__setattr__(forge._mirror, "patience", 0.1)
    lock = os.open(f"{folder(shop)}.lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConnectorError, match="others are using the copy") as refusal:
            snapshot(forge, "main", "README.md")
    finally:
        os.close(lock)
    assert refusal.value.kind == "retry"


def test_a_turn_that_others_hold_is_waited_for_and_given_up(shop: Remote) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    object.__setattr__(forge._line, "timeout", 0)
    lock = os.open(forge._turn.path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConnectorError, match="take too long"):
            apply(forge, change, action(1))
        assert isinstance(anyio.run(forge.probe, change, action(1)), CannotTell)
    finally:
        os.close(lock)
    assert shop.head(action(1).marker) is None


def test_a_cache_that_cannot_be_made_is_named_without_its_place(shop: Remote, tmp_path: Path) -> None:
    (tmp_path / "home" / "state").mkdir(parents=True)
    (tmp_path / "home" / "state" / "cache").touch()
    with pytest.raises(ConnectorError, match="cache cannot be used") as refusal:
        snapshot(shop.forge(), "main", "README.md")
    assert str(tmp_path) not in str(refusal.value)


def test_a_branch_that_becomes_a_folder_of_branches_is_followed(shop: Remote) -> None:
    forge = shop.forge()
    shop.git("update-ref", "refs/heads/release", "main")
    snapshot(forge, "release", "README.md")
    shop.git("update-ref", "-d", "refs/heads/release")
    shop.git("update-ref", "refs/heads/release/1", "main")
    assert snapshot(forge, "release/1", "README.md").commit == shop.head("main")
    with pytest.raises(ConnectorError, match="no branch"):
        snapshot(forge, "release", "README.md")
