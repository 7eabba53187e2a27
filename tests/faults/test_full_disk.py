"""A disk that is full, and has room again: all is refused, nothing is done, and it goes on without a restart."""

from __future__ import annotations

import logging
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio
import pytest

import keyturn.gateway.execute
from keyturn.assembly.build import become_executor
from keyturn.gateway.call import call
from keyturn.gateway.core import Gateway
from keyturn.gateway.executor import Executor
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.recover import recover
from keyturn.gateway.work import work
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.model.errors import Refused
from tests.faults.world import TICKETS, Place, Record, acknowledging, doubled, found, lines, recording, review
from tests.ledger.processes import running, told
from tests.server.clients import raw, request
from tests.server.home import found as found_for_server

ROOM = 2_500_000  # bytes: a ledger of some dozens of large requests
LARGE = 9_000
ATTEMPTS = 100


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with very little room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a tiny disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def make_room(disk: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={10 * ROOM}", str(disk)], check=True)


def fill(said: Connection, place: Place, outside: Path, here: bool, limit: int) -> None:
    """Ask until nothing fits any more; then, once told that there is room again, go on."""
    logging.disable()
    vars(keyturn.gateway.execute).update(RETRY_EVERY=0.01, LEDGER_PATIENCE=0.1)
    executor = become_executor(place.home)
    gate = acknowledging(place, "full", Record(outside / "acknowledged"), executor=executor if here else None)
    gate = recording(gate, outside / "effects")
    held: list[str] = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    async def ask(tool: str, **arguments: Any) -> str:
        answer = await call(gate, place.caller(gate), Incoming(tool, arguments, 60))
        return f"{answer.envelope['status']} {answer.envelope['action_id']}"

    async def attempt(tool: str, **arguments: Any) -> str:
        try:
            return await ask(tool, **arguments)
        except LedgerUnavailable as error:
            return f"refused {error}"

    async def large(number: int) -> str:
        comment = f"{number} {'x' * LARGE}"
        return await attempt("update_ticket", ticket=TICKETS[number % 7], comment=comment)

    async def steps() -> None:
        async with anyio.create_task_group() as tasks:
            stop = anyio.Event()
            tasks.start_soon(_work, gate, executor, place, stop)
            held.append((await ask("update_ticket", ticket="OPS-8", status="closed")).split()[1])
            said.send([await large(number) for number in range(ATTEMPTS)])
            small = [await large(number) for number in range(ATTEMPTS, ATTEMPTS + 3)]
            small.append(await attempt("get_ticket", ticket="OPS-1"))
            small.append(_word(lambda: review(gate, held[0]).status))
            said.send(small)
            await anyio.to_thread.run_sync(said.recv)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            said.send(
                [
                    await attempt("update_ticket", ticket="OPS-1", comment="There is room again."),
                    await attempt("get_ticket", ticket="OPS-1"),
                    _word(lambda: review(gate, held[0]).status),
                ]
            )
            stop.set()
        await recover(gate, executor, place.home.place.run)

    anyio.run(steps)
    gate.close()
    executor.lock.release(forget=True)
    said.send("done")


def _word(say: Callable[[], str]) -> str:
    try:
        return say()
    except LedgerUnavailable as error:
        return f"refused {error}"
    except Refused:
        return "approved"  # it was at the first time, for a word needs little room, and is over now


async def _work(gate: Gateway, executor: Executor, place: Place, stop: anyio.Event) -> None:
    await work(gate, executor, place.home.place.run, idle=None, stop=stop)


@pytest.mark.parametrize("here", [True, False], ids=["executed here", "executed by the loop"])
@pytest.mark.parametrize("kind", ["disk", "file"])
def test_calls_on_a_full_disk_are_refused_undone_and_work_again_when_there_is_room(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, here: bool
) -> None:
    disk: Path = request.getfixturevalue("disk") if kind == "disk" else tmp_path
    limit = resource.RLIM_INFINITY if kind == "disk" else ROOM // 2
    place = found(disk / "small")
    with running(fill, place, tmp_path, here, limit) as (process, said):
        filled = told(said, 60)
        begun = [word for word in filled if word.startswith(("approved", "running", "succeeded"))]
        refused = [word for word in filled if word.startswith("refused")]
        assert len(begun) > 3
        assert len(refused) > 20
        assert all("SQLITE_FULL" in word or "SQLITE_IOERR_WRITE" in word for word in refused), refused[0]
        full = told(said, 60)
        assert [word.split()[0] for word in full[:3]] == ["refused"] * 3
        if kind == "disk":
            make_room(disk)
        said.send("there is room")
        again = told(said, 60)
        assert told(said, 60) == "done"
        process.join(20)
    prove(place, tmp_path, begun, again)


def prove(place: Place, outside: Path, begun: list[str], again: list[str]) -> None:
    assert again[0].split()[0] in {"approved", "succeeded", "running"}
    assert again[1].split()[0] == "succeeded"
    assert again[2] == "approved"
    entries = place.entries()
    acknowledged = lines(outside / "acknowledged")
    assert {seq: entries[int(seq)].leaf for seq, _ in acknowledged} == dict(acknowledged)
    requested = {entry.action for entry in entries if entry.kind == "action.requested"}
    started = {entry.action for entry in entries if entry.kind == "execution.started"}
    assert {word.split()[1] for word in begun} <= requested
    assert {action for _, action in lines(outside / "effects")} <= started
    assert doubled(outside / "effects") == []
    assert {entry.action for entry in entries if entry.kind == "execution.finished"} == started
    report = place.verified()
    assert (report.verdict, report.first_bad) == ("PASS-UNANCHORED", None)


def test_a_server_on_a_full_disk_answers_every_call_and_serves_again_when_there_is_room(disk: Path) -> None:
    place = found_for_server(disk)
    filler = disk / "filler"
    with raw(place) as server:
        server.greet()
        assert "result" in server.ask(request(0, "get_permissions"))
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        ticket = (place.folder / "samples/tickets/OPS-1.md").read_text()
        for number in range(5):
            answer = server.ask(request(number, "update_ticket", ticket="OPS-1", comment="x" * 9000 + str(number)))
            assert "nothing is done without it" in answer["error"]["message"]
            answer = server.ask(request(number, "get_ticket", ticket="OPS-1"))
            assert "nothing is done without it" in answer["error"]["message"]
            server.alive()
        assert (place.folder / "samples/tickets/OPS-1.md").read_text() == ticket
        filler.unlink()
        done = server.ask(request(9, "update_ticket", ticket="OPS-1", comment="There is room again."))
        assert done["result"]["structuredContent"]["status"] == "succeeded"
        assert server.end() == 0
        said = server.said()
    place.end_workers()
    assert "SQLITE_FULL" in said
    assert "Traceback" not in said
    assert len(place.entries("execution.finished")) == 1
