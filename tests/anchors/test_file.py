"""A folder elsewhere as an anchor: whole notes only, never one that contradicts, and no folder at home."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.anchors import Keeper, Seen, file
from keyturn.anchors.file import FileAnchor
from keyturn.anchors.judging import Contradicted
from keyturn.connectors.files import Disk
from keyturn.model.errors import ConnectorError
from tests.anchors.world import NAME, ORIGIN, offer, settings, size_of, world
from tests.witness.test_witness import FORKED, TREE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "mount"
    path.mkdir()
    return path


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for a note or two."""
    path = tmp_path / "elsewhere"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def anchor_at(folder: Path, disk: Disk | None = None, *, same: bool = True) -> FileAnchor:
    given = settings(file, kind="file", path=str(folder), same_filesystem=same)
    return file.build("mount", given, world(folder.parent), disk)


def test_a_note_is_kept_and_given_back_and_so_is_every_one_before_it(folder: Path) -> None:
    anchor = anchor_at(folder)
    assert isinstance(anchor, Keeper)
    assert anchor.newest(ORIGIN) is None
    for size in (5, 9, 255):
        assert anchor.put(offer(size)) == bytes(TREE.note(size))
    assert anchor.newest(ORIGIN) == Seen(bytes(TREE.note(255)))
    history = sorted((folder / NAME / "history" / "00000000").iterdir())
    assert [size_of(path.read_bytes()) for path in history] == [5, 9, 255]


def test_a_newer_note_that_is_there_stays(folder: Path) -> None:
    anchor = anchor_at(folder)
    anchor.put(offer(20))
    assert anchor.put(offer(7)) == bytes(TREE.note(20))
    assert anchor.newest(ORIGIN) == Seen(bytes(TREE.note(20)))


def test_what_contradicts_the_note_there_replaces_nothing(folder: Path) -> None:
    anchor = anchor_at(folder)
    anchor.put(offer(20))
    with pytest.raises(Contradicted):
        anchor.put(offer(30, FORKED))
    assert anchor.newest(ORIGIN) == Seen(bytes(TREE.note(20)))


def test_a_step_back_that_is_explained_replaces_it_and_what_explained_it_is_kept_with_the_new_one(
    folder: Path,
) -> None:
    anchor = anchor_at(folder)
    anchor.put(offer(20))
    assert anchor.put(offer(9, FORKED, step="leaf")) == bytes(FORKED.note(9))
    assert anchor.newest(ORIGIN) == Seen(bytes(FORKED.note(9)), frozenset({"leaf"}))
    with pytest.raises(Contradicted):
        anchor.put(offer(8, TREE, step="leaf"))
    assert anchor.put(offer(12, FORKED, step="leaf")) == bytes(FORKED.note(12))
    assert anchor.newest(ORIGIN) == Seen(bytes(FORKED.note(12)), frozenset({"leaf"}))
    kept = {size_of(path.read_bytes()) for path in (folder / NAME / "history" / "00000000").glob("*[0-9a-f]")}
    assert kept >= {20, 9, 12}


def test_what_belongs_to_a_note_may_be_gone(folder: Path) -> None:
    anchor = anchor_at(folder)
    anchor.put(offer(9, step="leaf"))
    shutil.rmtree(folder / NAME / "history" / "00000000")
    assert anchor.newest(ORIGIN) == Seen(bytes(TREE.note(9)))
    (folder / NAME / "history").rmdir()
    assert anchor.newest(ORIGIN) == Seen(bytes(TREE.note(9)))


class Dying(Disk):
    """Ends the process, as it were, at one of its steps."""

    def __init__(self, step: int) -> None:
        self.left = step

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt

    def write(self, fd: int, data: bytes) -> None:
        self._step()
        super().write(fd, data[: len(data) // 2] if self.left == 0 else data)

    def sync(self, fd: int) -> None:
        self._step()
        super().sync(fd)

    def rename(self, folder: int, name: str, to_folder: int, to_name: str) -> None:
        self._step()
        super().rename(folder, name, to_folder, to_name)

    def link(self, folder: int, name: str, new: str) -> None:
        self._step()
        super().link(folder, name, new)

    def unlink(self, folder: int, name: str) -> None:
        self._step()
        super().unlink(folder, name)

    def mkdir(self, folder: int, name: str) -> None:
        self._step()
        super().mkdir(folder, name)


@pytest.mark.parametrize("step_back", ["", "leaf"])
def test_a_death_at_any_step_leaves_a_whole_note_and_the_next_goes_on(tmp_path: Path, step_back: str) -> None:
    tree = FORKED if step_back else TREE
    for step in range(1000):
        folder = tmp_path / f"{step}"
        folder.mkdir()
        anchor_at(folder).put(offer(20))
        try:
            anchor_at(folder, Dying(step)).put(offer(30, tree, step=step_back))
        except KeyboardInterrupt:
            seen = anchor_at(folder).newest(ORIGIN)
            assert seen is not None
            assert seen.note in (bytes(TREE.note(20)), bytes(tree.note(30)))
        else:
            break
        assert anchor_at(folder).put(offer(31, tree, step=step_back)) == bytes(tree.note(31))
    assert step > 10


def test_of_two_forks_that_write_at_once_one_is_refused(folder: Path) -> None:
    anchor_at(folder).put(offer(4))
    outcome: list[str] = []

    def write(size: int) -> None:
        try:
            anchor_at(folder).put(offer(size, TREE if size % 2 else FORKED))
            outcome.append("kept")
        except Contradicted:
            outcome.append("refused")

    threads = [threading.Thread(target=write, args=(size,)) for size in (41, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcome) == ["kept", "refused"]


def test_a_locked_folder_is_waited_for_and_then_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_LOCK_WAIT", 0.1)
    anchor = anchor_at(folder)
    anchor.put(offer(4))
    descriptor = os.open(folder / NAME / ".lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(ConnectorError, match="another process keeps it locked"):
            anchor.put(offer(5))
    finally:
        os.close(descriptor)
    anchor.put(offer(5))


def test_the_ledgers_own_file_system_is_refused_unless_it_is_meant(folder: Path) -> None:
    with pytest.raises(ConnectorError, match="the ledger's own file system"):
        anchor_at(folder, same=False).put(offer(4))
    with pytest.raises(ConnectorError, match="the ledger's own file system"):
        anchor_at(folder, same=False).newest(ORIGIN)
    assert list(folder.iterdir()) == []


def test_another_file_system_is_taken_and_a_full_or_read_only_one_told(mounted: Path) -> None:
    anchor = anchor_at(mounted, same=False)
    anchor.put(offer(4))
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with pytest.raises(ConnectorError, match="Read-only file system"):
        anchor.put(offer(5))
    subprocess.run(["mount", "-o", "remount,rw", str(mounted)], check=True)
    filler = mounted / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"x" * 2**20)
    with pytest.raises(ConnectorError, match="No space left"):
        anchor.put(offer(6))
    assert anchor.newest(ORIGIN) == Seen(bytes(TREE.note(4)))
    filler.unlink()
    anchor.put(offer(6))
    assert anchor.newest(ORIGIN) == Seen(bytes(TREE.note(6)))


def test_a_mount_that_is_missing_and_a_link_in_its_place_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="is missing"):
        anchor_at(tmp_path / "nowhere").newest(ORIGIN)
    (folder / NAME).symlink_to(tmp_path)
    with pytest.raises(ConnectorError, match="symlink"):
        anchor_at(folder).put(offer(4))
