"""The worker: a process that executes what is approved, in a session of its own."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import anyio

from keyturn.assembly.build import WORKER_IDLE, become_executor, check_consent, open_gateway
from keyturn.assembly.covering import check_log_key, coverage_of
from keyturn.assembly.halting import note_suspensions
from keyturn.assembly.home import Home
from keyturn.assembly.notary import Notary, leave, notarise, notary_of
from keyturn.assembly.notifier import tell_people
from keyturn.assembly.required import check_anchors
from keyturn.assembly.standing import take_worker_turn
from keyturn.gateway.claim import claimable
from keyturn.gateway.core import Gateway
from keyturn.gateway.executor import Executor
from keyturn.gateway.threads import on_ledger
from keyturn.gateway.work import plain_errors, work
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.model.errors import LedgerError
from keyturn.telemetry.speech import tell

PATIENCE = 60.0  # seconds after it was told to end in which running actions may finish
LEFT_SOMETHING = 1  # exit status of a worker that lost patience

_log = logging.getLogger(__name__)


def run_worker(home: Home, *, on_demand: bool, metrics: str | None = None) -> None:
    """Execute what is approved in `home` until told to stop; running actions are finished first.

    On demand there is one at a time: it ends when another is there, or after a while without work. `metrics` is an
    address to serve metrics on meanwhile. Raises `ConfigurationError` or `LedgerError` when the home does not let it
    work.
    """
    gate = open_gateway(home, "keyturn worker")
    tell("process.started", "the worker starts")
    try:
        check_consent(gate)
        check_anchors(gate, home)
        with plain_errors(), _metrics(home, metrics):
            anyio.run(_until_stopped, gate, home, on_demand)
    finally:
        gate.close()
        tell("process.ended", "the worker has ended")


async def lose_patience(executor: Executor, stop: anyio.Event) -> None:
    """End this process although actions run, some time after `stop`.

    What is left counts as running until somebody takes this process's lock, which only its end gives free; then its
    outcome is settled as after any death.
    """
    await stop.wait()
    if executor.running:
        _log.warning("first finishing what runs: %s", _named(executor))
    await anyio.sleep(PATIENCE)
    leave_behind(executor)


def leave_behind(executor: Executor) -> None:
    """End this process at once when actions still run in it, saying which; a thread of theirs would keep it alive."""
    if executor.running:
        _log.warning("left unfinished, to be settled by whoever executes next: %s", _named(executor))
        sys.stderr.flush()
        os._exit(LEFT_SOMETHING)


def _named(executor: Executor) -> str:
    return ", ".join(sorted(executor.running))


def _metrics(home: Home, address: str | None) -> AbstractContextManager[None]:
    if address is None:
        return nullcontext()
    # Imported here: a worker on demand should begin its work without loading what it will not serve.
    from keyturn.assembly.metrics import metrics_served  # noqa: PLC0415

    return metrics_served(home, address)


async def _until_stopped(gate: Gateway, home: Home, on_demand: bool) -> None:
    executor = become_executor(home)
    stop = anyio.Event()
    met: list[LedgerError] = []

    def meet(error: LedgerError) -> None:
        met.append(error)
        stop.set()  # what runs is finished first

    try:
        notary = await on_ledger(notary_of, home, gate.ledger)
        await on_ledger(check_log_key, gate, notary)
        gate = replace(gate, cover=coverage_of(notary).cover)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_signal, executor, stop)
            tasks.start_soon(lose_patience, executor, stop)
            tasks.start_soon(tell_people, home)
            tasks.start_soon(note_suspensions, gate)
            tasks.start_soon(notarise, notary, meet)
            if on_demand:
                await _take_turns(gate, home, executor, stop)
            else:
                await work(gate, executor, home.place.run, idle=None, stop=stop)
            tasks.cancel_scope.cancel()
        for error in met:
            raise error
        await _notarise_the_end(notary, forced=not on_demand)
    finally:
        leave_behind(executor)
        executor.lock.release(forget=True)


async def _notarise_the_end(notary: Notary, *, forced: bool) -> None:
    try:
        await leave(notary, forced=forced)
    except LedgerUnavailable as error:
        _log.warning("the end of the ledger gets no checkpoint now: %s", error)


async def _take_turns(gate: Gateway, home: Home, executor: Executor, stop: anyio.Event) -> None:
    while (give_up := take_worker_turn(home)) is not None:
        try:
            await work(gate, executor, home.place.run, idle=WORKER_IDLE, stop=stop)
        finally:
            give_up()
        # Whoever approved an action while this worker was leaving saw the turn taken and started no other: look
        # again now that the turn is free. Either they see it free, or this sees their action.
        if stop.is_set() or not await _something_waits(gate):
            return


async def _something_waits(gate: Gateway) -> bool:
    try:
        return bool(await on_ledger(gate.ledger.look, lambda view: claimable(gate, view)))
    except LedgerUnavailable:
        return True  # it cannot be told: stay, and look again after a while


async def _stop_on_signal(executor: Executor, stop: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            if stop.is_set():
                _log.warning("still finishing: %s", _named(executor) or "nothing any more")
            stop.set()
