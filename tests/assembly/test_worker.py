"""The worker as a process: started once, outliving its client, finishing what runs, leaving when idle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from keyturn.assembly.build import work_waits
from keyturn.assembly.standing import take_worker_turn, worker_present
from keyturn.assembly.worker import run_worker
from keyturn.ledger.errors import LedgerBroken
from keyturn.model.errors import ConfigurationError
from tests.gateway import conftest as gateway
from tests.gateway import processes
from tests.gateway.world import STAGING, World
from tests.ledger.processes import running, told

founded = gateway.founded
world = gateway.world


def workers(world: World) -> list[int]:
    """The pids of living workers of this home."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if str(world.home.folder).encode() in words and b"worker" in words:
                found.append(int(process.name))
    return found


def until(true: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


@contextmanager
def started(world: World, times: int = 1) -> Iterator[int]:
    """Start a worker as a server does, kill the server's process group at once, give the worker's pid."""
    with running(processes.serve_and_start, world.home, times) as (server, said):
        assert told(said, 30) == "started"
        os.killpg(server.pid or 0, signal.SIGKILL)
        server.join()
    until(lambda: worker_present(world.home))
    seen: list[int] = []

    def alone() -> bool:
        # A program that the worker starts looks like the worker until it is one.
        seen[:] = workers(world)
        return len(seen) == 1

    until(alone)
    (pid,) = seen
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        until(lambda: not workers(world))


def slow_health(world: World, seconds: float) -> None:
    """Give the deployment a health check that takes a while: the effect of a rollback then lasts as long."""
    text = world.home.wiring.read_text()
    world.home.wiring.write_text(
        text.replace("[deployments.web]", f'[deployments.web]\nhealth = ["sleep", "{seconds}"]')
    )


def test_many_starts_at_once_make_one_worker_which_outlives_its_client(world: World) -> None:
    world.executing = False
    action = str(world.comment("Hello.").envelope["action_id"])
    with started(world, times=8) as pid:
        assert os.getsid(pid) == pid
        until(lambda: world.entries("execution.finished"))
        assert take_worker_turn(world.home) is None
        assert not work_waits(world.gate, world.home)
        os.kill(pid, signal.SIGTERM)
        until(lambda: not workers(world))
    assert world.status(action) == "succeeded"
    assert not worker_present(world.home)


def test_told_to_end_it_finishes_what_runs_and_begins_nothing_more(world: World) -> None:
    slow_health(world, 1)
    world.executing = False
    running_now = str(world.call("rollback_deployment", **STAGING).envelope["action_id"])
    waiting = str(world.call("rollback_deployment", **{**STAGING, "to": "2.2.0"}).envelope["action_id"])
    with started(world) as pid:
        until(lambda: world.entries("execution.started"))
        os.kill(pid, signal.SIGTERM)
        until(lambda: not workers(world))
    assert (world.status(running_now), world.status(waiting)) == ("succeeded", "approved")
    assert world.live("staging") == "2.3.1"
    # It left in order: nothing of it is in the way of whoever comes next.
    assert [entry.facts["recovered"] for entry in world.entries("execution.finished")] == [False]
    assert work_waits(world.gate, world.home)


def test_killed_in_the_middle_its_action_is_settled_by_the_next(world: World) -> None:
    slow_health(world, 5)
    world.executing = False
    action = str(world.call("rollback_deployment", **STAGING).envelope["action_id"])
    with started(world) as pid:
        until(lambda: world.entries("execution.started"))
        until(lambda: world.live("staging") == "2.3.1")
        assert not work_waits(world.gate, world.home)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not workers(world))
    until(lambda: work_waits(world.gate, world.home))
    world.drain()
    assert world.status(action) == "succeeded"
    assert len(world.entries("execution.started")) == 1


def test_without_work_it_leaves_and_a_second_one_leaves_at_once(world: World) -> None:
    with running(processes.work_until_idle, world.home, 1.0) as (_, first):
        until(lambda: worker_present(world.home))
        run_worker(world.home, on_demand=True)
        assert told(first, 20) == "left"
    assert not worker_present(world.home)
    assert [path.name for path in world.home.place.run.iterdir() if len(path.name) == 32] == [world.executor.instance]


