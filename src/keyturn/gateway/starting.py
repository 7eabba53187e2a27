"""Seeing to it that somebody executes what may run."""

from __future__ import annotations

import logging

from keyturn.gateway.core import Gateway
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.errors import LedgerUnavailable

_log = logging.getLogger(__name__)


async def call_worker(gate: Gateway) -> bool:
    """See to it that somebody executes: this process, or else a worker, which is started unless one is there.

    Returns whether somebody is there now.
    When none can be started the action stays approved: nothing is lost, and the next call about it tries again.
    """
    if gate.executor is not None:
        gate.executor.wake()
        return gate.executor.accepting
    try:
        await on_ledger(gate.start_worker)
    except (OSError, LedgerUnavailable) as error:
        _log.warning("no worker could be started: %s", error)
        return False
    return True
