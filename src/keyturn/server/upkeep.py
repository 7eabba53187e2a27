"""Sees to it that somebody executes: starts a worker whenever the ledger shows work that nobody is doing."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
import anyio.to_thread

from keyturn.gateway.core import Gateway
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.model.errors import LedgerError
from keyturn.server.fault import Fault

LOOK_EVERY = 0.5  # seconds between looks for news: one PRAGMA, no lock
LOOK_AGAIN = 2.0  # seconds after which waiting work should be in somebody's hands
LOOK_ANYWAY = 5.0  # seconds after which the ledger is looked at without news: an executor dies without writing

_log = logging.getLogger(__name__)


async def start_workers(gate: Gateway, work_waits: Callable[[], bool], fault: Fault) -> None:
    """Watch the ledger for ever: an action approved by a person, or one left behind by a dead worker, gets a worker.

    The work itself never happens in this process: its client may end it at any moment.
    """
    watcher = gate.watch()
    due = anyio.current_time()
    try:
        while fault.error is None:
            try:
                if watcher.changed() or anyio.current_time() >= due:
                    waits = await anyio.to_thread.run_sync(work_waits)
                    due = anyio.current_time() + (LOOK_AGAIN if waits else LOOK_ANYWAY)
                    if waits:
                        gate.start_worker()
            except (LedgerUnavailable, OSError) as error:
                _log.warning("no worker was started: %s", error)
            except LedgerError as error:
                fault.meet(error)
            await anyio.sleep(LOOK_EVERY)
    finally:
        watcher.close()
