"""What a reviewer must see of an action, as a frozen value: the request itself, and what has become of it.

The request half is read from the entry of the request and its payloads alone, wherever they come from: the
ledger, or a file that was carried to another machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, assert_never

from keyturn import canon
from keyturn.approvals import life
from keyturn.approvals.action import Action, Tally, status, tallies
from keyturn.approvals.statement import REASON_FIELD
from keyturn.canon import Json
from keyturn.gateway.desk import Look
from keyturn.gateway.envelope import describe, describe_denied
from keyturn.gateway.finding import entries_of, find, find_beginning
from keyturn.gateway.payloads import ARGUMENT, RISK, left_of_plan, read_reasons, read_value
from keyturn.gateway.undone import undo_of
from keyturn.log.entry import Entry
from keyturn.model.decision import Reason
from keyturn.model.errors import LedgerError, Refused
from keyturn.model.plan import Plan, plan_from_json
from keyturn.model.risk import Risk, risk_from_json
from keyturn.model.time import format_timestamp

Payload: TypeAlias = Callable[[str], bytes | None]
"""Returns a payload of the request by its field; it has opened its commitment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked, as the digest binds it.

    arguments  what the assistant gave the tool, without `reason`
    reason     why it asks, in its own words ("" when it gave none)
    client     the label its program gave itself; never identity
    reasons    why the policy decided as it did
    risk       the score it gave; None where it gives none, or where that was erased
    """

    entry: Entry
    action: Action
    plan: Plan
    arguments: Mapping[str, Json]
    reason: str
    client: str
    reasons: tuple[Reason, ...]
    risk: Risk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One person's recorded review, with the reason they gave."""

    reviewer: str
    verdict: str
    reason: str
    key: str
    at: datetime
    seq: int
    present: bool | None
    pinned: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An action as a reviewer sees it at `now`.

    `tallies` stand as of `now`, or of the expiry once that has passed; `envelope` is what the assistant is told.
    `undone_by` is the action that undoes it or has undone it, if there is one.
    """

    asked: Asked
    action: Action
    state: str
    now: datetime
    words: tuple[Word, ...]
    tallies: tuple[Tally, ...]
    envelope: Mapping[str, Json]
    history: tuple[Entry, ...]
    undone_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRefusal:
    """A call that was refused: there is no plan, and what the arguments held was not kept."""

    entry: Entry
    now: datetime
    reasons: tuple[Reason, ...]
    envelope: Mapping[str, Json]


def show(view: Look, action_id: str) -> Shown | ShownRefusal:
    """Return everything there is to see of an action, open, over or refused. Raises `Refused` ("not_found")."""
    begin = find_beginning(view, action_id)
    if begin is not None and begin.kind == "action.denied":
        return show_refusal(view, begin)
    action = find(view, action_id)
    if begin is None or action is None:
        raise Refused("not_found", f"there is no action {action_id}")
    history = entries_of(view, action)
    undoing = undo_of(view, action.id)
    return Shown(
        asked=asked_in(view, begin),
        action=action,
        state=status(action, view.now),
        now=view.now,
        words=tuple(_words(view, action, history)),
        tallies=tallies(action, min(view.now, action.expires_at)),
        envelope=describe(view, action, history=history),
        history=tuple(history),
        undone_by=None if undoing is None else undoing.id,
    )


def show_refusal(view: Look, entry: Entry) -> ShownRefusal:
    """Return what was recorded of a refused call."""
    return ShownRefusal(
        entry=entry, now=view.now, reasons=read_reasons(view, entry), envelope=describe_denied(view, entry)
    )


def asked_in(view: Look, entry: Entry) -> Asked:
    """Return what the entry of a request asks, in the ledger."""
    return read_asked(entry, lambda field: view.payload(entry, field))


def read_asked(entry: Entry, payload: Payload) -> Asked:
    """Return what the entry of a request asks, as far as it was not erased. Raises `LedgerError` for no request."""
    if not {"plan", "diff"} <= entry.data.keys():
        raise LedgerError(f"entry {entry.seq} has no plan")
    plan = left_of_plan(entry) if payload("plan") is None else _value(payload, "plan")
    if not isinstance(plan, dict):
        raise LedgerError(f"entry {entry.seq} has no plan")
    names = [field.removeprefix(ARGUMENT) for field in entry.data if field.startswith(ARGUMENT)]
    stored: Any = _value(payload, "decision.values") or []
    return Asked(
        entry=entry,
        action=life.requested(entry),
        plan=plan_from_json(plan, (payload("diff") or b"").decode("utf-8")),
        arguments={name: _value(payload, ARGUMENT + name) for name in names},
        reason=str(_value(payload, "reason") or ""),
        client=str(_value(payload, "client") or ""),
        reasons=tuple(Reason(item["code"], item["text"], item["rule"]) for item in stored),
        risk=risk_from_json(_value(payload, RISK)) if RISK in entry.data else None,
    )


def details(shown: Shown | ShownRefusal) -> dict[str, Json]:
    """Return everything shown as JSON: the envelope, and the fields a reviewer decides on beside it."""
    match shown:
        case ShownRefusal(entry=entry):
            return {**shown.envelope, "requested_at": format_timestamp(entry.at), **_refused_facts(entry)}
        case Shown():
            return {
                **shown.envelope,
                **request_details(shown.asked),
                "obligations": [_tally(tally) for tally in shown.tallies],
                "words": [_word(word) for word in shown.words],
                "undone_by": shown.undone_by,
                "history": [_happened(entry) for entry in shown.history],
            }
        case never:
            assert_never(never)


def request_details(asked: Asked) -> dict[str, Json]:
    """Return the request as JSON: what the digest binds."""
    action, plan = asked.action, asked.plan
    return {
        "action_id": action.id,
        "digest": action.digest,
        "entry": action.seq,
        "log": asked.entry.log,
        "requested_at": format_timestamp(action.requested_at),
        "valid_until": format_timestamp(action.expires_at),
        "tool": action.tool,
        "contract": action.contract,
        "principal": action.principal,
        "owner": action.owner,
        "client": asked.client,
        "reason": asked.reason,
        "arguments": dict(asked.arguments),
        "backend": dict(action.backend),
        "target": action.target,
        "environment": action.environment,
        "policy": action.policy,
        "decision": action.decision,
        "rules": list(action.rules),
        "excluded": list(action.excluded),
        "undoes": action.undoes,
        "asked_by": action.asked_by,
        "effects": dict(action.effects),
        "risk": asked.risk.to_json() if asked.risk else None,
        "facts": dict(plan.facts),
        "view": dict(plan.view),
        "inverse": plan.inverse.to_json() if plan.inverse else None,
        "plan_summary": plan.summary,
        "diff": plan.diff,
    }


def _refused_facts(entry: Entry) -> dict[str, Json]:
    named = ("principal", "owner", "transport", "stage", "arguments_bytes", "policy")
    return {"entry": entry.seq, **{name: entry.facts[name] for name in named}}


def _words(view: Look, action: Action, history: Sequence[Entry]) -> list[Word]:
    entries = {entry.seq: entry for entry in history}
    return [
        Word(
            reviewer=review.reviewer,
            verdict=review.verdict,
            reason=str(read_value(view, entries[review.seq], REASON_FIELD) or ""),
            key=review.key,
            at=review.recorded_at,
            seq=review.seq,
            present=review.present,
            pinned=review.pinned,
        )
        for review in action.reviews
    ]


def _word(word: Word) -> dict[str, Json]:
    return {
        "reviewer": word.reviewer,
        "verdict": word.verdict,
        "reason": word.reason,
        "key": word.key,
        "at": format_timestamp(word.at),
        "entry": word.seq,
        "present": word.present,
        "pinned": word.pinned,
    }


def _tally(tally: Tally) -> dict[str, Json]:
    obligation = tally.obligation
    return {
        **life.obligation_to_json(obligation),
        "approved": list(tally.approved),
        "rejected": list(tally.rejected),
        "eligible": list(tally.eligible),
        "missing": tally.missing,
    }


def _happened(entry: Entry) -> dict[str, Json]:
    return {"entry": entry.seq, "kind": entry.kind, "at": format_timestamp(entry.at)}


def _value(payload: Payload, field: str) -> Json:
    data = payload(field)
    return None if data is None else canon.decode(data)
