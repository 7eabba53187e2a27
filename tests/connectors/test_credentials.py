"""Where credentials come from, when they are read again, and what is refused of them."""

from __future__ import annotations

import copy
import os
import pickle
import time
from pathlib import Path

import anyio
import pytest
from pydantic import BaseModel, ValidationError

from keyturn.connectors.credentials import CredentialSpec, Secret, Source, mounted, out_of_reach, source_of
from keyturn.model.errors import ConfigurationError, ConnectorError
from tests.connectors.surroundings import world_at

PATHS = {"PATH": "/usr/bin:/bin"}


def value(source: Source) -> str:
    return anyio.run(source.read).reveal()


def file(folder: Path, text: str = "the-token\n", mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def from_file(folder: Path) -> Source:
    return source_of("forge.shop.token", "file:token", world_at(folder))


def from_program(folder: Path, words: str, environment: dict[str, str] | None = None) -> Source:
    return source_of("forge.shop.token", f"command:{words}", world_at(folder, PATHS | (environment or {})))


class Settings(BaseModel):
    token: CredentialSpec


@pytest.mark.parametrize("spec", ["env:GITHUB_TOKEN", "file:secrets/token", "command:op read 'op://x/y z'"])
def test_a_setting_names_a_source(spec: str) -> None:
    assert Settings(token=spec).token == spec


@pytest.mark.parametrize("spec", ["ghp_hush", "env:", "file:", "command:", "vault:x"])
def test_a_setting_that_names_none_is_refused(spec: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        Settings(token=spec)
    with pytest.raises(ConfigurationError, match=r"forge\.shop\.token: must begin with env:, file: or") as refused:
        source_of("forge.shop.token", spec, world_at(tmp_path))
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("spec", ["env:1X", "env:A B", "env:A\nB", "file:a\0b", "command:a\0b"])
def test_a_name_that_no_variable_or_file_has_is_refused(spec: str) -> None:
    with pytest.raises(ValidationError):
        Settings(token=spec)


def test_a_variable_is_read_from_the_environment(tmp_path: Path) -> None:
    source = source_of("forge.shop.token", "env:TOKEN", world_at(tmp_path, {"TOKEN": " the-token\n"}))
    assert value(source) == "the-token"
    assert not source.forget()


@pytest.mark.parametrize(("environment", "words"), [({}, "is not set"), ({"TOKEN": " "}, "is empty")])
def test_a_variable_that_is_missing_is_named(tmp_path: Path, environment: dict[str, str], words: str) -> None:
    source = source_of("forge.shop.token", "env:TOKEN", world_at(tmp_path, environment))
    with pytest.raises(ConnectorError, match=rf"forge\.shop\.token: the variable TOKEN {words}"):
        value(source)


def test_a_file_is_read_below_the_home_and_again_when_it_changed(tmp_path: Path) -> None:
    path, source = file(tmp_path), from_file(tmp_path)
    assert value(source) == "the-token"
    assert not source.forget()
    path.write_text("the-next!")
    assert source.forget()
    assert value(source) == "the-next!"
    assert value(source_of("forge.shop.token", f"file:{path}", world_at(tmp_path / "else"))) == "the-next!"


def test_a_file_that_is_replaced_is_read_again_without_being_told(tmp_path: Path) -> None:
    path, source = file(tmp_path, "the-token"), from_file(tmp_path)
    assert value(source) == "the-token"
    before = path.stat()
    other = file_named(tmp_path, "other", "the-other")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert value(source) == "the-other"


def test_a_file_behind_links_is_read_again_when_the_links_are_turned(tmp_path: Path) -> None:
    """As secrets are mounted into pods: `token` → `..data/token`, and `..data` → a folder per version."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        file_named(tmp_path / version, "token", f"token-{version}")
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "token").symlink_to("..data/token")
    source = from_file(tmp_path)
    assert value(source) == "token-1"
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").replace(tmp_path / "..data")
    assert source.forget()
    assert value(source) == "token-2"


def file_named(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_of_its_own_account_alone_is_fine(tmp_path: Path, mode: int) -> None:
    file(tmp_path, mode=mode)
    assert value(from_file(tmp_path)) == "the-token"


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o604, "may be read by everybody"),
        (0o644, "may be read by everybody"),
        (0o620, "may be changed by others"),
        (0o602, "may be changed by others"),
        (0o666, "may be changed by others"),
    ],
)
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int, words: str) -> None:
    file(tmp_path, mode=mode)
    with pytest.raises(ConnectorError, match=rf"forge\.shop\.token: the file .*/token {words}"):
        value(from_file(tmp_path))


def test_a_group_may_read_what_root_gave_it_and_nothing_else(tmp_path: Path) -> None:
    path = file(tmp_path, mode=0o440)
    if os.geteuid() == 0:
        assert value(from_file(tmp_path)) == "the-token"
        os.chown(path, 12345, -1)
        with pytest.raises(ConnectorError, match="belongs to another account"):
            value(from_file(tmp_path))
    else:
        with pytest.raises(ConnectorError, match="may be read by its group"):
            value(from_file(tmp_path))


def test_a_mounted_file_may_be_read_by_everybody_but_changed_by_nobody_else(tmp_path: Path) -> None:
    path = file(tmp_path, mode=0o644)
    assert value(mounted("deployments.web.token", path)) == "the-token"
    path.chmod(0o666)
    with pytest.raises(ConnectorError, match="may be changed by others"):
        value(mounted("deployments.web.token", path))


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is empty"), (" \n", "is empty"), ("ü", "other characters than ASCII"), ("x" * 65_537, "more than 65536")],
)
def test_a_file_that_holds_no_credential_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file(tmp_path, text)
    with pytest.raises(ConnectorError, match=words) as refused:
        value(from_file(tmp_path))
    assert refused.value.kind == "refused"


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="token: No such file or directory"):
        value(from_file(tmp_path))
    os.mkfifo(tmp_path / "token", 0o600)
    with pytest.raises(ConnectorError, match="is not a regular file"):
        value(from_file(tmp_path))
    (tmp_path / "token").unlink()
    (tmp_path / "token").mkdir(mode=0o700)
    with pytest.raises(ConnectorError, match=r"Is a directory|is not a regular file"):
        value(from_file(tmp_path))


def test_a_file_that_vanished_makes_no_difference_to_who_was_refused(tmp_path: Path) -> None:
    path, source = file(tmp_path), from_file(tmp_path)
    value(source)
    path.unlink()
    assert not source.forget()


def test_a_private_key_of_several_lines_is_a_credential(tmp_path: Path) -> None:
    file(tmp_path, "-----BEGIN KEY-----\nabc\n-----END KEY-----\n")
    assert value(from_file(tmp_path)) == "-----BEGIN KEY-----\nabc\n-----END KEY-----"


def test_what_a_program_prints_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    source = from_program(tmp_path, "sh -c 'echo x >> runs; wc -l < runs'")
    assert [value(source), value(source)] == ["1", "1"]
    assert source.forget()
    assert not source.forget()
    assert value(source) == "2"


def test_a_program_runs_once_for_all_who_wait_for_it(tmp_path: Path) -> None:
    source = from_program(tmp_path, "sh -c 'echo x >> runs; sleep 0.2; wc -l < runs'")
    found: list[str] = []

    async def read() -> None:
        found.append((await source.read()).reveal())

    async def together() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(read)

    anyio.run(together)
    assert found == ["1"] * 5


def test_a_program_gets_words_and_no_shell(tmp_path: Path) -> None:
    assert value(from_program(tmp_path, "echo 'a b' $HOME ; id")) == "a b $HOME ; id"


def test_a_program_gets_the_usual_variables_and_what_its_words_say(tmp_path: Path) -> None:
    usual, others = {"HOME": "/h", "LC_ALL": "C", "XDG_RUNTIME_DIR": "/r"}, {"KEYTURN_HOME": "/k", "A_TOKEN": "t"}
    seen = value(from_program(tmp_path, "env VAULT_ADDR=https://v env", usual | others))
    names = {line.partition("=")[0] for line in seen.splitlines()}
    assert names == {"PATH", "HOME", "LC_ALL", "XDG_RUNTIME_DIR", "VAULT_ADDR"}


def test_a_program_runs_in_the_home(tmp_path: Path) -> None:
    assert value(from_program(tmp_path, "pwd")) == str(tmp_path)


@pytest.mark.parametrize(
    ("words", "told", "kind"),
    [
        ("sh -c 'exit 3'", r"the program sh failed \(3\); run it as Keyturn's account", "retry"),
        ("true", "what the program true printed is empty", "refused"),
        ("no-such-program-here", "the program no-such-program-here cannot be run: No such file", "retry"),
        ("sh -c 'yes | head -c 99999'", "holds more than 65536 bytes", "refused"),
        ("yes", "holds more than 65536 bytes", "refused"),
    ],
)
def test_a_program_without_a_credential_is_told(tmp_path: Path, words: str, told: str, kind: str) -> None:
    with pytest.raises(ConnectorError, match=told) as failed:
        value(from_program(tmp_path, words))
    assert failed.value.kind == kind


def test_a_program_that_does_not_end_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.connectors.credentials.RUNS", 1.5)
    began = time.monotonic()
    with pytest.raises(ConnectorError, match=r"took longer than 1\.5 s and was ended") as late:
        value(from_program(tmp_path, "sh -c 'sleep 60 & echo $! > child; wait'"))
    assert late.value.kind == "retry"
    assert time.monotonic() - began < 30
    child = int((tmp_path / "child").read_text())
    assert _ended(child)


def test_what_a_program_leaves_running_keeps_nobody_waiting(tmp_path: Path) -> None:
    began = time.monotonic()
    assert value(from_program(tmp_path, "sh -c 'sleep 60 & echo the-token'")) == "the-token"
    assert time.monotonic() - began < 30


def _ended(process: int) -> bool:
    """Wait for a killed process that nobody reaps at once to be gone, or a zombie."""
    for _ in range(500):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_a_program_is_run_only_where_programs_may_be_run(tmp_path: Path) -> None:
    source = source_of("forge.shop.token", "command:touch ran", world_at(tmp_path, PATHS, commands=False))
    with pytest.raises(ConnectorError, match="only a server, a worker and `keyturn connector check` do"):
        value(source)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("spec", "words"),
    [("command:'a", "no closing quotation"), ("command: ", "names no program"), ("command:''", "names no program")],
)
def test_a_command_that_has_no_words_is_refused(tmp_path: Path, spec: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"token: the command cannot be split into words: {words}"):
        source_of("forge.shop.token", spec, world_at(tmp_path))


def test_secrets_are_compared_and_copied_but_not_shown_or_kept_as_keys() -> None:
    secret = Secret("the-token")
    assert secret == Secret("the-token")
    assert secret != Secret("another")
    assert secret != "the-token"
    assert copy.copy(secret) is copy.deepcopy(secret) is secret
    assert pickle.loads(pickle.dumps(secret)).reveal() == "<secret>"  # noqa: S301 - pickled a line above
    with pytest.raises(TypeError):
        hash(secret)


class App(BaseModel):
    key: CredentialSpec


class Whole(BaseModel):
    credential: CredentialSpec | None = None
    app: App | None = None
    environments: dict[str, App] = {}
    path: str = "env:NOTHING"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Whole(credential="env:HERE"), None),
        (Whole(credential="file:token"), None),
        (Whole(credential="command:false"), None),
        (Whole(), None),
        (Whole(credential="env:ELSEWHERE"), "the variable ELSEWHERE is not set where this process was started"),
        (Whole(credential="file:gone"), "the file gone cannot be read by this process"),
        (Whole(app=App(key="env:ELSEWHERE")), "the variable ELSEWHERE is not set"),
        (Whole(environments={"a": App(key="env:HERE"), "b": App(key="file:gone")}), "the file gone cannot be read"),
    ],
)
def test_a_credential_that_this_process_cannot_have_is_known_without_reading_any(
    tmp_path: Path, settings: Whole, words: str | None
) -> None:
    file(tmp_path)
    said = out_of_reach(settings, world_at(tmp_path, {"HERE": "hush"}))
    assert said == words or (words is not None and said is not None and words in said)
