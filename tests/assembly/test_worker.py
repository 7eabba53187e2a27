"""The worker as a process: started once, outliving its client, finishing what runs, leaving when idle."""

from __future__ import annotations

import os
import signal
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
    until(lambda: len(workers(world)) == 1)
    (pid,) = workers(world)
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
