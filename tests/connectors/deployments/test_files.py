from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.connectors import files
from keyturn.connectors.files import Disk, Folder
from keyturn.connectors.journal import Mark, journal
from keyturn.model.errors import ConnectorError
from tests.connectors.deployments.processes import action


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b"])
def test_only_single_names_are_opened(tmp_path: Path, name: str) -> None:
    with Folder.open(tmp_path, "here", Disk()) as root, pytest.raises(ConnectorError, match="name of one file"):
        root.child(name)


def test_a_folder_with_too_many_names_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_NAMES", 2)
    for name in "abc":
        (tmp_path / name).touch()
    with (
        Folder.open(tmp_path, "here", Disk()) as root,
        pytest.raises(ConnectorError, match="more than 2"),
    ):
        root.names()


def test_a_mark_that_somebody_else_made_first_is_never_overwritten(tmp_path: Path) -> None:
    """As it happens when the lock file was deleted by hand and two processes hold two locks."""
    name = action(1).action
    with Folder.open(tmp_path, "here", Disk()) as root, journal(root) as held:
        held.stage_link(name, "x")
        held.intend(name, {})
        with pytest.raises(ConnectorError, match="somebody else marked this action") as refusal:
            held.intend(name, {})
        assert refusal.value.kind == "unknown"
        with pytest.raises(ConnectorError, match="somebody else marked this action"):
            held.fence(name, Mark("absent"), {})
        assert held.find(name).state == "prepared"


def test_removing_what_is_not_there_is_fine(tmp_path: Path) -> None:
    with Folder.open(tmp_path, "here", Disk()) as root:
        root.remove("nothing")
    assert list(tmp_path.iterdir()) == []


def test_a_reviewed_folder_that_is_gone_is_not_the_one_that_stands_there_now(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="here: is another folder now") as refusal:
        Folder.open(tmp_path, "here", Disk(), str(tmp_path / "gone"))
    assert refusal.value.kind == "conflict"
