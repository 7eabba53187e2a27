"""Working: the loop of a process that executes what is approved, and settles what others left behind."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from keyturn.gateway.claim import Claimed, claim_ready, claimable
from keyturn.gateway.core import Gateway, Look
from keyturn.gateway.execute import RETRY_EVERY, carry_out
from keyturn.gateway.executor import Executor
from keyturn.gateway.recover import recover, reprobe_due
from keyturn.gateway.sweep import catch_up
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.model.errors import LedgerError

LOOK_ANYWAY = 5.0  # seconds after which it looks without news: time and the clock's repair write nothing
HOUSEKEEPING_EVERY = 60.0
ASK_EVERY = 5.0  # seconds between looks whether an unknown outcome is to be asked about
THREADS = 40  # for systems that are planned for and read, beside one for each effect
SCRUB = 5_000  # entries whose hashes are recomputed at a time

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Crew:
    """Who works, and until when."""

    tasks: TaskGroup
    stop: anyio.Event
    idle: float | None
    busy_until: float = 0.0  # by the event loop's clock


async def work(gate: Gateway, executor: Executor, run: Path, *, idle: float | None, stop: anyio.Event) -> None:
    """Claim and execute until `stop` is set, or until there was nothing to do for `idle` seconds.

    Running actions are always finished before this returns. A ledger that cannot be read or written for the moment is
    waited for; raises `LedgerError` when it is not to be trusted any more.
    """
    with plain_errors():
        async with anyio.create_task_group() as tasks:
            await _work_with(gate, executor, run, _Crew(tasks, stop, idle))


async def _work_with(gate: Gateway, executor: Executor, run: Path, crew: _Crew) -> None:
    executor.crew = crew.tasks
    # Effects that hang keep their threads: planning and reading must have as many as ever.
    threads = anyio.to_thread.current_default_thread_limiter()
    threads.total_tokens = max(threads.total_tokens, THREADS + executor.at_once)
    try:
        async with anyio.create_task_group() as beside:
            beside.start_soon(_stop_with, crew.stop, executor)
            beside.start_soon(_listen, gate, executor)
            beside.start_soon(_keep_house, gate, executor, run)
            beside.start_soon(_ask_again, gate, executor, crew)
            await _rounds(gate, executor, crew)
            beside.cancel_scope.cancel()
    finally:
        executor.crew = None  # whoever is decided from here on stays approved, for others


async def _stop_with(stop: anyio.Event, executor: Executor) -> None:
    await stop.wait()
    executor.stopping = True
    executor.wake()


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise a ledger's error as itself, not inside the group that a task group makes of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        found: BaseException | None = group.subgroup(LedgerError)
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        if found is None:
            raise
        raise found from group


async def _listen(gate: Gateway, executor: Executor) -> None:
    """Wake the rounds when somebody's entry lets an action begin."""
    while True:
        try:
            if await gate.news.wait(gate.news.mark(), partial(_something_waits, gate), LOOK_ANYWAY, own=False):
                executor.wake()
        except LedgerUnavailable:
            await anyio.sleep(RETRY_EVERY)  # the rounds meet it too, and say so


def _something_waits(gate: Gateway, view: Look) -> bool:
    return bool(claimable(gate, view))


async def _rounds(gate: Gateway, executor: Executor, crew: _Crew) -> None:
    crew.busy_until = anyio.current_time()
    while not crew.stop.is_set() and (left := _idle_left(crew, executor)) > 0:
        look_again = await _look(gate, executor, crew)
        await executor.called(min(look_again, left))


def _idle_left(crew: _Crew, executor: Executor) -> float:
    """Return for how many seconds more there may be nothing to do."""
    if crew.idle is None:
        return math.inf
    now = anyio.current_time()
    if executor.running:
        crew.busy_until = now
    return crew.idle - (now - crew.busy_until)


async def _look(gate: Gateway, executor: Executor, crew: _Crew) -> float:
    """Start what is ready; return after how many seconds to look again without news."""
    try:
        await _start_ready(gate, executor, crew)
    except LedgerUnavailable as error:
        _log.warning("nothing can be claimed at present: %s", error)
        return RETRY_EVERY
    return LOOK_ANYWAY


async def _start_ready(gate: Gateway, executor: Executor, crew: _Crew) -> None:
    """Claim what is ready, up to the number of actions run side by side, until told to stop."""
    while not crew.stop.is_set():
        if not await on_ledger(gate.ledger.look, partial(claimable, gate)):
            return
        claimed = await on_ledger(claim_ready, gate, executor)
        if not claimed:
            return
        crew.busy_until = anyio.current_time()
        for one in claimed:
            crew.tasks.start_soon(_execute, gate, executor, one)


async def _execute(gate: Gateway, executor: Executor, claimed: Claimed) -> None:
    await carry_out(gate, executor, claimed)
    executor.wake()  # for the next on its target: own commits are not rung here


async def _ask_again(gate: Gateway, executor: Executor, crew: _Crew) -> None:
    """Ask the systems about unknown outcomes whenever that is due, and at once in a process that is to stay."""
    eager = crew.idle is None
    while True:
        try:
            if await reprobe_due(gate, executor.running, eager=eager):
                crew.busy_until = anyio.current_time()
                executor.wake()
            eager = False
        except LedgerUnavailable as error:
            _log.warning("unknown outcomes cannot be looked up: %s", error)
        await anyio.sleep(ASK_EVERY)


async def _keep_house(gate: Gateway, executor: Executor, run: Path) -> None:
    """Do what is due from time to time, beside the rounds: a system that does not answer holds up nothing else."""
    scrubbed: int | None = None
    while True:
        try:
            await recover(gate, executor, run)
            executor.wake()
            await on_ledger(gate.ledger.transact, partial(catch_up, gate))
            if scrubbed is None:
                # Workers come and go: each begins to look at old entries somewhere else.
                size = await on_ledger(gate.ledger.look, lambda view: view.head.size)
                scrubbed = int(executor.instance, 16) % size
            scrubbed = await on_ledger(gate.ledger.scrub, scrubbed, SCRUB)
        except LedgerUnavailable as error:
            _log.warning("housekeeping waits: %s", error)
        await anyio.sleep(HOUSEKEEPING_EVERY)
