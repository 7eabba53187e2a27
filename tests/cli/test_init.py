"""`keyturn init` on the command line; what it makes is tested with `assembly`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from keyturn.ledger.place import Place
from keyturn.ledger.writer import read_verifier
from tests.assembly.people import public
from tests.cli.operator import lines, tell


def test_a_home_is_made_and_its_token_shown_once(tmp_path: Path, alice: Path) -> None:
    home = tmp_path / "my home"
    said = tell("init", home, "--principal", "claude=bob", "--reviewer", f"alice={public(alice)}")
    assert said.transcript.replace(str(home), "HOME") == lines(
        "A home in 'HOME'",
        "  its log: LOG",
        "  keep that line elsewhere: with it anyone can check the log",
        "",
        "The token of claude, shown this once:",
        "  TOKEN",
        "  it goes where this says: keyturn --home 'HOME' client-config claude-code --principal claude",
        "",
        "Next",
        "  keyturn --home 'HOME' policy check      what the rules are, and what is odd about them",
        "  keyturn --home 'HOME' inbox -w          what waits for you, as it comes",
        "! warning: an assistant that can run commands under this account can do everything Keyturn can: for a real "
        "boundary run Keyturn under an account of its own",
    )


def test_json_has_the_home_its_log_tokens_and_samples(tmp_path: Path, alice: Path) -> None:
    home = tmp_path / "home"
    said = tell(
        "init", home, "--principal", "claude", "--principal", "gpt", "--reviewer", f"a={public(alice)}", "--json"
    )
    made = said.json
    assert list(made) == ["home", "log", "tokens", "samples", "warnings"]
    assert made["home"] == str(home)
    assert made["log"] == read_verifier(Place(home / "state"))
    assert list(made["tokens"]) == ["claude", "gpt"]
    assert made["samples"] == {
        "repository": "shop",
        "repository_path": str(home / "samples" / "shop.git"),
        "base": "main",
        "deployment": "web",
        "environments": ["staging", "production"],
        "ticket": "OPS-1",
    }
    assert [text.split(":")[0] for text in made["warnings"][:2]] == ["principals.claude", "principals.gpt"]
    assert said.err == ""


def test_a_bare_home_has_no_samples(tmp_path: Path, alice: Path) -> None:
    made = tell("init", tmp_path / "h", "--bare", "--reviewer", f"alice={public(alice)}", "--json").json
    assert made["samples"] is None
    assert list(made["tokens"]) == ["claude"]


def test_without_a_reviewer_the_caller_is_one(tmp_path: Path, alice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    shutil.copy(public(alice), tmp_path / ".ssh" / "id_ed25519.pub")
    assert tell("init", tmp_path / "h", "--json").code == 0
    assert public(alice).read_text().strip() in (tmp_path / "h" / "policy.toml").read_text()


def test_without_any_key_it_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    said = tell("init", tmp_path / "h")
    assert said.code == 1
    assert "make one with `ssh-keygen -t ed25519`, or name one with --reviewer NAME=KEY.pub" in said.err
    assert not (tmp_path / "h").exists()


def test_a_key_file_that_is_not_there_is_named_with_how_to_make_one(tmp_path: Path) -> None:
    said = tell("init", tmp_path / "h", "--reviewer", f"alice={tmp_path / 'id.pub'}")
    assert said.code == 1
    assert f"{tmp_path / 'id.pub'}: No such file or directory; make a key with `ssh-keygen -t ed25519`" in said.err
    assert not (tmp_path / "h").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--principal", "=bob", "'=bob' is not NAME or NAME=OWNER"),
        ("--principal", "claude=", "'claude=' is not NAME or NAME=OWNER"),
        ("--reviewer", "alice", "'alice' is not NAME=KEY.pub"),
        ("--reviewer", "=key", "'=key' is not NAME=KEY.pub"),
    ],
)
def test_a_misspelt_person_is_a_usage_error(tmp_path: Path, option: str, value: str, message: str) -> None:
    said = tell("init", tmp_path / "h", option, value)
    assert said.code == 2
    assert message in said.err


def test_a_name_that_aims_at_the_terminal_is_written_out(tmp_path: Path, alice: Path) -> None:
    said = tell("init", tmp_path / "h", "--principal", "x\x1b[2J", "--reviewer", f"alice={public(alice)}")
    assert said.code == 1
    assert "\x1b" not in said.err


def test_a_founded_home_is_refused(tmp_path: Path, alice: Path) -> None:
    arguments = ("init", tmp_path / "h", "--reviewer", f"alice={public(alice)}")
    assert tell(*arguments).code == 0
    again = tell(*arguments)
    assert again.transcript == lines(f"! keyturn: {tmp_path}/h/state exists: this home was founded already", code=1)


def test_files_that_are_there_are_kept_and_named(tmp_path: Path, alice: Path) -> None:
    tell("init", tmp_path / "h", "--reviewer", f"alice={public(alice)}")
    shutil.rmtree(tmp_path / "h" / "state")
    assert "  kept as they were: policy.toml, keyturn.toml, tool_schemas\n" in tell("init", tmp_path / "h").out


def test_without_openssh_and_a_key_it_still_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    said = tell("init", tmp_path / "h")
    assert said.code == 1
    assert "make one with `ssh-keygen -t ed25519`" in said.err
