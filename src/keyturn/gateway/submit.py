"""Submitting: screen, plan, and the one transaction that decides and records.

A request is screened without I/O, planned by reads alone, and decided inside `Ledger.transact` on the fold as it is
then: limits, repeats and the decision's entry are one step, for all processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from keyturn import canon
from keyturn.approvals.action import Action, status
from keyturn.approvals.life import obligation_to_json
from keyturn.canon import Json
from keyturn.contracts import RefusedArguments, parse_arguments
from keyturn.contracts.model import ArgumentModel
from keyturn.fold.story import tell
from keyturn.gateway.callers import fallen_token
from keyturn.gateway.claim import Claimed, Planned, Taken, start_permitted, taking
from keyturn.gateway.core import Gateway, Job, Look
from keyturn.gateway.earlier import earlier_action
from keyturn.gateway.envelope import ERRORS, Answer, AtHand, answer, describe_at_hand
from keyturn.gateway.patience import TookTooLong, bounded
from keyturn.gateway.payloads import read_plan, reasons_payload, request_payloads
from keyturn.gateway.refusals import Refusal, record, refuse, refused
from keyturn.gateway.suspensions import suspended
from keyturn.gateway.sweep import NotSwept, sweep
from keyturn.gateway.threads import on_ledger
from keyturn.log.entry import Entry, EntryError
from keyturn.model.contract import Contract
from keyturn.model.decision import Deny, Hold, Permit, Reason, Request, Shadow
from keyturn.model.errors import ConnectorError
from keyturn.model.plan import Plan
from keyturn.model.principal import Caller
from keyturn.model.time import format_timestamp
from keyturn.model.tool import Earlier, EarlierAction
from keyturn.policy import evaluate, screen

APART = frozenset({"reason", "repeat"})
"""Arguments of every governed tool that say something about the request, not about what it does."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A call as it came in: the tool's name, the arguments as decoded, and how many bytes they had."""

    tool: str
    arguments: object
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a governed or reading tool with typed arguments.

    `plain` are the arguments as JSON without `reason` and `repeat`; `size` their bytes as received.
    """

    caller: Caller
    contract: Contract
    arguments: ArgumentModel
    plain: Mapping[str, Json]
    size: int

    @property
    def reason(self) -> str:
        """Why the assistant asks, in its own words."""
        return str(getattr(self.arguments, "reason", ""))

    @property
    def repeat(self) -> bool:
        """Whether the caller wants it done again although it was just done."""
        return bool(getattr(self.arguments, "repeat", False))


def read_call(gate: Gateway, caller: Caller, contract: Contract, incoming: Incoming) -> Call | Answer:
    """Parse the arguments of a call, or refuse it (recorded; what they held is not stored)."""
    parsed = parse_call(gate, caller, contract, incoming)
    return refuse(gate, parsed) if isinstance(parsed, Refusal) else parsed


def parse_call(gate: Gateway, caller: Caller, contract: Contract, incoming: Incoming) -> Call | Refusal:
    """Parse the arguments of a call, or return the refusal to be recorded."""
    parsed = parse_arguments(contract, gate.models[contract.tool], incoming.arguments)
    if isinstance(parsed, RefusedArguments):
        return Refusal(
            caller=caller,
            tool=contract.tool,
            stage="contract",
            reasons=parsed.reasons,
            arguments_bytes=incoming.size,
        )
    plain = {name: value for name, value in parsed.plain().items() if name not in APART}
    return Call(caller=caller, contract=contract, arguments=parsed, plain=plain, size=incoming.size)


def request_of(call: Call, plan: Plan | None = None) -> Request:
    """Return what the policy judges; before planning, what depends on the plan is left open."""
    planned: dict[str, Any] = {}
    if plan is not None:
        planned = {
            "target": plan.target,
            "environment": plan.environment,
            "view": plan.view,
            "effects": {"calls": 1, **plan.effects.to_json()},
        }
    return Request(
        principal=call.caller.principal,
        token_scopes=call.caller.scopes,
        tool=call.contract.tool,
        arguments=call.plain,
        **planned,
    )


def screened_out(gate: Gateway, call: Call) -> Answer | None:
    """Refuse at once what no grant could allow, before anything is read from the world."""
    denied, overdue = gate.ledger.look(lambda view: (screened(gate, view, call), view.state.overdue(view.now)))
    if denied is not None and overdue:
        # What has expired still holds its reservation until its entry is there: it must not be why this is refused.
        gate.ledger.transact(sweep)
        denied = gate.ledger.look(lambda view: screened(gate, view, call))
    if denied is None:
        return None
    return refuse(gate, screening(call, denied))


def screening(call: Call, denied: Deny) -> Refusal:
    """Return the refusal of a call that no grant could allow."""
    return replace(_refusal(call, "screen", denied.reasons), retry_at=denied.retry_at)


def suspension(view: Look, call: Call, environment: str | None) -> Reason | None:
    """Say why an operator's suspension stops a call; `environment` is None while it is not known."""
    tool, governed = call.contract.tool, call.contract.kind == "governed"
    return suspended(view, principal=call.caller.principal, tool=tool, environment=environment, governed=governed)


