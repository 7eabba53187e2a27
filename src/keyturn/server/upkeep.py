"""Sees to it that somebody executes: starts a worker whenever the ledger shows work that nobody is doing."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio

from keyturn.gateway.core import Gateway
from keyturn.gateway.starting import call_worker
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.writer import Watcher
from keyturn.model.errors import LedgerError
from keyturn.server.fault import Fault

LOOK_EVERY = 0.5  # seconds between looks for news: one PRAGMA, no lock
LOOK_AGAIN = 2.0  # seconds after which waiting work should be in somebody's hands
LOOK_ANYWAY = 5.0  # seconds after which the ledger is looked at without news: an executor dies without writing

_log = logging.getLogger(__name__)


async def start_workers(gate: Gateway, watcher: Watcher, work_waits: Callable[[], bool], fault: Fault) -> None:
    """Watch the ledger until it fails: what a person approved, or a dead worker left behind, gets a worker.

    The work itself never happens in this process: its client may end it at any moment.
    """
    due = anyio.current_time()
    while fault.error is None:
        try:
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
