"""Recording refusals: one entry each, up to ten per principal and minute; the rest as one count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from keyturn.canon import Json
from keyturn.gateway.core import Gateway, Job, Look, Suppressed
from keyturn.gateway.envelope import NOT_KEPT, Answer, build
from keyturn.gateway.payloads import reasons_payload
from keyturn.log.entry import Entry
from keyturn.model.decision import Reason
from keyturn.model.principal import Caller
from keyturn.model.time import format_timestamp

PER_MINUTE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call that was refused: where on the path, why, and how large its arguments were (never what they held).

    `retry_at` is when the same request would fit its limits again, where waiting helps; told, not recorded.
    """

    caller: Caller
    tool: str | None
    stage: str
    reasons: Sequence[Reason]
    arguments_bytes: int
    target: str | None = None
    environment: str | None = None
    retry_at: datetime | None = None


def refuse(gate: Gateway, refusal: Refusal) -> Answer:
    """Record a refusal in a transaction of its own, or count it where there are too many, and answer it."""
    counted = gate.ledger.look(lambda view: _counted(gate, view, refusal))
    return counted or gate.ledger.transact(lambda tx: record(gate, tx, refusal))


async def refused(gate: Gateway, refusal: Refusal) -> Answer:
    """Record a refusal and answer it, as `refuse`, from the event loop."""
    counted = await gate.ferry.look(lambda view: _counted(gate, view, refusal))
    return await gate.ferry.transact(lambda tx: record(gate, tx, refusal)) if counted is None else counted


def record(gate: Gateway, tx: Job, refusal: Refusal) -> Answer:
    """Record a refusal inside the caller's transaction and answer it.

    Above the rate nothing is written now: the count follows as one `requests.throttled`.
    """
    if (counted := _counted(gate, tx, refusal)) is not None:
        return counted
    flush(gate, tx, refusal.caller.principal)
    action = gate.new_id(tx.now)
    entry = tx.append(
        "action.denied", _facts(gate, tx, refusal), action=action, data=reasons_payload(_kept(refusal.reasons))
    )
    return _answer(refusal, action, entry)


def _counted(gate: Gateway, view: Look, refusal: Refusal) -> Answer | None:
    """Count a refusal and answer it where its principal has had its share of recorded ones, or return None.

    No transaction is needed for that: a flood costs others no commit.
    """
    principal = refusal.caller.principal
    if view.state.denials_since(principal, view.now) < PER_MINUTE:
        return None
    _suppress(gate, view, principal, refusal.reasons[0].code)
    return _answer(refusal, None, view.newest_of(principal))


def flush(gate: Gateway, tx: Job, principal: str) -> None:
    """Write the count of refusals of `principal` that were not recorded one by one, if there are any."""
    counted = _not_written(gate, tx, principal)
    if counted is not None:
        facts: dict[str, Json] = {
            "principal": principal,
            "count": counted.count,
            "code": counted.code,
            "since": format_timestamp(counted.since),
            "until": format_timestamp(counted.until),
        }
        entry = tx.append("requests.throttled", facts)
        counted.written = entry.seq, entry.leaf


def _not_written(gate: Gateway, view: Look, principal: str) -> Suppressed | None:
    """Return the count that no durable entry tells yet: an entry whose commit failed has told nothing."""
    counted = gate.suppressed.get(principal)
    if counted is None or counted.written is None:
        return counted
    seq, leaf = counted.written
    if view.head.size > seq and view.entry(seq).leaf == leaf:
        del gate.suppressed[principal]
        return None
    counted.written = None
    return counted


def flush_all(gate: Gateway) -> None:
    """Write every count that is due: a server does so every minute and on shutdown."""
    for principal in list(gate.suppressed):
        gate.ledger.transact(partial(_flush_one, gate, principal))


def _flush_one(gate: Gateway, principal: str, tx: Job) -> None:
    flush(gate, tx, principal)


def _suppress(gate: Gateway, view: Look, principal: str, code: str) -> None:
    counted = _not_written(gate, view, principal) or Suppressed(0, code, view.now, view.now)
    gate.suppressed[principal] = counted
    counted.count += 1
    counted.until = view.now


_TELLS_NO_ARGUMENT = frozenset(
    {
        "clock",
        "frozen",
        "limit",
        "read_only",
        "risk",
        "scope",
        "suspended",
        "token",
        "unknown_principal",
        "unknown_tool",
    }
)


def _kept(reasons: Sequence[Reason]) -> list[Reason]:
    """Return the reasons as they are stored: refused arguments are not, and a sentence could quote them."""
    return [reason if reason.code in _TELLS_NO_ARGUMENT else replace(reason, text=NOT_KEPT) for reason in reasons]


def _facts(gate: Gateway, tx: Job, refusal: Refusal) -> dict[str, Json]:
    policy = gate.policies.in_force(tx)
    known = policy.principals.get(refusal.caller.principal)
    return {
        "principal": refusal.caller.principal,
        "owner": known.owner if known else None,
        "token": refusal.caller.token,
        "transport": refusal.caller.transport,
        "tool": refusal.tool,
        "stage": refusal.stage,
        "codes": [{"code": reason.code, "rule": reason.rule} for reason in refusal.reasons[:64]],
        "arguments_bytes": refusal.arguments_bytes,
        "policy": policy.digest,
        "target": refusal.target,
        "environment": refusal.environment,
    }


def _answer(refusal: Refusal, action: str | None, receipt: Entry | None) -> Answer:
    why = "; ".join(reason.text for reason in refusal.reasons)
    envelope = build(
        tool=refusal.tool or "unknown",
        status="denied",
        message=f"Refused: {why}. Nothing was done.",
        action_id=action,
        reasons=refusal.reasons,
        target=refusal.target,
        environment=refusal.environment,
        result=None if refusal.retry_at is None else {"retry_at": format_timestamp(refusal.retry_at)},
    )
    return Answer(envelope, is_error=True, receipt=receipt)
