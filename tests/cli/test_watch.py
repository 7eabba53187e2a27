"""`keyturn action watch` and `keyturn inbox -w`: what happens is said while it happens."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keyturn.gateway.changes import Change, Changes
from keyturn.gateway.sweep import sweep
from tests.cli.operator import tell
from tests.cli.test_terminal import PROGRAM, Terminal, bare
from tests.gateway.world import World


@contextmanager
def watching(world: World, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [PROGRAM, "--home", str(world.home.folder), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> list[str]:
    """Read the next line byte by byte: nothing that came with it may be buffered out of sight of `select`."""
    assert process.stdout is not None
    found = b""
    while not found.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], 30)
        assert ready, "nothing was said in time"
        byte = os.read(process.stdout.fileno(), 1)
        assert byte, f"it ended after {found!r}"
        found += byte
    return found.decode().rstrip("\n").split("\t")


def test_each_state_of_every_action_is_a_line(world: World) -> None:
    first = world.held()
    with watching(world, "action", "watch") as process:
        assert line(process)[1:] == [first, "pending", "claude", "production", "open_pull_request", WHAT]
        world.review(first)
        assert line(process)[1:3] == [first, "approved"]
        world.drain()
        assert [line(process)[2] for _ in range(2)] == ["running", "succeeded"]
        world.call("rollback_deployment", "codex", deployment="web", environment="staging", to="nowhere")
        assert line(process)[2:4] == ["denied", "codex"]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130


WHAT = 'Open pull request "Raise the timeout" on shop: 1 file, +1 \N{MINUS SIGN}1, base main'


@pytest.mark.parametrize(
    ("verdict", "states", "code"), [("approve", ["approved", "running", "succeeded"], 0), ("reject", ["rejected"], 3)]
)
def test_watching_one_action_ends_with_it_and_says_how_by_the_exit_code(
    world: World, verdict: str, states: list[str], code: int
) -> None:
    action, other = world.held(), world.held(title="Another")
    with watching(world, "action", "watch", action[-6:], "--json") as process:
        assert json.loads(line(process)[0])["status"] == "pending"
        world.review(other)
        world.review(action, verdict=verdict)
        world.drain()
        said = [json.loads(line(process)[0]) for _ in states]
        assert process.wait(timeout=20) == code
    assert [one["status"] for one in said] == states
    assert {one["action_id"] for one in said} == {action}
    assert set(said[0]) == {"at", "action_id", "status", "what", "tool", "principal", "target", "environment"}


def test_an_action_that_is_over_is_one_line(world: World) -> None:
    action = world.held()
    world.review(action, verdict="reject")
    said = tell("--home", world.home.folder, "action", "watch", action, "--json=status")
    assert (said.code, said.out) == (3, '{"status": "rejected"}\n')
    assert tell("--home", world.home.folder, "action", "watch", "0000").code == 5


def states(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.action, change.status) for change in changes]


def test_what_time_does_is_a_change_too_and_told_once(world: World) -> None:
    action = world.held()
    changes = Changes()
    assert states(world.gate.ledger.look(changes.since)) == [(action, "pending")]
    world.clock.run(hours=5)
    [expired] = world.gate.ledger.look(changes.since)
    assert (expired.status, expired.at) == (
        "expired",
        world.gate.ledger.look(lambda view: view.state.actions[action]).expires_at,
    )
    world.gate.ledger.transact(sweep)
    assert world.gate.ledger.look(changes.since) == []


def test_a_ledger_that_is_busy_for_a_moment_is_looked_at_again(world: World) -> None:
    action = world.held()
    database = world.home.place.database
    with watching(world, "inbox", "-w") as process:
        assert line(process)[0] == action
        aside = database.with_name("aside")
        database.rename(aside)
        time.sleep(2.5)  # longer than it takes to look again
        aside.rename(database)
        second = world.held(title="Another")
        assert line(process)[0] == second
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130


def test_on_a_terminal_a_change_is_a_short_line(world: World) -> None:
    action = world.held()
    terminal = Terminal(world, "action", "watch")
    terminal.read_until("base main")
    assert f"{action[-6:]}  pending    claude  Open pull request" in bare(terminal.screen)
    terminal.press("\x03")
    assert terminal.end() == 130


def test_the_inbox_is_drawn_again_from_the_top_and_keeps_to_the_screen(world: World) -> None:
    terminal = Terminal(world, "inbox", "-w")
    terminal.read_until("nothing waits for a review · watching")
    for number in range(10):
        world.held("codex" if number % 2 else "claude", title=f"Title {number}")
    terminal.read_until("10 wait for a review")
    terminal.read_until("more: keyturn inbox", seconds=5)
    terminal.press("\x03")
    assert terminal.end() == 130
    *_, last = bare(terminal.screen).rpartition("10 wait for a review")
    assert len(last.splitlines()) <= 30
