"""`--key -`: signing where the key is, for a home whose account has none."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.operator import Operator


def act(operator: Operator, answer: Callable[[str], str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an act that waits for a signature, give `answer` the command that was printed, and hand in what it says."""
    command = [sys.executable, "-m", "keyturn", "--home", str(operator.home), *arguments, "--key", "-"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env={"PATH": "/usr/bin:/bin"}, **pipes) as process:  # type: ignore[call-overload]
        said = ""
        while not (found := re.search(r"^printf .* -f KEY$", said, re.MULTILINE)):
            line = process.stderr.readline()
            assert line, said
            said += line
        out, err = process.communicate(answer(found[0]), timeout=60)
        return subprocess.CompletedProcess(command, process.returncode, out, said + err)


def signs(key: Path) -> Callable[[str], str]:
    """Return what runs the printed command as its words say, with a key."""

    def run(command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", command.replace("KEY", shlex.quote(str(key)))], capture_output=True, text=True, check=True
        )
        return done.stdout

    return run


def test_an_act_counts_whose_signature_was_made_elsewhere(operator: Operator) -> None:
    done = act(operator, signs(operator.key), "token", "issue", "claude", "--json")
    assert done.returncode == 0, done.stderr
    assert '"token": "kt_' in done.stdout
    assert len(operator.tell("token", "list").rows) == 2


def test_a_signature_of_somebody_else_over_something_else_or_none_counts_for_nothing(
    operator: Operator, mallory: Path
) -> None:
    other = signs(operator.key)
    for answer, why in (
        (signs(mallory), "no key of alice"),
        (lambda command: other(command.replace("claude", "codex")), "not the signature that was asked for"),
        (lambda command: other(command.replace("keyturn.act.v1", "file")), "not the signature that was asked for"),
        (lambda command: "no signature\n", "not the signature that was asked for"),
    ):
        done = act(operator, answer, "token", "issue", "claude")
        assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    assert len(operator.tell("token", "list").rows) == 1


@pytest.mark.parametrize("name", ["mallory", "bob"])
def test_only_who_is_listed_may_say_so(operator: Operator, name: str) -> None:
    assert operator.tell("token", "issue", "claude", "--as", name, "--key", "-").code == 6
