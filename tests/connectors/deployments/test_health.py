from __future__ import annotations

import os
import select
from pathlib import Path

import anyio
import pytest

from keyturn.connectors.deployments.health import MAX_OUTPUT, Check, run_check
from keyturn.model.outcome import Failed, Happened, Succeeded
from tests.connectors.deployments.contract import preview
from tests.connectors.deployments.processes import CountingDisk, action, survive
from tests.connectors.deployments.world import World, apply_until, open_port

PATH = {"PATH": os.defpath}


def script(folder: Path, text: str) -> tuple[str, ...]:
    path = folder / "check"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return ("./check",)


@pytest.mark.parametrize(
    ("text", "verdict", "output"),
    [
        ("echo fine", "passed", "fine"),
        ("echo broken >&2; exit 3", "failed: exit status 3", "broken"),
        ("kill -TERM $$", "failed: ended by signal 15", ""),
    ],
)
def test_the_verdict_names_how_the_check_ended(tmp_path: Path, text: str, verdict: str, output: str) -> None:
    assert run_check(script(tmp_path, text), tmp_path, PATH, 10) == Check(verdict, output)


def test_a_check_that_cannot_be_started_has_failed(tmp_path: Path) -> None:
    assert run_check(("./missing",), tmp_path, PATH, 10).verdict.startswith("failed: could not be started (No such")


def test_a_check_over_its_time_is_killed_with_all_its_children(tmp_path: Path) -> None:
    argv = script(tmp_path, "sh -c 'echo $$ >child; echo waiting; exec sleep 60' & wait")
    assert run_check(argv, tmp_path, PATH, 0.5) == Check("failed: no end within 0.5 s", "waiting")
    assert ended(int((tmp_path / "child").read_text()))


def test_a_child_left_behind_by_a_check_is_killed_and_not_waited_for(tmp_path: Path) -> None:
    argv = script(tmp_path, "sleep 60 &\necho $! >child\necho done")
    assert run_check(argv, tmp_path, PATH, 30) == Check("passed", "done")
    assert ended(int((tmp_path / "child").read_text()))


def test_a_check_that_closes_its_output_is_still_waited_for(tmp_path: Path) -> None:
    argv = script(tmp_path, "exec >&- 2>&-\nsleep 0.2\nexit 4")
    assert run_check(argv, tmp_path, PATH, 30).verdict == "failed: exit status 4"


def test_the_check_sees_no_environment_but_path_home_and_locale(tmp_path: Path) -> None:
    environment = {**PATH, "LANG": "C", "KEYTURN_TOKEN": "secret", "SSH_AUTH_SOCK": "/x"}
    seen = run_check(script(tmp_path, "/usr/bin/env"), tmp_path, environment, 10).output
    assert {line.split("=")[0] for line in seen.splitlines()} <= {"PATH", "LANG", "PWD", "SHLVL", "_"}


def test_arguments_reach_the_check_without_a_shell(tmp_path: Path) -> None:
    argv = (*script(tmp_path, 'printf "%s|" "$@"'), "; rm -rf .", "$(id)")
    assert run_check(argv, tmp_path, PATH, 10).output == "; rm -rf .|$(id)|"


def test_only_the_cleaned_last_words_are_kept(tmp_path: Path) -> None:
    argv = script(
        tmp_path,
        "head -c 300000 /dev/zero | tr '\\0' x\nprintf '\\nAPI_TOKEN=abc\\n\\033[31mred \\342\\200\\256\\377'",
    )
    output = run_check(argv, tmp_path, PATH, 10).output
    assert len(output) <= MAX_OUTPUT
    assert output.endswith("API_TOKEN=<hidden>\n\\u{1b}[31mred \\u{202e}\N{REPLACEMENT CHARACTER}")


def test_a_line_cut_at_the_front_is_left_out_because_it_may_be_a_secret_value(tmp_path: Path) -> None:
    argv = script(tmp_path, "printf 'TOKEN='; head -c 8200 /dev/zero | tr '\\0' s; printf '\\nend'")
    assert run_check(argv, tmp_path, PATH, 10).output == "end"


def test_a_passing_check_is_told_in_the_result(tmp_path: Path) -> None:
    world = World(tmp_path)
    port = open_port(tmp_path, health=script(world.root, "readlink current"), health_timeout="10s")
    outcome = anyio.run(port.apply, preview(world).rollback, action(1))
    assert isinstance(outcome, Succeeded)
    assert (outcome.result["health"], outcome.result["health_output"]) == ("passed", "releases/2.3.1")


def test_a_failing_check_fails_the_action_and_says_that_the_switch_was_made(tmp_path: Path) -> None:
    world = World(tmp_path)
    port = open_port(tmp_path, health=script(world.root, "echo run >>runs; echo no >&2; exit 7"))
    rollback = preview(world).rollback
    outcome = anyio.run(port.apply, rollback, action(1))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "2.3.1 was made live, but its health check failed: exit status 7"
    assert (outcome.effect, outcome.result["health_output"], world.live()) == (True, "no", "2.3.1")
    assert anyio.run(port.apply, rollback, action(1)) == outcome
    assert anyio.run(port.probe, rollback, action(1)) == Happened(outcome.result, outcome.reason)
    assert (world.root / "runs").read_text() == "run\n"


def test_a_check_is_not_held_against_a_version_that_is_not_live_any_more(tmp_path: Path) -> None:
    world = World(tmp_path)
    port = open_port(tmp_path, health=script(world.root, "ln -sfn releases/2.2.0 current"))
    outcome = anyio.run(port.apply, preview(world).rollback, action(1))
    assert isinstance(outcome, Failed)
    assert outcome.reason.endswith("does not count: 2.2.0 is live instead")


def test_a_check_that_breaks_the_current_link_leaves_a_failure_with_an_effect(tmp_path: Path) -> None:
    world = World(tmp_path)
    port = open_port(tmp_path, health=script(world.root, "rm current; mv .keyturn gone; touch .keyturn"))
    outcome = anyio.run(port.apply, preview(world).rollback, action(1))
    assert isinstance(outcome, Failed)
    assert (outcome.effect, outcome.result["health"]) == (
        True,
        "does not count: web/staging/current: is missing; point it at a release: ln -s releases/VERSION",
    )


def test_a_probe_after_a_crash_before_the_verdict_runs_the_check(tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    counted, disk = World(tmp_path / "count"), CountingDisk()
    anyio.run(open_port(counted.home, disk).apply, preview(counted).rollback, action(1))
    (tmp_path / "home").mkdir()
    world = World(tmp_path / "home")
    rollback = preview(world).rollback
    assert survive(apply_until, [(world.home, rollback, action(1), disk.placed["current"] + 1)]) == [False]
    port = open_port(world.home, health=script(world.root, "exit 1"))
    told = anyio.run(port.probe, rollback, action(1))
    assert isinstance(told, Happened)
    assert told.result["health"] == "failed: exit status 1"


def ended(process: int) -> bool:
    """Say whether a process, which was sent a signal, ends within five seconds."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 5)[0])
    finally:
        os.close(handle)
