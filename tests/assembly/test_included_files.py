"""What a policy file brings in from the disk: plain files beside it, within bounds, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keyturn.assembly.home import POLICY, Home
from keyturn.assembly.plain_files import replace_plain
from keyturn.model.errors import ConfigurationError
from tests.policy.freezes.calendars import freeze


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / POLICY).write_text('version = 1\nincludes = ["policy.d/"]\n')
    (tmp_path / "policy.d").mkdir()
    return Home(tmp_path)


def refused(home: Home) -> str:
    with pytest.raises(ConfigurationError) as caught:
        home.policy_files()
    return "; ".join(caught.value.problems)


def test_every_file_of_an_included_folder_and_every_calendar_is_read(home: Home) -> None:
    (home.folder / "policy.d" / "b.toml").write_text(freeze("b", "policy.d/b.ics"))
    (home.folder / "policy.d" / "a.toml").write_text(freeze("a", "year.ics") + freeze("c", "missing.ics"))
    (home.folder / "policy.d" / ".a.toml.swp").write_text("an editor's")
    (home.folder / "policy.d" / "README").write_text("for people")
    (home.folder / "policy.d" / "b.ics").write_text("B")
    (home.folder / "year.ics").write_text("Y")
    (home.folder / "other.ics").write_text("O")
    assert sorted(home.policy_files()) == ["policy.d/a.toml", "policy.d/b.ics", "policy.d/b.toml", POLICY, "year.ics"]


def test_a_text_that_cannot_be_read_brings_in_nothing(home: Home) -> None:
    (home.folder / "policy.d" / "a.toml").write_text("")
    (home.folder / POLICY).write_text("includes = [")
    assert list(home.policy_files()) == [POLICY]


def test_a_pipe_is_no_policy_and_nobody_waits_for_it(home: Home) -> None:
    os.mkfifo(home.folder / "policy.d" / "a.toml")
    assert "no plain file" in refused(home)


def test_a_link_to_a_file_is_not_followed(home: Home, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "a.toml"
    outside.write_text("")
    (home.folder / "policy.d" / "a.toml").symlink_to(outside)
    assert "no links" in refused(home)


def test_a_calendar_in_a_folder_that_is_a_link_is_not_read(
    home: Home, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (home.folder / "calendars").symlink_to(tmp_path_factory.mktemp("outside"))
    (home.folder / "policy.d" / "a.toml").write_text(freeze("a", "calendars/year.ics"))
    assert "a link" in refused(home)


def test_what_is_not_utf_8_is_refused(home: Home) -> None:
    (home.folder / "policy.d" / "a.toml").write_bytes(b"\xff")
    assert "not UTF-8 at byte 0" in refused(home)


def test_all_files_together_are_within_one_bound(home: Home) -> None:
    for name in ("a", "b"):
        (home.folder / "policy.d" / f"{name}.toml").write_text("#" * 600_000)
    assert "more bytes together" in refused(home)


def test_a_folder_holds_so_many_files_and_no_more(home: Home) -> None:
    for number in range(257):
        (home.folder / "policy.d" / f"{number}.toml").write_text("")
    assert "257 files are included; there may be 256" in refused(home)


@pytest.mark.parametrize("name", ["a b.toml", "forbids.TOML", "\xe4.toml", "b.Toml"])
def test_a_file_with_an_odd_name_is_refused_and_not_passed_over(home: Home, name: str) -> None:
    (home.folder / "policy.d" / name).write_text("")
    assert "name included files with letters, digits" in refused(home)


def test_a_file_is_replaced_whole_and_keeps_its_mode(home: Home) -> None:
    path = home.folder / "policy.d" / "a.toml"
    path.write_text("old")
    path.chmod(0o640)
    replace_plain(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    with pytest.raises(ConfigurationError, match="nothing was changed"):
        replace_plain(home.folder / "nowhere" / "a.toml", "new")
    assert os.listdir(home.folder / "policy.d") == ["a.toml"]  # noqa: PTH208 - hidden files count
