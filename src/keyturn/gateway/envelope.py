"""The one envelope: what an assistant is told about an action, whatever became of it.

Its schema is the `output` of every contract. Text from people and from the systems acted on is bounded, cleaned of
control characters and quoted: data for the model, never instructions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn.approvals.action import TERMINAL, Action, status, tallies
from keyturn.canon import Json
from keyturn.gateway.desk import Look
from keyturn.gateway.finding import entries_of, find
from keyturn.gateway.payloads import read_reasons, read_summary, read_value
from keyturn.log.entry import Entry
from keyturn.model.decision import Reason
from keyturn.model.errors import Refused
from keyturn.model.text import clean
from keyturn.model.time import format_timestamp

ERRORS = frozenset({"denied", "failed", "expired", "rejected", "stale", "unknown", "cancelled"})
_CLIP = {"message": 8000, "plan_summary": 8000, "reason": 4000, "rule": 400, "target": 1000}
NOT_KEPT = "what was wrong was told to the caller; it may repeat what the arguments held, and is not kept"
"""What stands in place of a refusal's own sentence."""
_POLL_MS = {"pending": 5000, "approved": 500, "running": 500}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call returns: the envelope, whether it is an error to the model, and the entry that proves it."""

    envelope: Mapping[str, Json]
    is_error: bool
    receipt: Entry | None


def build(
    *,
    tool: str,
    status: str,
    message: str,
    action_id: str | None = None,
    reasons: Sequence[Reason] = (),
    target: str | None = None,
    environment: str | None = None,
    plan_summary: str | None = None,
    reviews: Mapping[str, Json] | None = None,
    expires_at: datetime | None = None,
    repeated: bool = False,
    result: Mapping[str, Json] | None = None,
    by_hand: bool = False,
) -> dict[str, Json]:
    """Return an envelope with every field of the contract's output present.

    `by_hand` says of an approved action that it waits for a person to sign for its execution.
    """
    return {
        "action_id": action_id,
        "tool": tool,
        "status": status,
        "terminal": status in TERMINAL,
        "message": clean(message, _CLIP["message"]),
        "reasons": [_reason(reason) for reason in reasons[:200]],
        "target": None if target is None else clean(target, _CLIP["target"]),
        "environment": environment,
        "plan_summary": None if plan_summary is None else clean(plan_summary, _CLIP["plan_summary"]),
        "reviews": reviews,
        "expires_at": None if expires_at is None else format_timestamp(expires_at),
        "resource": None if action_id is None else f"action://{action_id}",
        "poll_after_ms": _POLL_MS["pending"] if by_hand else _POLL_MS.get(status),
        "repeated": repeated,
        "result": result,
    }


def describe(view: Look, action: Action, *, repeated: bool = False, history: Sequence[Entry] = ()) -> dict[str, Json]:
    """Return the envelope of an action as it stands now.

    `history` is the action's entries where they are at hand; without it they are looked up once it is over.
    """
    state = status(action, view.now)
    request = view.entry(action.seq)
    entries = history or (entries_of(view, action) if state not in {"pending", "approved", "running"} else ())
    reasons = read_reasons(view, request) + _later_reasons(view, entries)
    known = AtHand(read_summary(view, request), reasons, result_of(view, entries))
    return _described(action, known, view.now, repeated=repeated)


@dataclass(frozen=True, slots=True)
class AtHand:
    """What the payloads of an action's entries hold: summary of its plan, all reasons so far, and its result."""

    summary: str
    reasons: tuple[Reason, ...]
    result: Mapping[str, Json] | None = None

    def ended(self, outcome: Mapping[str, Json]) -> AtHand:
        """Return the same with an outcome, as its payload says it."""
        result = outcome.get("result")
        shown = dict(result) if isinstance(result, Mapping) and result else None
        return AtHand(self.summary, (*self.reasons, *_outcome_reasons(outcome)), shown)


def describe_at_hand(action: Action, known: AtHand, now: datetime) -> dict[str, Json]:
    """Return the envelope of an action whose payloads need not be read: this process has just written them."""
    return _described(action, known, now, repeated=False)


