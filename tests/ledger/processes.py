"""Processes of their own that use a ledger: racing, waiting, and dying in the middle."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType
from typing import Any

from keyturn.ledger.lock import held, take_instance
from keyturn.ledger.place import Place
from keyturn.ledger.transaction import Transaction
from keyturn.model.errors import LedgerError
from tests.ledger.world import found_ledger, opened, use

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.ledger.processes"])


@contextmanager
def light_start() -> Iterator[None]:
    """Fork from a process that has all imported already: it finds our modules, and spares itself the test runner."""
    before, main = os.environ.get("PYTHONPATH"), vars(sys.modules["__main__"])
    script = main.pop("__file__", None)
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    try:
        yield
    finally:
        if script is not None:
            main["__file__"] = script
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@contextmanager
def running(work: Callable[..., None], *arguments: object) -> Iterator[tuple[ForkServerProcess, Connection]]:
    """Run `work(connection, *arguments)` in a new process; kill it at the end if it still lives."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=work, args=(theirs, *arguments))
    with light_start():
        process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def told(connection: Connection, seconds: float = 60) -> Any:
    """Return the next thing a process says, within a bound."""
    assert connection.poll(seconds), "the process said nothing"
    return connection.recv()


def heard(connection: Connection) -> list[Any]:
    """Return all that a process which has ended said."""
    said = []
    with suppress(EOFError, OSError):
        while connection.poll(0):
            said.append(connection.recv())
    return said


def found_and_die(said: Connection, folder: Path, step: int) -> None:
    """Found a ledger and be killed right before the `step`-th call into C (0: never; says how many there are)."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "c_call"
        if calls == step > 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    found_ledger(folder / "state")
    sys.setprofile(None)
    said.send(calls)


def kill_at_each_step(tmp_path: Path, rounds: int = 40) -> Iterator[Path]:
    """Yield folders in which a founding was killed, the places of death spread over all its steps."""
    (tmp_path / "whole").mkdir()
    with running(found_and_die, tmp_path / "whole", 0) as (process, said):
        calls: int = told(said)
    # The last calls follow the rename: the ledger is there, and only its acknowledgement is not.
    for number in range(rounds):
        folder = tmp_path / f"killed-{number}"
        folder.mkdir()
        with running(found_and_die, folder, 1 + number * (calls - 20) // rounds) as (process, _):
            process.join(20)
            assert process.exitcode == -signal.SIGKILL
        yield folder


def append_for_ever(said: Connection, place: Place, principal: str) -> None:
    """Append until killed; say each entry after its acknowledgement."""
    with opened(place) as ledger:
        said.send("ready")
        while True:
            entry = ledger.transact(lambda tx: use(tx, principal, plan=os.urandom(300)))
            said.send((entry.seq, entry.leaf))


def race(said: Connection, place: Place, attempts: int, limit: int) -> None:
    """Try to use a limit; say how often it was granted."""

    def attempt(tx: Transaction[Any]) -> bool:
        if tx.state.uses.get("claude", 0) >= limit:
            return False
        use(tx)
        return True

    with opened(place) as ledger:
        said.send("ready")
        said.recv()
        said.send(sum(ledger.transact(attempt) for _ in range(attempts)))


def commit_until(said: Connection, place: Place, principal: str) -> None:
    """Commit for the time told; say how often."""
    with opened(place) as ledger:
        said.send("ready")
        end = time.monotonic() + said.recv()
        commits = 0
        while time.monotonic() < end:
            ledger.transact(lambda tx: use(tx, principal))
            commits += 1
        said.send(commits)


def hold(said: Connection, path: Path, name: str) -> None:
    """Hold a lock until told to let it go."""
    with held(path, name):
        said.send("held")
        said.recv()
    said.send("released")
    said.recv()


def live(said: Connection, run: Path, instance: str) -> None:
    """Hold an instance lock for life."""
    lock = take_instance(run, instance)
    said.send(lock is not None)
    said.recv()


def open_and_die(said: Connection, place: Place, uses: int) -> None:
    """Append and be killed without closing."""
    with opened(place) as ledger:
        for _ in range(uses):
            ledger.transact(lambda tx: use(tx, "dead"))
        said.send(place.database.with_name("ledger.db-wal").stat().st_size)
        os.kill(os.getpid(), signal.SIGKILL)


def attempts(place: Place, count: int, size: int) -> None:
    """Append `count` times and print, for each: what the fold said before, and the seq or the error.

    Runs under strace as `python -m tests.ledger.processes PLACE COUNT SIZE`.
    """
    with opened(place) as ledger:
        for number in range(count):
            seen: list[int] = []

            def attempt(tx: Transaction[Any], seen: list[int] = seen) -> int:
                seen.append(tx.state.uses.get("claude", 0))
                return use(tx, plan=bytes(size)).seq

            try:
                print("ok", number, ledger.transact(attempt), *seen, flush=True)  # noqa: T201 - its parent reads it
            except LedgerError as error:
                print("failed", number, type(error).__name__, *seen, str(error), flush=True)  # noqa: T201 - likewise


if __name__ == "__main__":
    attempts(Place(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]))
