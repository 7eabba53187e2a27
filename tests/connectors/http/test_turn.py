"""One change at a time on a host, whoever makes it: threads, processes, and processes that die."""

from __future__ import annotations

import subprocess
import time
from itertools import pairwise
from pathlib import Path
from threading import Event

import anyio
import pytest

from keyturn.connectors.http.turn import Pausing, Standing, turn_of
from keyturn.model.errors import ConnectorError
from tests.connectors.http.conftest import Open, Serve
from tests.connectors.http.racers import start
from tests.connectors.http.server import Heard, Saying, Server, in_turn, said

PAUSE = 0.05
LATE = 0.002  # what the clock of the file loses in being written


def begin(racer: subprocess.Popen[bytes]) -> None:
    assert racer.stdin is not None
    assert racer.stdout is not None
    assert racer.stdout.readline() == b"ready\n"


def let_go(racer: subprocess.Popen[bytes]) -> None:
    assert racer.stdin is not None
    racer.stdin.write(b"go\n")
    racer.stdin.flush()


def ended(racer: subprocess.Popen[bytes]) -> int:
    with racer:
        return racer.wait(30)


def gaps(server: Server) -> list[float]:
    """Return the seconds between the end of each answer and the beginning of the next."""
    order = sorted(heard.times for heard in server.heard)
    return [later[0] - earlier[1] for earlier, later in pairwise(order)]


def test_eight_processes_change_one_at_a_time_and_keep_the_pause(serve: Serve, tmp_path: Path) -> None:
    server = serve(in_turn(said(200, {})))
    racers = [start(server.port, tmp_path, PAUSE, 3) for _ in range(8)]
    for racer in racers:
        begin(racer)
    for racer in racers:
        let_go(racer)
    assert [ended(racer) for racer in racers] == [0] * 8
    assert len(server.heard) == 24
    assert min(gaps(server)) >= PAUSE - LATE


def test_a_process_that_is_killed_in_its_turn_lets_go_of_it(serve: Serve, tmp_path: Path, door_to: Open) -> None:
    arrived = Event()

    def script(heard: Heard) -> Saying:
        arrived.set()
        return Saying((), "hold") if heard.number == 0 else said(200, {})

    server = serve(script)
    racer = start(server.port, tmp_path, PAUSE, 1)
    begin(racer)
    let_go(racer)
    assert arrived.wait(10)
    with pytest.raises(ConnectorError, match=r"other changes on 127\.0\.0\.1:.* were under way all the time") as held:
        anyio.run(change, door_to(server, deadline=0.3))
    assert held.value.kind == "retry"
    racer.kill()
    assert ended(racer) == -9
    anyio.run(change, door_to(server))
    assert len(server.heard) == 2


async def change(door: object) -> None:
    await door.change("POST", "/x", body={})  # type: ignore[attr-defined]  # a door


@pytest.mark.anyio
async def test_tasks_of_one_process_take_their_turn_too(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(200, {})))
    doors = [door_to(server, pause=PAUSE), door_to(server, pause=PAUSE)]
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(change, doors[number % 2])
    assert len(server.heard) == 8
    assert min(gaps(server)) >= PAUSE - LATE


@pytest.mark.anyio
async def test_changes_on_different_hosts_do_not_wait_for_each_other(serve: Serve, door_to: Open) -> None:
    slow, quick = serve(in_turn(Saying((), "hold"))), serve(in_turn(said(200, {})))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(change, door_to(slow))
        with anyio.fail_after(20):
            while not slow.heard:  # noqa: ASYNC110 - the server hears in a thread of its own
                await anyio.sleep(0.01)
        await change(door_to(quick, deadline=10))
        tasks.cancel_scope.cancel()
    assert len(quick.heard) == 1


@pytest.mark.anyio
async def test_a_clock_that_was_set_back_keeps_nobody_waiting(tmp_path: Path) -> None:
    clock = [2_000_000_000.0]
    turn = turn_of(tmp_path, "h.example", 0.1, lambda: clock[0])
    async with turn.taken(anyio.current_time() + 9) as mine:
        assert isinstance(mine, Standing)
        mine.rest = clock[0] + 0.1
    clock[0] = 1_000_000_000.0
    with anyio.fail_after(20):
        async with turn.taken(anyio.current_time() + 0.05) as mine:
            assert isinstance(mine, Pausing)
            assert mine.seconds <= 3600


@pytest.mark.anyio
async def test_the_pause_counts_from_the_end_of_the_last_change(tmp_path: Path) -> None:
    turn = turn_of(tmp_path, "h.example", 0.2, time.time)
    async with turn.taken(anyio.current_time() + 9):
        await anyio.sleep(0.2)  # counted from its beginning, the pause would be over by now
        end = time.monotonic()
    async with turn.taken(anyio.current_time() + 9):
        assert time.monotonic() - end >= 0.2 - LATE


@pytest.mark.anyio
async def test_a_queue_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    turn = turn_of(tmp_path / "missing", "h.example", 0, time.time)
    with pytest.raises(ConnectorError, match=r"the queue of changes .*: No such file or directory") as refused:
        async with turn.taken(anyio.current_time() + 9):
            pass
    assert refused.value.kind == "retry"


def test_the_file_of_a_queue_names_no_host(tmp_path: Path) -> None:
    assert "example" not in turn_of(tmp_path, "secret.example", 0, time.time).path.name
