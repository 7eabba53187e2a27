"""Serves a home over HTTP: executes what is approved in the same process, and leaves in order.

On SIGTERM or SIGINT, in this order: nothing new is taken and readiness says so; those who wait for an action are
answered with what is known; nothing more is claimed and what runs is finished; the last answers leave; then the
process ends. Nothing that has its time is ever cut short: a second signal only says what is waited for. What went on
beyond its time-out, and could not be interrupted, is named and left: its intent stands, and whoever executes next
settles it by a probe.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import anyio
import uvicorn
from starlette.types import ASGIApp

from keyturn.assembly.build import become_executor, check_consent, check_proposal_loads, open_gateway
from keyturn.assembly.covering import check_log_key, coverage_of
from keyturn.assembly.halting import note_suspensions
from keyturn.assembly.home import Home
from keyturn.assembly.metrics import metrics_served
from keyturn.assembly.notary import Notary, leave, notarise, notary_of
from keyturn.assembly.notifier import tell_people
from keyturn.assembly.required import check_anchors
from keyturn.assembly.wiring import Http, read_wiring
from keyturn.assembly.worker import leave_behind
from keyturn.gateway.core import Gateway
from keyturn.gateway.executor import Executor
from keyturn.gateway.refusals import flush_all
from keyturn.gateway.sweep import sweep
from keyturn.gateway.threads import on_ledger
from keyturn.gateway.work import work
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.model.errors import LedgerError
from keyturn.server.fault import PATIENCE, Fault
from keyturn.server.http.app import Application
from keyturn.server.http.door import make_door
from keyturn.server.http.limits import LIMITS, Limits
from keyturn.server.http.listening import Listener, listening
from keyturn.server.http.protocol import protocol_with
from keyturn.server.leaving import Leaving
from keyturn.telemetry.exposition import Process
from keyturn.telemetry.speech import say

COUNTS_EVERY = 60.0  # seconds between writing the counts of refusals that are due

_log = logging.getLogger(__name__)


class Web(uvicorn.Server):
    """uvicorn as one task among ours: it logs nothing and leaves signals alone."""

    def __init__(self, app: ASGIApp, limits: Limits = LIMITS) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol_with(limits),
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=limits.idle_seconds,
                timeout_graceful_shutdown=5,
                h11_max_incomplete_event_size=limits.header_bytes,
                # A request must not see what ran before it in the same task.
                reset_contextvars=True,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the program's own."""
        yield


def serve_http(home: Home, http: str | None, path: str | None, *, metrics: str | None = None) -> None:
    """Serve a home on an address, a socket file, or both, until told to stop; `metrics` is one more address.

    Raises `ConfigurationError` or `LedgerError` when the home does not let it serve, or no longer.
    """
    settings = read_wiring(home.wiring).http
    gate = replace(open_gateway(home, "keyturn serve"), start_worker=_nobody)
    try:
        check_consent(gate)
        check_anchors(gate, home)
        if (differs := check_proposal_loads(gate, home)) is not None:
            say(differs)
        gate.ledger.transact(sweep)  # also proves that the ledger can be written
        with listening(http, path, settings.hosts) as listeners:
            anyio.run(_serve, gate, home, settings, listeners, metrics)
    finally:
        with suppress(LedgerError):  # the fault is told already, or nothing is wrong but the disk
            flush_all(gate)
        gate.close()


def _nobody() -> None:
    """Effects run in this process: no worker is started."""


async def _serve(gate: Gateway, home: Home, settings: Http, listeners: list[Listener], metrics: str | None) -> None:
    notary = await on_ledger(notary_of, home, gate.ledger)
    await on_ledger(check_log_key, gate, notary)
    executor = become_executor(home)
    gate = replace(gate, executor=executor, cover=coverage_of(notary).cover)
    fault, leaving = Fault(), Leaving()
    door = make_door(settings.hosts, settings.origins, local=all(listener.local for listener in listeners))
    app = Application(gate, door, fault=fault, leaving=leaving, folder=home.place.folder)
    try:
        program = _Program(gate=gate, home=home, executor=executor, app=app, fault=fault, notary=notary)
        counted = Process(open_calls=app.open_calls, refused_credentials=app.counts.credentials.total)
        with metrics_served(home, metrics, counted):
            await program.run(listeners)
    finally:
        if executor.running:  # longer than its time-out allowed, and it cannot be interrupted
            for listener in listeners:
                listener.close()
        leave_behind(executor)
        executor.lock.release(forget=True)
    if fault.error is not None:
        raise LedgerError(f"{fault.error}; the server ends here: look with `keyturn audit verify`") from fault.error


@dataclass(slots=True, kw_only=True)
class _Program:
    """One serving process between its start and its end.

    asked    it is to leave: a signal came, or the ledger failed
    worked   nothing runs in it any more
    """

    gate: Gateway
    home: Home
    executor: Executor
    app: Application
    fault: Fault
    notary: Notary
    asked: anyio.Event = field(default_factory=anyio.Event)
    worked: anyio.Event = field(default_factory=anyio.Event)

    async def run(self, listeners: list[Listener]) -> None:
        """Serve until asked to leave, and leave."""
        web, closed = Web(self.app), anyio.Event()

        async def listen() -> None:
            await web.serve([listener.socket for listener in listeners])
            closed.set()

        async with self.app.running(), anyio.create_task_group() as tasks:
            for beside in (self._until_signal, self._until_fault, self._work, self._keep_counts, listen):
                tasks.start_soon(beside)
            tasks.start_soon(tell_people, self.home)
            tasks.start_soon(note_suspensions, self.gate)
            tasks.start_soon(notarise, self.notary, self.fault.meet)
            _announce(listeners)
            await self.asked.wait()
            self.app.leave()
            await self.worked.wait()
            with anyio.move_on_after(LIMITS.leave_seconds if self.fault.error is None else PATIENCE):
                await self.app.calm()
            web.should_exit = True
            await closed.wait()
            tasks.cancel_scope.cancel()
        if self.fault.error is None:
            await self._notarise_the_end()

    async def _until_signal(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                if self.asked.is_set() and self.executor.running:
                    say(f"first finishing what runs, which is never cut short: {len(self.executor.running)}")
                self.asked.set()

    async def _until_fault(self) -> None:
        await self.fault.met()
        self.asked.set()

    async def _work(self) -> None:
        """Execute until asked to leave; what runs is finished first."""
        try:
            await work(self.gate, self.executor, self.home.place.run, idle=None, stop=self.asked)
        except LedgerError as error:
            self.fault.meet(error)
        finally:
            self.worked.set()

    async def _notarise_the_end(self) -> None:
        """Sign and anchor all there is, now that nothing more comes from here."""
        try:
            await on_ledger(flush_all, self.gate)
            await leave(self.notary, forced=True)
        except LedgerUnavailable as error:
            _log.warning("the end of the ledger gets no checkpoint now: %s", error)
        except LedgerError as error:
            self.fault.meet(error)

    async def _keep_counts(self) -> None:
        """Write the counts of refusals that are due every minute."""
        while True:
            await anyio.sleep(COUNTS_EVERY)
            try:
                await on_ledger(flush_all, self.gate)
            except LedgerUnavailable as error:
                _log.warning("counts of refusals are not written yet: %s", error)
            except LedgerError as error:
                self.fault.meet(error)


def _announce(listeners: list[Listener]) -> None:
    for listener in listeners:
        say(f"serving on {listener.name}", event="server.listening")
        if not listener.local:
            say("others can reach it: tokens must not cross a network in the clear, so put TLS in front of it")
