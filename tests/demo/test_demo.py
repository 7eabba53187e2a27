"""The demo, run as people run it: what it tells, what it leaves, and how it fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keyturn.demo.chapters import converse
from keyturn.demo.stage import Stage, set_up
from keyturn.demo.story import Story, perform, seen_in
from tests.server.home import until

STEPS = 11
PROGRAMS = ("git", "ssh-keygen")


@dataclass(frozen=True, slots=True)
class Told:
    """What one run of the demo said, and how long it took."""

    code: int
    out: str
    err: str
    seconds: float = 0.0

    @property
    def summary(self) -> dict[str, Any]:
        """The one JSON object on stdout, whose shape is checked."""
        value: dict[str, Any] = json.loads(self.out)
        assert list(value) == ["steps", "verify", "home"]
        for step in value["steps"]:
            assert list(step) == ["name", "ok", "detail"]
            assert isinstance(step["ok"], bool)
            assert step["name"]
            assert step["detail"]
        assert "verdict" in value["verify"]
        return value

    @property
    def failed(self) -> dict[str, Any]:
        """The one step that failed; the run must have ended with 1 and without a traceback."""
        [step] = [step for step in self.summary["steps"] if not step["ok"]]
        assert self.code == 1
        assert "Traceback" not in self.err
        found: dict[str, Any] = step
        return found


def demo(*options: str | Path, **variables: str) -> Told:
    """Run `keyturn demo` as a program of its own."""
    before = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "keyturn", "demo", *map(str, options)],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    return Told(done.returncode, done.stdout, done.stderr, time.monotonic() - before)


def audit(home: str | Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "keyturn", "--home", str(home), "audit", "verify", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def leave(home: Path) -> None:
    """Ask the worker of a kept home to leave, so that nothing runs on after the test."""

    def workers() -> list[int]:
        found = []
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = process.read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if "worker" in words and str(home) in words:
                found.append(int(process.parent.name))
        return found

    for worker in workers():
        os.kill(worker, signal.SIGTERM)
    until(lambda: not workers())


@pytest.fixture
def programs(tmp_path: Path) -> Callable[..., str]:
    """Return a PATH with nothing on it but what is named: real programs, or scripts of the test's own."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def path(*names: str, **scripts: str) -> str:
        for name in names:
            (folder / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is missing here"))
        for name, script in scripts.items():
            file = folder / name.replace("_", "-")
            file.write_text(f"#!/bin/sh\n{script}\n")
            file.chmod(0o755)
        return str(folder)

    return path


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Told]]:
    folder = tmp_path_factory.mktemp("demo") / "a folder"
    told = demo("--keep", folder)
    yield folder, told
    leave(folder / "home")


def test_every_step_does_what_it_claims_in_good_time() -> None:
    told = demo("--json")
    summary = told.summary
    assert [step["detail"] for step in summary["steps"] if not step["ok"]] == []
    assert len(summary["steps"]) == STEPS
    assert summary["verify"]["verdict"] == "PASS-UNANCHORED"
    assert summary["verify"]["first_bad"] is None
    assert told.code == 0
    assert told.err == ""
    assert told.seconds < 60
    assert not Path(summary["home"]).parent.exists()


def test_the_story_is_told_in_lines_that_fit(kept: tuple[Path, Told]) -> None:
    folder, told = kept
    assert told.code == 0, told.out
    assert told.err == ""
    assert "\t" not in told.out
    wide = [line for line in told.out.splitlines() if len(line) >= 80]
    assert all(line.lstrip().startswith("keyturn --home") or str(folder) in line for line in wide)
    assert f"PASS: {STEPS} of {STEPS} steps did what they claim." in told.out
    assert "alice approves action" in told.out
    assert "      +TIMEOUT_SECONDS = 60" in told.out.splitlines()


