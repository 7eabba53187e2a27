"""Sees to it that somebody executes: starts a worker whenever the ledger shows work that nobody is doing."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio

from keyturn.gateway.core import Gateway, Look
from keyturn.gateway.refusals import flush_all
from keyturn.gateway.starting import call_worker
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.writer import Watcher
from keyturn.model.errors import LedgerError
from keyturn.server.fault import Fault

LOOK_EVERY = 0.5  # seconds between looks for news: one PRAGMA, no lock
LOOK_AGAIN = 2.0  # seconds after which waiting work should be in somebody's hands
EVERY_MINUTE = 60.0
LOOK_ANYWAY = 5.0  # seconds after which the ledger is looked at without news: an executor dies without writing

_log = logging.getLogger(__name__)


async def start_workers(gate: Gateway, watcher: Watcher, work_waits: Callable[[], bool], fault: Fault) -> None:
    """Watch the ledger until it fails: what a person approved, or a dead worker left behind, gets a worker.

    The work itself never happens in this process: its client may end it at any moment.
    """
    due = minute = anyio.current_time()
    while fault.error is None:
        try:
            if anyio.current_time() >= minute:
                minute = anyio.current_time() + EVERY_MINUTE
                await _keep_up(gate)
            if await on_ledger(watcher.changed) or anyio.current_time() >= due:
                due = anyio.current_time() + LOOK_AGAIN
                if not await on_ledger(work_waits):
                    due += LOOK_ANYWAY - LOOK_AGAIN
                else:
                    await call_worker(gate)
        except LedgerUnavailable as error:
            _log.warning("it is not known whether a worker is needed: %s", error)
        except LedgerError as error:
            fault.meet(error)
        await anyio.sleep(LOOK_EVERY)


async def _keep_up(gate: Gateway) -> None:
    """Write the counts of refusals that are due, and have somebody look again at what is unknown."""
    await on_ledger(flush_all, gate)
    if await on_ledger(gate.ledger.look, _something_is_unknown):
        await call_worker(gate)


def _something_is_unknown(view: Look) -> bool:
    return any(state == "unknown" for _, state in view.state.open_actions(view.now))
