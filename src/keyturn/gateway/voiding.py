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
    return _stale(tx, action, reasons, by=None)


def supersede(tx: Job, action: Action, by: str) -> Entry:
    """Append `action.stale` for a waiting action whose place the action `by` takes, of a plan made now."""
    moved = "the same request was made again and the world had moved since this one was planned"
    return _stale(tx, action, [Reason("superseded", moved)], by=by)


def _stale(tx: Job, action: Action, reasons: Sequence[Reason], *, by: str | None) -> Entry:
    facts: dict[str, Json] = {
        "stage": "claim" if by is None else "superseded",
        "codes": [reason.code for reason in reasons[:_MOST_CODES]],
        "superseded_by": by,
    }
    moved = canon.encode([reason.text for reason in reasons])
    return tx.append("action.stale", facts, action=action.id, data={"stale.moved": moved})