async def make_plan(gate: Gateway, call: Call) -> Plan | Answer:
    """Plan a governed call, or refuse it when the system acted on says why it cannot be."""
    try:
        tool, earlier = gate.governed[call.contract.tool], await earlier_named(gate, call)
        return await bounded(lambda: tool.plan(call.arguments, earlier), gate.plan_timeout)
    except TookTooLong as error:
        reasons = (Reason("plan_timeout", f"{call.contract.tool} could not be planned: {error}; try again later"),)
        return await refused(gate, _refusal(call, "plan", reasons))
    except ConnectorError as error:
        reasons = (Reason(f"plan_{error.kind}", str(error)),)
        return await refused(gate, _refusal(call, "plan", reasons))


def earlier_of(gate: Gateway, principal: str) -> Earlier:
    """Return what tools may ask about earlier actions: only those of the same principal."""

    def earlier(action_id: str) -> EarlierAction | None:
        return gate.ledger.look(lambda view: earlier_action(view, principal, action_id))

    return earlier


async def earlier_named(gate: Gateway, call: Call) -> Earlier:
    """Return what `earlier_of` returns, with the action that the arguments name looked up already.

    Tools ask from within the event loop, which must not wait for the ledger.
    """
    earlier = earlier_of(gate, call.caller.principal)
    named = getattr(call.arguments, "action_id", None)
    if not isinstance(named, str):
        return earlier
    found = await on_ledger(earlier, named)
    return lambda action_id: found if action_id == named else earlier(action_id)


def screened(gate: Gateway, view: Look, call: Call) -> Deny | None:
    """Return why no grant could allow a call, or None: then it is worth planning."""
    if view.reading.fault is not None:
        return Deny(reasons=(Reason("clock", view.reading.fault),))
    if (stopped := suspension(view, call, None)) is not None:
        return Deny(reasons=(stopped,))
    denied = screen(gate.policies.in_force(view), request_of(call), view.state.usage, view.now)
    # An open request has its place already: asking again is answered with it, even where a limit is spent by now.
    return None if denied is not None and _same_arguments(gate, view, call) is not None else denied


async def decided(gate: Gateway, call: Call, plan: Plan) -> Answer | Claimed:
    """Decide a planned call and record it, together with whoever comes at the same time; as `decide`."""
    try:
        with _room(gate) as taken:
            return await gate.ferry.transact(lambda tx: _decide(gate, tx, call, plan, taken))
    except (NotSwept, EntryError):  # rolled back; more than one transaction is needed
        return await on_ledger(decide, gate, call, plan)


def decide(gate: Gateway, call: Call, plan: Plan) -> Answer | Claimed:
    """Decide a planned call and record it. Returns the answer once that is durable.

    Where this process executes and the action may begin at once, its intent is in the same commit: then the claimed
    action is returned, and it is the caller's to see to that it is executed.
    """
    while True:
        try:
            with _room(gate) as taken:
                return gate.ledger.transact(lambda tx: _decide(gate, tx, call, plan, taken))
        except NotSwept:
            gate.ledger.transact(sweep)
        except EntryError as error:
            reasons = (Reason("entry_too_large", f"the request does not fit into one entry: {error}"),)
            return refuse(gate, _refusal(call, "policy", reasons))


def _room(gate: Gateway) -> AbstractContextManager[Taken | None]:
    """Return where a permitted action is counted as running, or None where this process begins none."""
    return taking(gate.executor) if gate.executor is not None and gate.executor.accepting else nullcontext()


