"""Where a ledger may live."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.place import Place, check_place


def mounts(tmp_path: Path, *lines: tuple[str, str]) -> Path:
    """A list of mounts as proc(5) writes it."""
    file = tmp_path / "mountinfo"
    text = "".join(f"36 35 98:0 / {where} rw,noatime shared:1 - {kind} dev rw\n" for where, kind in lines)
    file.write_text(text, encoding="utf-8")
    return file


def test_a_place_of_ones_own_on_a_local_disk_is_accepted(place: Place, tmp_path: Path) -> None:
    check_place(place)
    check_place(place, mounts(tmp_path, ("/", "ext4"), ("/elsewhere", "nfs4")))


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "davfs", "vboxsf"])
def test_a_network_file_system_is_refused_by_name(kind: str, place: Place, tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match=rf"network file system \({kind}\); keep state/ on a local disk"):
        check_place(place, mounts(tmp_path, ("/", "ext4"), (str(tmp_path), kind)))


def test_the_innermost_and_newest_mount_counts(place: Place, tmp_path: Path) -> None:
    check_place(place, mounts(tmp_path, ("/", "nfs"), (str(tmp_path), "ext4"), (str(tmp_path) + "x", "nfs")))
    check_place(place, mounts(tmp_path, (str(tmp_path), "nfs"), (str(tmp_path), "ext4")))
    with pytest.raises(LedgerUnavailable, match="network"):
        check_place(place, mounts(tmp_path, (str(tmp_path), "ext4"), (str(tmp_path), "nfs")))


def test_a_mount_point_with_blanks_and_letters_outside_ascii_is_recognised(tmp_path: Path) -> None:
    folder = tmp_path / "two words" / "Zürich" / "state"
    folder.mkdir(parents=True, mode=0o700)
    shown = str(folder.parent).replace(" ", "\\040")
    with pytest.raises(LedgerUnavailable, match=r"network file system \(nfs4\)"):
        check_place(Place(folder), mounts(tmp_path, ("/", "ext4"), (shown, "nfs4")))


def test_without_a_list_of_mounts_the_place_is_accepted(place: Place, tmp_path: Path) -> None:
    check_place(place, tmp_path / "no such list")


def test_a_missing_folder_and_a_file_are_refused_with_the_command_that_makes_a_home(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        with pytest.raises(LedgerUnavailable, match="make a home with `keyturn init`"):
            check_place(Place(tmp_path / name))


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o750, 0o755, 0o777])
def test_a_folder_that_others_may_enter_is_refused_with_the_command_that_mends_it(mode: int, place: Place) -> None:
    place.folder.chmod(mode)
    with pytest.raises(LedgerUnavailable, match=rf"run: chmod 700 {place.folder}"):
        check_place(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders to another account")
def test_a_folder_of_another_account_is_refused(place: Place) -> None:
    os.chown(place.folder, 4242, 4242)
    with pytest.raises(LedgerUnavailable, match="belongs to another account; run Keyturn as its owner"):
        check_place(place)
