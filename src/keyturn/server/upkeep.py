"""Sees to it that somebody executes: starts a worker whenever the ledger shows work that nobody is doing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import anyio

from keyturn.gateway.core import Gateway, Look
from keyturn.gateway.news import grown_beyond
from keyturn.gateway.recover import unknown_due
from keyturn.gateway.refusals import flush_all
from keyturn.gateway.starting import call_worker
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.model.errors import LedgerError
from keyturn.server.fault import Fault

BREATH = 0.2  # seconds after news in which more is gathered: nobody waits for this look, calls start workers too
LOOK_AGAIN = 2.0  # seconds after which waiting work should be in somebody's hands
EVERY_MINUTE = 60.0
LOOK_ANYWAY = 5.0  # seconds after which the ledger is looked at without news: an executor dies without writing

_log = logging.getLogger(__name__)


async def start_workers(gate: Gateway, work_waits: Callable[[], bool], fault: Fault) -> None:
    """Watch the ledger until it fails: what a person approved, or a dead worker left behind, gets a worker.

    The work itself never happens in this process: its client may end it at any moment.
    """
    minute = anyio.current_time()
    while fault.error is None:
        try:
            mark = gate.news.mark()
            if anyio.current_time() >= minute:
                minute = anyio.current_time() + EVERY_MINUTE
                await _keep_up(gate)
            size = await on_ledger(gate.ledger.look, _size)
            waits = await on_ledger(work_waits)
            if waits:
                await call_worker(gate)
            await gate.news.wait(mark, grown_beyond(size), LOOK_AGAIN if waits else LOOK_ANYWAY)
            await anyio.sleep(BREATH)
        except LedgerUnavailable as error:
            _log.warning("it is not known whether a worker is needed: %s", error)
            await anyio.sleep(LOOK_AGAIN)
        except LedgerError as error:
            fault.meet(error)


def _size(view: Look) -> int:
    return view.head.size


async def _keep_up(gate: Gateway) -> None:
    """Write the counts of refusals that are due, and have somebody ask again about what is unknown."""
    await on_ledger(flush_all, gate)
    if await on_ledger(gate.ledger.look, partial(unknown_due, gate)):
        await call_worker(gate)
