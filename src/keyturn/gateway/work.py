"""Working: the loop of a process that executes what is approved, and settles what others left behind."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from keyturn.gateway.claim import claim_next, claimable
from keyturn.gateway.core import Gateway
from keyturn.gateway.execute import Executor, execute
from keyturn.gateway.recover import recover, reprobe
from keyturn.gateway.refusals import flush_all
from keyturn.gateway.sweep import sweep
from keyturn.ledger.errors import LedgerUnavailable

AT_ONCE = 4  # actions on different targets that one process runs side by side
LOOK_EVERY = 0.1  # seconds between looks for news: one PRAGMA, no lock
HOUSEKEEPING_EVERY = 60.0
SCRUB = 20_000  # entries whose hashes are recomputed at a time

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Rounds:
    """Where the regular rounds of a worker stand; times are seconds of the event loop's clock."""

    housekeeping_due: float = 0.0
    scrubbed: int = 0
    busy_until: float = 0.0


async def work(gate: Gateway, executor: Executor, run: Path, *, idle: float | None, stop: anyio.Event) -> None:
    """Claim and execute until `stop` is set, or until there was nothing to do for `idle` seconds.

    Running actions are always finished before this returns.
    """
    watcher = gate.watch()
    rounds = Rounds(busy_until=anyio.current_time())
    try:
        async with anyio.create_task_group() as tasks:
            while not stop.is_set() and not _idle(rounds, executor, idle):
                if anyio.current_time() >= rounds.housekeeping_due:
                    await _keep_house(gate, executor, run, rounds)
                if watcher.changed() or executor.running:
                    await _start_ready(gate, executor, tasks, rounds)
                with anyio.move_on_after(LOOK_EVERY):
                    await stop.wait()
    finally:
        watcher.close()


async def drain(gate: Gateway, executor: Executor, run: Path) -> None:
    """Settle, claim and execute what is ready now, one after another, and return."""
    await recover(gate, executor, run)
    while (claimed := await anyio.to_thread.run_sync(claim_next, gate, executor.instance)) is not None:
        await execute(gate, executor, claimed)


def _idle(rounds: Rounds, executor: Executor, idle: float | None) -> bool:
    now = anyio.current_time()
    if executor.running:
        rounds.busy_until = now
    return idle is not None and now - rounds.busy_until > idle


async def _start_ready(gate: Gateway, executor: Executor, tasks: TaskGroup, rounds: Rounds) -> None:
    """Claim what is ready, up to the number of actions run side by side."""
    while len(executor.running) < AT_ONCE:
        ready = await anyio.to_thread.run_sync(gate.ledger.look, partial(claimable, gate))
        if not ready:
            return
        try:
            claimed = await anyio.to_thread.run_sync(claim_next, gate, executor.instance)
        except LedgerUnavailable as error:
            _log.warning("nothing can be claimed at present: %s", error)
            return
        if claimed is None:
            return
        executor.running.add(claimed.action.id)
        rounds.busy_until = anyio.current_time()
        tasks.start_soon(execute, gate, executor, claimed)


async def _keep_house(gate: Gateway, executor: Executor, run: Path, rounds: Rounds) -> None:
    """Do what is due from time to time: dead executors, unknown outcomes, expiries, counts, old entries."""
    rounds.housekeeping_due = anyio.current_time() + HOUSEKEEPING_EVERY
    try:
        await recover(gate, executor, run)
        await reprobe(gate)
        await anyio.to_thread.run_sync(gate.ledger.transact, sweep)
        await anyio.to_thread.run_sync(flush_all, gate)
        rounds.scrubbed = await anyio.to_thread.run_sync(gate.ledger.scrub, rounds.scrubbed, SCRUB)
    except LedgerUnavailable as error:
        _log.warning("housekeeping waits: %s", error)