def _decide(gate: Gateway, tx: Job, call: Call, plan: Plan, taken: Taken | None) -> Answer | Claimed:
    if tx.state.overdue(tx.now):
        # What has expired still holds its reservation until its entry is there; write those first.
        raise NotSwept
    if (fallen := fallen_token(tx, call.caller)) is not None:
        return record(gate, tx, _refusal(call, "policy", (fallen,)))
    same = _same_arguments(gate, tx, call)
    if same is not None and not _moved(tx, same, plan):
        return answer(tx, same, repeated=True)
    # One that is superseded makes room for the one that takes its place.
    usage = tx.state.usage if same is None else tx.state.usage.without(same.id)
    decision = evaluate(gate.policies.in_force(tx), request_of(call, plan), usage, tx.now)
    if not isinstance(decision, Deny) and (stopped := suspension(tx, call, decision.environment)) is not None:
        decision = Deny(reasons=(stopped,), environment=decision.environment)
    if isinstance(decision, Deny):
        refusal = _refusal(call, "policy", decision.reasons)
        where = replace(refusal, target=plan.target, environment=decision.environment, retry_at=decision.retry_at)
        return record(gate, tx, where)
    return _admit(gate, tx, _Admission(call, plan, decision, supersedes=same), taken)


@dataclass(frozen=True, slots=True)
class _Admission:
    call: Call
    plan: Plan
    decision: Permit | Hold | Shadow
    supersedes: Action | None


def _admit(gate: Gateway, tx: Job, admission: _Admission, taken: Taken | None) -> Answer | Claimed:
    action_id = gate.new_id(tx.now)
    if admission.supersedes is not None:
        _mark_superseded(tx, admission.supersedes, action_id)
    call, plan, decision = admission.call, admission.plan, admission.decision
    data = request_payloads(call.plain, plan, call.reason, call.caller.client)
    data |= reasons_payload(decision.reasons)
    gate.repeats.give(action_id, call.plain)
    entry = tx.append("action.requested", _request_facts(gate, tx, admission), action=action_id, data=data)
    if isinstance(decision, Shadow):
        finished = _finish_in_shadow(tx, action_id)
        return answer_at_hand([entry, finished], AtHand(plan.summary, decision.reasons), tx.now)
    if taken is not None and isinstance(decision, Permit):
        planned = Planned(entry, plan, call.reason, decision.reasons)
        claimed = start_permitted(gate, tx, told_by([entry]), planned, taken)
        if claimed is not None:
            return claimed
    return answer_at_hand([entry], AtHand(plan.summary, decision.reasons), tx.now)


def _request_facts(gate: Gateway, tx: Job, admission: _Admission) -> dict[str, Json]:
    call, plan, decision = admission.call, admission.plan, admission.decision
    policy = gate.policies.in_force(tx)
    held = decision if isinstance(decision, Hold) else None
    expires = tx.now if isinstance(decision, Shadow) else decision.expires_at
    return {
        "principal": call.caller.principal,
        "owner": policy.principals[call.caller.principal].owner,
        "token": call.caller.token,
        "transport": call.caller.transport,
        "tool": call.contract.tool,
        "contract": call.contract.label,
        "backend": plan.backend.to_json(),
        "target": plan.target,
        "environment": decision.environment,
        "policy": policy.digest,
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


def _mark_superseded(tx: Job, old: Action, new_id: str) -> None:
    moved = ["the same request was made again and the world had moved since this one was planned"]
    facts: dict[str, Json] = {"stage": "superseded", "codes": ["superseded"], "superseded_by": new_id}
    tx.append("action.stale", facts, action=old.id, data={"stale.moved": canon.encode(moved)})


def _same_arguments(gate: Gateway, view: Look, call: Call) -> Action | None:
    """Find the newest action that answers this request because it is the same.

    An open one answers every repetition; one that succeeded, for the contract's window unless `repeat` is set.
    """
    alike = gate.repeats.same(view, call.caller.principal, call.contract.tool, call.plain)
    return next((action for action in alike if _answers_repeats(view, call, action)), None)


def _answers_repeats(view: Look, call: Call, action: Action) -> bool:
    state = status(action, view.now)
    if state in {"pending", "approved", "running", "unknown"}:
        return not call.repeat or state == "unknown"
    recent = (
        action.ended_at is not None and (view.now - action.ended_at).total_seconds() < call.contract.duplicate_window
    )
    return state == "succeeded" and recent and not call.repeat


def _moved(view: Look, action: Action, plan: Plan) -> bool:
    """Say whether the reviewed facts of a waiting action are no longer those a plan made now has."""
    if status(action, view.now) not in {"pending", "approved"}:
        return False
    return canon.encode(read_plan(view, view.entry(action.seq)).facts) != canon.encode(plan.facts)


def _refusal(call: Call, stage: str, reasons: Sequence[Reason]) -> Refusal:
    return Refusal(
        caller=call.caller, tool=call.contract.tool, stage=stage, reasons=reasons, arguments_bytes=call.size
    )
