"""Payload fields of entries: what stands apart from the facts, as canonical bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from keyturn import canon
from keyturn.canon import Json
from keyturn.fold.state import State
from keyturn.ledger.transaction import View
from keyturn.log.entry import Entry
from keyturn.model.decision import Reason
from keyturn.model.errors import LedgerError
from keyturn.model.outcome import Failed, Outcome, Stale, Succeeded, Unknown
from keyturn.model.plan import Plan, plan_from_json
from keyturn.model.risk import Risk

ARGUMENT = "argument."
RISK = "risk"
ERASED = "(erased)"
"""Shown in the place of words that were erased."""


def request_payloads(arguments: Mapping[str, Json], plan: Plan, reason: str, client: str) -> dict[str, bytes]:
    """Return the payloads of `action.requested`: each argument, the reason, plan, diff and the client's label."""
    fields = {f"{ARGUMENT}{name}": canon.encode(value) for name, value in arguments.items()}
    fields["plan"] = canon.encode(plan.to_json())
    fields["diff"] = plan.diff.encode("utf-8")
    fields["reason"] = canon.encode(reason)
    fields["client"] = canon.encode(client)
    return fields


def unrecordable(plan: Plan) -> str | None:
    """Say what in a plan no payload can hold, None where all fits: much of it is what another system answered."""
    try:
        canon.check({**plan.to_json(), "diff": plan.diff}, "plan")
    except canon.CanonError as error:
        return str(error)
    return None


def read_arguments(view: View[State], entry: Entry) -> dict[str, Json]:
    """Return the arguments of a requested action."""
    names = [name for name in entry.data if name.startswith(ARGUMENT)]
    return {name.removeprefix(ARGUMENT): read_value(view, entry, name) for name in names}


def read_plan(view: View[State], entry: Entry) -> Plan:
    """Return the plan of a requested action, diff included. Raises `LedgerError` where either was erased."""
    plan = read_value(view, entry, "plan")
    diff = view.payload(entry, "diff")
    if not isinstance(plan, dict) or diff is None:
        raise LedgerError(f"entry {entry.seq} has no plan, or it was erased")
    return plan_from_json(plan, diff.decode("utf-8"))


def read_summary(view: View[State], entry: Entry) -> str:
    """Return what the plan of a request says in a sentence, for showing."""
    plan = read_value(view, entry, "plan")
    return str(plan["summary"]) if isinstance(plan, dict) else ERASED


def left_of_plan(entry: Entry) -> dict[str, Json]:
    """Return what the facts of a request tell of its plan, in the form of one, where the plan was erased."""
    facts: Mapping[str, Any] = entry.facts
    kept = {name: facts[name] for name in ("tool", "target", "backend", "environment")}
    effects = {name: count for name, count in facts["effects"].items() if name != "calls"}
    nothing: dict[str, Json] = {"view": {}, "facts": {}, "guard": {}, "change": {}, "inverse": None}
    return {**kept, "summary": ERASED, "effects": effects, **nothing}


def read_value(view: View[State], entry: Entry, field: str) -> Json:
    """Return a payload as a value; None when the entry has no such field."""
    data = view.payload(entry, field)
    return None if data is None else canon.decode(data)


def reasons_payload(reasons: Sequence[Reason]) -> dict[str, bytes]:
    """Return the payload that holds the sentences and values behind a decision's codes."""
    return {"decision.values": canon.encode([reason.to_json() for reason in reasons])}


def risk_payload(risk: Risk | None) -> dict[str, bytes]:
    """Return the payload that holds the score of a request part by part; nothing where the policy does not score."""
    return {} if risk is None else {RISK: canon.encode(risk.to_json())}


def read_reasons(view: View[State], entry: Entry) -> tuple[Reason, ...]:
    """Return the reasons stored with a decision."""
    stored: Any = read_value(view, entry, "decision.values") or []
    return tuple(Reason(item["code"], item["text"], item["rule"]) for item in stored)


def outcome_payload(outcome: Outcome) -> dict[str, bytes]:
    """Return the payload of an outcome: result, reason and what moved."""
    return {"outcome": canon.encode(outcome_value(outcome))}


def outcome_value(outcome: Outcome) -> dict[str, Json]:
    """Return what the payload of an outcome says."""
    match outcome:
        case Succeeded(result):
            return {"result": result}
        case Failed(reason, _, result):
            return {"reason": reason, "result": result}
        case Stale(moved):
            return {"moved": list(moved)}
        case Unknown(reason):
            return {"reason": reason}
        case never:
            assert_never(never)