def test_what_is_kept_can_be_looked_at_with_the_commands_it_prints(kept: tuple[Path, Told]) -> None:
    folder, told = kept
    assert audit(folder / "home")["verdict"] == "PASS-UNANCHORED"
    home = f"--home '{folder}/home'"
    commands = [line.strip() for line in told.out.splitlines() if line.strip().startswith(f"keyturn {home}")]
    assert len(commands) == 4
    for command in commands:
        done = subprocess.run(
            ["sh", "-c", f'"$PYTHON" -m {command}'],
            env={**os.environ, "PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_without_keep_it_says_how_to_keep_and_leaves_nothing(tmp_path: Path) -> None:
    told = demo(TMPDIR=str(tmp_path))
    assert told.code == 0, told.out
    assert "keyturn demo --keep DIR" in " ".join(told.out.split())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    told = demo("--keep", tmp_path)
    assert (told.code, told.out) == (2, "")
    assert "not empty" in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    told = demo("--keep", tmp_path / "mine", "--json")
    assert (told.code, told.out) == (2, "")
    assert "Traceback" not in told.err


def test_some_fields_alone_can_be_asked_for_and_others_are_a_usage_error(programs: Callable[..., str]) -> None:
    nothing = programs()
    assert list(json.loads(demo("--json=home,verify", PATH=nothing).out)) == ["home", "verify"]
    told = demo("--json=nosuch", PATH=nothing)
    assert (told.code, told.out) == (2, "")
    assert "steps, verify, home" in told.err


@pytest.mark.parametrize(
    ("there", "missing"), [((), "ssh-keygen"), (("git",), "ssh-keygen"), (("ssh-keygen",), "git")], ids=str
)
def test_a_missing_program_is_a_failed_step(
    programs: Callable[..., str], there: tuple[str, ...], missing: str
) -> None:
    told = demo("--json", PATH=programs(*there))
    assert missing in told.failed["detail"]
    assert told.summary["verify"] == {"verdict": None}
    assert not Path(told.summary["home"]).parent.exists()


def test_in_plain_words_too_a_failure_is_told_without_a_traceback(programs: Callable[..., str]) -> None:
    told = demo(PATH=programs("ssh-keygen"))
    assert told.code == 1
    assert "   NOT AS CLAIMED: there is no git on PATH; install git" in told.out.splitlines()
    assert "FAIL: 0 of 1 steps" in told.out
    assert told.err == ""


def test_a_signature_that_cannot_be_made_is_a_failed_step(programs: Callable[..., str]) -> None:
    real = shutil.which("ssh-keygen")
    script = f'case "$*" in *sign*) echo "the token was pulled out" >&2; exit 1;; esac; exec {real} "$@"'
    failed = demo("--json", PATH=programs("git", ssh_keygen=script)).failed
    assert "approves" in failed["name"]
    assert "the token was pulled out" in failed["detail"]


def test_an_action_that_fails_is_a_failed_step_that_says_what_was_seen(programs: Callable[..., str]) -> None:
    real = shutil.which("git")
    # The worker alone writes refs so; the policy and the plan are as good as ever.
    script = f'case "$*" in *update-ref\\ --stdin) echo "disk full" >&2; exit 128;; esac; exec {real} "$@"'
    told = demo("--json", PATH=programs("ssh-keygen", git=script))
    failed = told.failed
    assert "the action runs once" in failed["name"]
    assert not failed["detail"].startswith("succeeded")
    assert "git sees" in failed["detail"]
    assert told.summary["verify"]["verdict"] == "PASS-UNANCHORED"


def test_a_folder_that_cannot_be_made_is_a_failed_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    failed = demo("--json", "--keep", tmp_path / "file" / "home").failed
    assert "Not a directory" in failed["detail"]


def test_a_reader_that_has_seen_enough_gets_no_traceback() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$PYTHON" -m keyturn demo | head -n 1'],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.stdout.startswith("Keyturn: ")
    assert done.stderr == ""


def test_a_narrow_terminal_encoding_ends_nothing() -> None:
    told = demo(PYTHONIOENCODING="latin-1")
    assert told.code == 0, told.out
    assert "+1 \\u22121" in told.out


class TestAServerThatDoesNotServe:
    """The stage is set, then its server is made to refuse."""

    @pytest.fixture
    def stage(self, tmp_path: Path) -> Stage:
        return set_up(tmp_path / "stage")

    def test_it_is_a_failed_step_with_the_servers_own_words(self, stage: Stage) -> None:
        shutil.rmtree(stage.home / "tool_schemas")
        said: list[str] = []
        story = Story(said.append, stage=stage)
        perform(story, partial(converse, stage=stage))
        [step] = story.steps
        assert (step.ok, story.ok) == (False, False)
        assert "keyturn serve said: keyturn: " in step.detail
        assert "tool_schemas" in step.detail
        assert any(line.startswith("   NOT AS CLAIMED: ") for line in said)


class TestAStory:
    """What it makes of steps and of exceptions."""

    def test_a_step_that_was_never_judged_has_failed(self) -> None:
        story = Story(list[str]().append)
        with story.step("Nothing happens"):
            pass
        assert [(step.ok, step.detail) for step in story.steps] == [(False, "nothing was found out")]
        assert not story.ok

    def test_a_story_without_steps_proves_nothing(self) -> None:
        assert not Story(list[str]().append).ok

    def test_what_goes_wrong_between_steps_is_a_step_of_its_own(self) -> None:
        story = Story(list[str]().append)

        async def scene(story: Story) -> None:
            with story.step("All is well") as step:
                step.judge(True, "seen")
            raise OSError(28, "No space left on device")

        perform(story, scene)
        assert [step.ok for step in story.steps] == [True, False]
        assert "No space left on device" in story.steps[1].detail

    def test_of_a_group_of_exceptions_each_is_told_once(self) -> None:
        group = ExceptionGroup(
            "outer", [ValueError("a\nb"), ExceptionGroup("inner", [ValueError("a b")]), KeyError("x")]
        )
        assert seen_in(group) == "a b; KeyError: 'x'"
        assert seen_in(AssertionError()) == "AssertionError"
