"""Which folder is the home, and what of it can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.assembly.home import MAX_POLICY, Home, find_home
from keyturn.assembly.standing import require_founded, require_pinned
from keyturn.model.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a home; the test stands in it, and no variable names another."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    (folder / "keyturn.toml").write_text("version = 1\n")
    monkeypatch.delenv("KEYTURN_HOME", raising=False)
    monkeypatch.chdir(folder)
    return folder


def test_the_folder_one_stands_in_is_the_home(folder: Path) -> None:
    assert find_home(None) == Home(folder)


def test_a_variable_names_another_and_an_option_beats_both(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("variable", "option"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "variable"))
    assert find_home(None).folder.name == "variable"
    assert find_home("../option").folder == tmp_path / "option"


def test_a_folder_that_is_only_stood_in_must_be_ones_own_alone(folder: Path) -> None:
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="others can write to it"):
        find_home(None)
    assert find_home(str(folder)) == Home(folder)


def test_a_folder_without_wiring_is_no_home_to_stand_in(folder: Path) -> None:
    (folder / "keyturn.toml").unlink()
    with pytest.raises(ConfigurationError, match="--home DIR or KEYTURN_HOME, or make one with: keyturn init DIR"):
        find_home(None)


@pytest.mark.parametrize("named", ["/nowhere/at/all", "x" * 5000, "~nobody-of-this-name/home", "a\0b"])
def test_a_name_that_is_no_folders_is_refused_with_what_to_do(folder: Path, named: str) -> None:
    with pytest.raises(ConfigurationError):
        find_home(named)


def test_a_home_without_a_ledger_is_told_how_to_get_one(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"keyturn init {folder}"):
        require_founded(Home(folder))
    with pytest.raises(ConfigurationError, match="File name too long"):
        require_founded(Home(folder / ("x" * 300)))


def test_a_policy_that_cannot_be_read_is_refused_with_its_path(folder: Path) -> None:
    path = folder / "policy.toml"
    for write in (lambda: None, lambda: path.write_bytes(b"\xff"), lambda: path.write_bytes(b"#" * (MAX_POLICY + 1))):
        write()
        with pytest.raises(ConfigurationError, match=str(path)):
            Home(folder).policy_files()
    path.write_text("version = 1\n")
    assert Home(folder).policy_files() == {"policy.toml": "version = 1\n"}


def test_a_home_that_lost_its_wiring_is_not_sent_to_init(folder: Path) -> None:
    (folder / "keyturn.toml").unlink()
    (folder / "state").mkdir()
    (folder / "state" / "ledger.db").touch()
    with pytest.raises(ConfigurationError, match=r"keyturn\.toml is missing, though .* put it back") as told:
        find_home(None)
    assert "init" not in str(told.value)


def test_a_home_that_lost_its_ledger_or_keys_is_not_sent_to_init(folder: Path) -> None:
    keys = folder / "state" / "keys"
    keys.parent.mkdir()
    for missing in (folder / "state" / "ledger.db", keys, keys / "log.vkey"):
        with pytest.raises(ConfigurationError) as told:
            require_pinned(Home(folder))
        assert told.value.problems == (f"{missing} is missing: put it back from a copy",)
        if missing == keys:
            keys.mkdir()
        else:
            missing.touch()
    require_pinned(Home(folder))


def test_a_folder_that_is_no_home_is_called_that_however_it_was_named(folder: Path) -> None:
    (folder / "keyturn.toml").unlink()
    with pytest.raises(ConfigurationError) as stood_in:
        find_home(None)
    with pytest.raises(ConfigurationError) as named:
        require_founded(find_home(str(folder)))
    assert stood_in.value.problems == named.value.problems
