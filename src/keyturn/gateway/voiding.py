"""Voiding: an action that was asked for becomes stale before it has begun, and the ledger says why."""

from __future__ import annotations

from collections.abc import Sequence

from keyturn import canon
from keyturn.approvals.action import Action
from keyturn.canon import Json
from keyturn.gateway.desk import Job
from keyturn.log.entry import Entry
from keyturn.model.decision import Reason

_MOST_CODES = 64  # as many as `action.stale` holds


def void(tx: Job, action: Action, reasons: Sequence[Reason]) -> Entry:
    """Append `action.stale` for an action that may not begin any more."""
    facts: dict[str, Json] = {
        "stage": "claim",
        "codes": [reason.code for reason in reasons[:_MOST_CODES]],
        "superseded_by": None,
    }
    moved = canon.encode([reason.text for reason in reasons])
    return tx.append("action.stale", facts, action=action.id, data={"stale.moved": moved})