def test_a_home_that_cannot_be_served_is_refused_with_why(world: World) -> None:
    schema = world.home.schemas / "get_ticket.v1.json"
    text = schema.read_text()
    schema.write_text(text.replace('"description": "', '"description": "New: ', 1))
    with pytest.raises(ConfigurationError, match="keyturn policy activate"):
        run_worker(world.home, on_demand=False)
    schema.write_text(text)
    world.tamper("DELETE FROM entry WHERE seq = (SELECT max(seq) FROM entry)")
    with pytest.raises(LedgerBroken):
        run_worker(world.home, on_demand=False)


def test_a_timeout_of_no_tool_is_refused_with_the_tools_there_are(world: World) -> None:
    with world.home.wiring.open("a") as wiring:
        wiring.write("\n[timeouts]\nrollback = 5\n")
    with pytest.raises(ConfigurationError, match=r"timeouts\.rollback: is neither .*: .*rollback_deployment"):
        world.open("again")


@contextmanager
def service(world: World) -> Iterator[subprocess.Popen[str]]:
    """A worker of a service: it stays until it is told to end."""
    command = [sys.executable, "-P", "-m", "keyturn", "--home", str(world.home.folder), "worker"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
        try:
            yield worker
        finally:
            worker.kill()


def test_a_worker_that_hangs_longer_than_its_patience_says_what_it_leaves_and_the_next_settles_it(
    world: World,
) -> None:
    slow_health(world, 30)
    world.executing = False
    action = str(world.call("rollback_deployment", **STAGING).envelope["action_id"])
    with running(processes.work_impatiently, world.home, 0.3) as (worker, _):
        until(lambda: world.live("staging") == "2.3.1")
        os.kill(worker.pid or 0, signal.SIGTERM)
        worker.join(20)
        assert worker.exitcode == 1
    assert world.status(action) == "running"
    slow_health_over(world)
    world.gate.close()
    world.gate = world.open()
    world.drain()
    assert world.status(action) == "succeeded"
    assert len(world.entries("execution.started")) == 1


def slow_health_over(world: World) -> None:
    text = world.home.wiring.read_text()
    world.home.wiring.write_text(text.replace('health = ["sleep", "30"]', 'health = ["true"]'))


def test_asked_twice_to_end_it_says_what_it_still_does(world: World) -> None:
    slow_health(world, 3)
    world.executing = False
    action = str(world.call("rollback_deployment", **STAGING).envelope["action_id"])
    with service(world) as worker:
        assert worker.stderr is not None
        until(lambda: world.live("staging") == "2.3.1")
        for words in (f"first finishing what runs: {action}", f"still finishing: {action}"):
            worker.send_signal(signal.SIGINT)
            assert words in worker.stderr.readline()
        worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert world.status(action) == "succeeded"


def test_two_workers_share_the_work_one_action_at_a_time_on_each_target(world: World) -> None:
    world.executing = False
    slow_health(world, 0.2)
    world.activate(('limits = ["50 calls per hour"]', 'limits = ["500 calls per hour"]'))
    for number in range(10):
        world.comment(f"Number {number}.")
    for version in ("2.3.1", "2.2.0"):
        world.call("rollback_deployment", **{**STAGING, "to": version})
    with service(world), service(world):
        until(lambda: len(world.entries("execution.finished")) == 12)
    running_on: dict[str, str] = {}
    targets = {entry.action: str(entry.facts["target"]) for entry in world.entries("action.requested")}
    for entry in world.entries("execution"):
        assert entry.action is not None
        target = targets[entry.action]
        if entry.kind == "execution.started":
            assert running_on.setdefault(target, entry.action) == entry.action
        else:
            assert running_on.pop(target) == entry.action
    assert all(world.ticket.count(f"Number {number}.") == 1 for number in range(10))


def test_a_worker_settles_what_another_left_when_it_was_killed(world: World) -> None:
    """One that runs already, at its next round of housekeeping; one that starts, at once."""
    slow_health(world, 5)
    world.executing = False
    action = str(world.call("rollback_deployment", **STAGING).envelope["action_id"])
    with service(world) as first:
        until(lambda: world.live("staging") == "2.3.1")
        first.kill()
        first.wait()
    slow_health_over(world)
    with service(world):
        until(lambda: world.entries("execution.finished"))
    finished = world.entries("execution.finished")
    assert [(entry.action, entry.facts["recovered"]) for entry in finished] == [(action, True)]
