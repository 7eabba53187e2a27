"""The worker: a process that executes what is approved, in a session of its own."""

from __future__ import annotations

import signal

import anyio

from keyturn.assembly.build import WORKER_IDLE, become_executor, check_consent, open_gateway
from keyturn.assembly.home import Home
from keyturn.assembly.notifier import tell_people
from keyturn.assembly.standing import take_worker_turn
from keyturn.gateway.claim import claimable
from keyturn.gateway.core import Gateway
from keyturn.gateway.executor import Executor
from keyturn.gateway.threads import on_ledger
from keyturn.gateway.work import plain_errors, work
from keyturn.ledger.errors import LedgerUnavailable


def run_worker(home: Home, *, on_demand: bool) -> None:
    """Execute what is approved in `home` until told to stop; running actions are finished first.

    On demand there is one at a time: it ends when another is there, or after a while without work. Raises
    `ConfigurationError` or `LedgerError` when the home does not let it work.
    """
    gate = open_gateway(home, "keyturn worker")
    try:
        check_consent(gate)
        with plain_errors():
            anyio.run(_until_stopped, gate, home, on_demand)
    finally:
        gate.close()


async def _until_stopped(gate: Gateway, home: Home, on_demand: bool) -> None:
    executor = become_executor(home)
    stop = anyio.Event()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_signal, stop)
            tasks.start_soon(tell_people, home)
            if on_demand:
                await _take_turns(gate, home, executor, stop)
            else:
                await work(gate, executor, home.place.run, idle=None, stop=stop)
            tasks.cancel_scope.cancel()
    finally:
        executor.lock.release(forget=True)


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


async def _stop_on_signal(stop: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stop.set()