def _described(action: Action, known: AtHand, now: datetime, *, repeated: bool) -> dict[str, Json]:
    state = status(action, now)
    return build(
        tool=action.tool,
        status=state,
        message=_message(action, state, known.reasons, now, repeated=repeated),
        action_id=action.id,
        reasons=known.reasons,
        target=action.target,
        environment=action.environment,
        plan_summary=known.summary if action.undoes is None else f"To undo {action.undoes}: {known.summary}",
        reviews=review_counts(action, now),
        expires_at=action.expires_at if state in {"pending", "approved"} else None,
        repeated=repeated,
        result=known.result,
        by_hand=state == "approved" and action.waits_for_a_hand,
    )


def describe_denied(view: Look, entry: Entry) -> dict[str, Json]:
    """Return the envelope of a recorded refusal."""
    reasons = read_reasons(view, entry)
    return build(
        tool=entry.optional_text("tool") or "unknown",
        status="denied",
        message=f"Refused: {refusal_in_words(view, entry)}. Nothing was done.",
        action_id=entry.action,
        reasons=reasons,
        target=entry.optional_text("target"),
        environment=entry.optional_text("environment"),
    )


def refusal_in_words(view: Look, entry: Entry) -> str:
    """Tell a recorded refusal by what is kept of it: the tool, and each code with its rule or its sentence."""
    tool = entry.optional_text("tool") or "a tool that is not there"
    told = dict.fromkeys(_why(reason) for reason in read_reasons(view, entry))
    return f"{tool}: {'; '.join(told)}"


def _why(reason: Reason) -> str:
    if reason.text != NOT_KEPT:
        return reason.text
    if reason.rule is None:
        return reason.code
    rule = f"“{clean(reason.rule, _CLIP['rule'])}”"
    return f"forbidden by {rule}" if reason.code == "forbidden" else f"{reason.code} ({rule})"


def envelope_of(view: Look, entry: Entry) -> dict[str, Json]:
    """Return the envelope of the action or the refused call that an entry begins."""
    if entry.kind == "action.denied":
        return describe_denied(view, entry)
    action = find(view, entry.action or "")
    if action is None:
        raise Refused("not_found", f"there is no action {entry.action}")
    return describe(view, action, history=entries_of(view, action))


def answer(view: Look, action: Action, *, repeated: bool = False) -> Answer:
    """Return the answer about an action, with its newest entry as receipt."""
    history = entries_of(view, action)
    envelope = describe(view, action, repeated=repeated, history=history)
    return Answer(envelope, envelope["status"] in ERRORS, history[-1])


def review_counts(action: Action, now: datetime) -> dict[str, Json] | None:
    """Return how many approvals there are and how many it takes, over all obligations."""
    if not action.obligations:
        return None
    counts = tallies(action, min(now, action.expires_at))
    return {
        "have": sum(min(len(count.approved), count.obligation.quorum) for count in counts),
        "need": sum(count.obligation.quorum for count in counts),
        "from": sorted({source for count in counts for source in count.obligation.sources}),
    }


def result_of(view: Look, history: Sequence[Entry]) -> dict[str, Json] | None:
    """Return the result the tool reported, when one is recorded."""
    for entry in reversed(history):
        if entry.kind in {"execution.finished", "execution.resolved"}:
            value = read_value(view, entry, "outcome")
            result = value.get("result") if isinstance(value, Mapping) else None
            return dict(result) if isinstance(result, Mapping) and result else None
    return None


def _reason(reason: Reason) -> dict[str, Json]:
    return {
        "code": clean(reason.code, 100),
        "rule": None if reason.rule is None else clean(reason.rule, _CLIP["rule"]),
        "text": clean(reason.text, _CLIP["reason"]),
    }


