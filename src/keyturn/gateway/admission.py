"""Admitting: the entry of a request that the policy lets in, and of the intent where it may begin at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from keyturn.approvals.action import Action
from keyturn.approvals.life import obligation_to_json
from keyturn.canon import Json
from keyturn.fold.signatures import Act
from keyturn.fold.story import tell
from keyturn.fold.undoing import UNDO, undo_digest
from keyturn.gateway.claim import Claimed, Planned, Taken, start_permitted
from keyturn.gateway.core import Gateway, Job
from keyturn.gateway.envelope import ERRORS, Answer, AtHand, describe_at_hand
from keyturn.gateway.incoming import Call, facts_of
from keyturn.gateway.payloads import reasons_payload, request_payloads, risk_payload
from keyturn.gateway.voiding import supersede
from keyturn.log.commitment import commit
from keyturn.log.entry import Entry, EntryError
from keyturn.model.decision import Deny, Hold, Obligation, Permit, Reason, Shadow
from keyturn.model.errors import Refused
from keyturn.model.plan import Plan
from keyturn.model.time import format_timestamp
from keyturn.policy.costs import COST, RUNTIME


@dataclass(frozen=True, slots=True)
class Admission:
    """A planned call with what the policy said to it, and the waiting action whose place it takes, if any."""

    call: Call
    plan: Plan
    decision: Permit | Hold | Shadow
    supersedes: Action | None


def admit(gate: Gateway, tx: Job, admission: Admission, taken: Taken | None) -> Answer | Claimed:
    """Append the request, and its intent where `taken` has room and it may begin here and now."""
    action_id = gate.new_id(tx.now)
    if admission.supersedes is not None:
        supersede(tx, admission.supersedes, action_id)
    call, plan, decision = admission.call, admission.plan, admission.decision
    gate.repeats.give(action_id, call.plain)
    entry = _append(gate, tx, admission, action_id)
    if isinstance(decision, Shadow):
        finished = _finish_in_shadow(tx, action_id)
        return answer_at_hand([entry, finished], AtHand(plan.summary, decision.reasons), tx.now)
    entries = (entry, *_append_beside(gate, tx, decision, entry))
    if taken is not None and isinstance(decision, Permit):
        planned = Planned(entries, plan, call.reason, decision.reasons)
        claimed = start_permitted(gate, tx, told_by(entries), planned, taken)
        if claimed is not None:
            return claimed
    return answer_at_hand(entries, AtHand(plan.summary, decision.reasons), tx.now)


def _append_beside(gate: Gateway, tx: Job, decision: Permit | Hold, request: Entry) -> Iterator[Entry]:
    """Append what the action reserves beside its effects, and that a person has to sign for its execution."""
    reserved = gate.policies.in_force(tx).reserved_by(request.text("tool"))
    if reserved:
        amounts: dict[str, Json] = {unit: reserved.get(unit, 0) for unit in (COST, RUNTIME)}
        yield tx.append("action.reserved", {"amounts": amounts}, action=request.action)
    if decision.manual:
        yield tx.append("action.withheld", {"rules": list(decision.manual)}, action=request.action)


def _append(gate: Gateway, tx: Job, admission: Admission, action_id: str) -> Entry:
    call = admission.call
    data = request_payloads(call.plain, admission.plan, call.reason, call.caller.client)
    data |= reasons_payload(admission.decision.reasons) | risk_payload(admission.decision.risk)
    facts = _facts(gate, tx, admission)
    if call.undoes is None:
        return tx.append("action.requested", facts, action=action_id, data=data)
    facts["undoes"] = call.undoes.to_json()
    if call.signed is None:
        return tx.append("action.undoing", {**facts, "act": None}, action=action_id, data=data)
    facts |= {"token": None, "act": dict(call.signed.act)}
    return tx.append("action.undoing", facts, action=action_id, data=data, salts=call.signed.salts)


def _facts(gate: Gateway, tx: Job, admission: Admission) -> dict[str, Json]:
    call, plan, decision = admission.call, admission.plan, admission.decision
    policy = gate.policies.in_force(tx)
    held = decision if isinstance(decision, Hold) else None
    expires = tx.now if isinstance(decision, Shadow) else decision.expires_at
    return {
        **facts_of(call, plan, policy, decision.environment),
        "decision": type(decision).__name__.lower(),
        "rules": list(decision.rules),
        "obligations": [obligation_to_json(item) for item in held.obligations] if held else [],
        "reviewers": {name: list(lines) for name, lines in held.reviewers.items()} if held else {},
        "excluded": list(held.excluded) if held else [],
        "effects": {"calls": 1, **plan.effects.to_json()},
        "expires_at": format_timestamp(expires),
        "repeat": call.repeat,
        "supersedes": admission.supersedes.id if admission.supersedes else None,
    }


def act_asking(call: Call, plan: Plan) -> Act:
    """Return what a person's act must say to ask for this call with this plan. Raises `Refused` for others."""
    if call.undoes is None or call.signed is None:
        raise Refused("not_signed", "a person asks for undoing something, by signature, and for nothing else")
    data = request_payloads(call.plain, plan, call.reason, call.caller.client)
    payloads = {name: commit(call.signed.salts[name], name, value) for name, value in data.items()}
    content = undo_digest(call.undoes.digest, call.contract.tool, payloads)
    return Act(verb=UNDO, object=call.undoes.action, digest=content)


def without_asker(decision: Hold, by: str) -> Hold | Deny:
    """Leave the person who asks out of those who may review; refuse what nobody could approve then."""
    for due in decision.obligations:
        able = _able(due) - {by, *decision.excluded}
        if len(able) < due.quorum:
            text = (
                f'"{due.rule}" asks for {due.quorum} of {", ".join(due.sources)}, and {by}, who asks for it, may not '
                f"be one of them: {len(able)} would be left; let somebody else ask, or the assistant"
            )
            return Deny(reasons=(Reason("no_reviewer_left", text, due.rule),), environment=decision.environment)
    return replace(decision, excluded=tuple(dict.fromkeys((*decision.excluded, by))))


def _able(due: Obligation) -> set[str]:
    return {*due.reviewers, *(name for step in due.escalations for name in step.reviewers)}


def told_by(entries: Sequence[Entry]) -> Action:
    """Return the action that entries written in this transaction tell."""
    action = tell(entries)
    if action is None:
        raise EntryError("a request was admitted without its entry")
    return action


def answer_at_hand(entries: Sequence[Entry], known: AtHand, now: datetime) -> Answer:
    """Answer about an action of which this process has just written all entries and knows what they hold."""
    envelope = describe_at_hand(told_by(entries), known, now)
    return Answer(envelope, envelope["status"] in ERRORS, entries[-1])


def _finish_in_shadow(tx: Job, action_id: str) -> Entry:
    facts: dict[str, Json] = {"instance": "0" * 32, "outcome": "shadowed", "effect": False, "recovered": False}
    return tx.append("execution.finished", facts, action=action_id)
