"""`keyturn completion`: what a shell is offered when Tab is pressed."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.operator import tell
from tests.cli.test_terminal import PROGRAM
from tests.gateway.world import World


def complete(words: str, home: Path | None = None, shell: str = "zsh") -> list[str]:
    """Ask as a shell's script does; returns the lines that come back. Nothing may be said beside them."""
    done = subprocess.run(
        [PROGRAM],
        env={
            "PATH": os.environ["PATH"],
            "_KEYTURN_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            **({} if home is None else {"KEYTURN_HOME": str(home)}),
        },
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def offered(words: str, home: Path | None = None) -> dict[str, str]:
    """Return what zsh is offered: value and help."""
    lines = complete(words, home)
    return dict(zip(lines[1::3], lines[2::3], strict=True))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_it_understands(shell: str, tmp_path: Path) -> None:
    said = tell("completion", shell)
    assert said.code == 0
    assert f"_KEYTURN_COMPLETE={shell}_complete" in said.out
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its script was not read by it")
    (tmp_path / "script").write_text(said.out)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, capture_output=True)


def test_another_shell_is_refused() -> None:
    assert tell("completion", "tcsh").code == 2


def test_verbs_are_completed_with_what_they_do() -> None:
    found = offered("keyturn ac")
    assert list(found) == ["action"]
    assert set(offered("keyturn action w")) == {"wait", "watch"}
    assert "--token-file" in offered("keyturn connect --")


def test_bash_itself_completes_a_verb(tmp_path: Path) -> None:
    script = tell("completion", "bash").out
    asked = "COMP_WORDS=(keyturn comp); COMP_CWORD=1; _keyturn_completion keyturn; echo ${COMPREPLY[@]}"
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}"},
    )
    assert done.stdout.strip() == "completion"


def test_verbs_that_take_an_id_are_offered_the_actions_they_are_for(world: World) -> None:
    pending, approved = world.held(), world.held(title="Another")
    world.review(approved)
    about = "open_pull_request forge:shop/main"
    for verb in ("approve", "deny", "action approve", "action deny"):
        assert offered(f"keyturn {verb} ", world.home.folder) == {pending[-6:]: about}
    for verb in ("action show", "action wait", "action watch", "action diff", "action export", "action cancel"):
        assert set(offered(f"keyturn {verb} ", world.home.folder)) == {pending[-6:], approved[-6:]}
    assert offered("keyturn action resolve ", world.home.folder) == {}
    assert set(offered(f"keyturn action show {pending[-6:-2]}", world.home.folder)) >= {pending[-6:]}
    assert set(offered(f"keyturn --home {world.home.folder} approve ")) == {pending[-6:]}


@pytest.mark.parametrize("words", ["keyturn approve ", "keyturn version ", "keyturn --home /nowhere deny "])
def test_where_there_is_nothing_to_offer_nothing_is_said(words: str) -> None:
    assert offered(words) == {}


def test_a_verb_that_is_none_is_no_error_while_somebody_types() -> None:
    assert "approve" in offered("keyturn no-such-verb ")


def test_a_home_that_cannot_be_read_is_silent(world: World) -> None:
    world.home.place.head.write_text("nonsense\n")
    (world.home.place.database).write_bytes(b"x" * 4096)
    assert offered("keyturn approve ", world.home.folder) == {}


def test_names_come_before_a_person_notices() -> None:
    """In processor time, and the better of two: a test run shares its machine."""
    times = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        complete("keyturn aud")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.4