def _later_reasons(view: Look, history: Sequence[Entry]) -> tuple[Reason, ...]:
    found: list[Reason] = []
    for entry in history:
        match entry.kind:
            case "action.reviewed" if entry.facts["verdict"] == "reject":
                found.append(Reason("rejected", _quoted(entry.text("reviewer"), view, entry, "review.reason")))
            case "action.cancelled":
                found.append(Reason("cancelled", _quoted(_actor(entry), view, entry, "cancel.reason")))
            case "action.stale":
                found += [Reason("stale", str(text)) for text in _list(read_value(view, entry, "stale.moved"))]
            case "execution.finished":
                found += _outcome_reasons(read_value(view, entry, "outcome"))
            case "execution.resolved":
                found.append(Reason("resolved", _RESOLVED[entry.text("method")]))
    return tuple(found)


def _outcome_reasons(outcome: Any) -> list[Reason]:
    value: Mapping[str, Any] = outcome if isinstance(outcome, Mapping) else {}
    moved = [Reason("stale", str(text)) for text in _list(value.get("moved"))]
    return moved + ([Reason("outcome", str(value["reason"]))] if value.get("reason") else [])


def _quoted(who: str, view: Look, entry: Entry, field: str) -> str:
    words = read_value(view, entry, field)
    return f"{who} said: “{clean(str(words), 1000)}”" if words else f"{who} gave no reason"


def _actor(entry: Entry) -> str:
    by: Any = entry.facts["by"]
    return f"{by['type']} {by['name']}"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _message(action: Action, state: str, reasons: Sequence[Reason], now: datetime, *, repeated: bool) -> str:
    known = _REPEATED if action.undoes is None else _UNDOES
    again = known.format(at=format_timestamp(action.requested_at), undoes=action.undoes) if repeated else ""
    return again + _told(action, state, reasons, now)


def _told(action: Action, state: str, reasons: Sequence[Reason], now: datetime) -> str:
    why = "; ".join(reason.text for reason in reasons if reason.code in _EXPLAINS) or "see reasons"
    counts = review_counts(action, now) or {"have": 0, "need": 0}
    settled = next((reason.text for reason in reasons if reason.code == "resolved"), None)
    if settled is not None:
        return f"It {state}: {settled}."
    words = _BY_HAND if state == "approved" and action.waits_for_a_hand else _MESSAGES[state]
    return words.format(
        why=why, have=counts["have"], need=counts["need"], expires=format_timestamp(action.expires_at)
    )


_REPEATED = (
    "Nothing was done now: this is the answer to your identical request of {at}. "
    "If it has to be done again, say so with repeat=true. Of that request: "
)
_UNDOES = "Nothing was done now: this was asked for at {at}, and undoes action {undoes}. Of that request: "
_RESOLVED = {
    "probe": "it was unknown at first; a later look at the system settled it",
    "operator": "it was unknown; an operator settled it with a signed word, not by reading the system",
}
_BY_HAND = (
    "Allowed; a person has to sign for its execution, and it runs then. Follow it with get_action and wait_seconds; "
    "do not call the tool again. It expires at {expires}, which is a no."
)
_EXPLAINS = frozenset({"rejected", "cancelled", "stale", "outcome"})
_MESSAGES = {
    "pending": (
        "Waiting for people: {have} of {need} reviews. Follow it with get_action and wait_seconds; "
        "do not call the tool again. It expires at {expires}, which is a no."
    ),
    "approved": "Allowed; it runs as soon as nothing is in its way. Follow it with get_action and wait_seconds.",
    "running": "Running now. Follow it with get_action and wait_seconds; do not call the tool again.",
    "succeeded": "Done, and read back from the system.",
    "failed": "It failed: {why}.",
    "unknown": (
        "The outcome is unknown: it may or may not have happened ({why}). Do not retry; "
        "it is settled by reading the system or by an operator."
    ),
    "shadowed": "Recorded in shadow mode: it would have been judged as the reasons say, and was not executed.",
    "rejected": "A reviewer said no: {why}.",
    "expired": "It expired at {expires} without the reviews it needs; nothing was done.",
    "cancelled": "It was cancelled: {why}. Nothing was done.",
    "stale": "The world is no longer the one that was planned or reviewed: {why}. Nothing was done; ask again.",
}
