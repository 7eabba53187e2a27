"""Notes in the log when something is suspended and when it is lifted, whichever process did it."""

from __future__ import annotations

from functools import partial

import anyio

from keyturn.fold.suspensions import Scope
from keyturn.gateway.core import Gateway
from keyturn.gateway.desk import Look
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.model.errors import LedgerError
from keyturn.telemetry.speech import events_are_told, tell

LOOK_ANYWAY = 60.0  # seconds after which it looks without news
RETRY_EVERY = 2.0


async def note_suspensions(gate: Gateway) -> None:
    """Note what becomes suspended and what does not stay so, until cancelled; what is so at first is noted too.

    Returns at once where events are not told, and when the ledger is not to be trusted: whoever serves it tells that.
    """
    known: dict[Scope, str] = {}
    while events_are_told():
        mark = gate.news.mark()
        try:
            known = _note_changes(known, await on_ledger(gate.ledger.look, _present))
            await gate.news.wait(mark, partial(_differs, known), LOOK_ANYWAY, own=False)
        except LedgerUnavailable:
            await anyio.sleep(RETRY_EVERY)  # those who write are held up too, and tell why
        except LedgerError:
            return


def _differs(known: dict[Scope, str], view: Look) -> bool:
    return _present(view) != known


def _present(view: Look) -> dict[Scope, str]:
    return {suspension.scope: suspension.mode for suspension in view.state.suspensions.present()}


def _note_changes(before: dict[Scope, str], now: dict[Scope, str]) -> dict[Scope, str]:
    for scope, mode in now.items():
        if before.get(scope) != mode:
            tell("suspension.set", f"{scope} is {mode}", status=mode)
    for scope in before.keys() - now.keys():
        tell("suspension.lifted", f"{scope} goes on", status="lifted")
    return now
