"""Anchoring before an effect: the intent is seen outside first, or nothing is done.

A grant with `anchor = "before"` asks for it. The effect begins only once every anchor that must have the intent is
recorded to have it; so an intent that no anchor is recorded for never led to an effect.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio.to_thread

from keyturn.approvals.action import Action
from keyturn.gateway.claim import Claimed
from keyturn.gateway.core import Gateway, Look
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.model.errors import LedgerError
from keyturn.model.outcome import Failed

RECORDED = "anchor.recorded"
NO_ANCHOR = "this process has no anchor that must have it"
_CHUNK = 256  # entries looked at a time

_log = logging.getLogger(__name__)


async def unanchored(gate: Gateway, claimed: Claimed, say: Callable[[str], None]) -> Failed | None:
    """Have an intent anchored where its rule asks for that; return the failure where it could not be: nothing ran.

    Raises `LedgerError` where an anchor contradicts the ledger.
    """
    if claimed.before is None:
        return None
    say("its intent is being anchored")
    problem = NO_ANCHOR if gate.cover is None else await _covered(gate.cover, claimed.before)
    if problem is None:
        return None
    return Failed(f"nothing was done: its intent has to be anchored first, and was not: {problem}", effect=False)


async def _covered(cover: Callable[[int], str | None], intent: int) -> str | None:
    try:
        return await anyio.to_thread.run_sync(cover, intent)
    except LedgerUnavailable as error:
        return str(error)
    except LedgerError:
        raise
    except Exception:  # noqa: BLE001 - a fault in an anchor's client, before anything was done
        _log.exception("anchoring entry %d", intent)
        return "an internal error interrupted it"


def never_begun(gate: Gateway, view: Look, action: Action) -> Failed | None:
    """Return that nothing was done, where the ledger proves it; None where only a probe could.

    It proves that of an intent whose rule asks for an anchor first, and that none is recorded for. What a restored
    copy has lost may have held the record: then it proves nothing.
    """
    if action.started is None:
        return None
    intent, restored = action.started.seq, view.state.restored
    lost = restored is not None and restored.seq > intent
    if lost or not _asked_for(gate, view, action, intent) or _recorded_since(view, intent):
        return None
    return Failed("it never began: no anchor had its intent, and its rule asks for that first", effect=False)


def _asked_for(gate: Gateway, view: Look, action: Action, intent: int) -> bool:
    """Say whether its rule asked for an anchor as it began, as far as the policy of then is the one in force."""
    policy = gate.policies.in_force(view)
    return view.entry(intent).facts["policy"] == policy.digest and policy.anchors_before(action.rules)


def _recorded_since(view: Look, intent: int) -> bool:
    """Say whether an anchor is recorded to have an intent, by the entries themselves."""
    for begin in range(intent + 1, view.head.size, _CHUNK):
        for entry in view.entries(begin, min(begin + _CHUNK, view.head.size)):
            facts: Any = entry.facts
            if entry.kind == RECORDED and facts["size"] > intent:
                return True
    return False
