"""Submitting: screen, plan, and the one transaction that decides and records.

A request is screened without I/O, planned by reads alone, and decided inside `Ledger.transact` on the fold as it is
then: limits, repeats and the decision's entry are one step, for all processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import replace

import anyio.to_thread

from keyturn import canon
from keyturn.approvals.action import Action, status
from keyturn.contracts import RefusedArguments, parse_arguments
from keyturn.fold.undoing import APART
from keyturn.gateway.acts import origin_of
from keyturn.gateway.admission import Admission, act_asking, admit, without_asker
from keyturn.gateway.asked import request_of
from keyturn.gateway.callers import fallen_token
from keyturn.gateway.claim import Claimed, Taken, taking
from keyturn.gateway.core import Gateway, Job, Look
from keyturn.gateway.earlier import earlier_action
from keyturn.gateway.envelope import Answer, answer
from keyturn.gateway.incoming import Call, Incoming
from keyturn.gateway.patience import TookTooLong, bounded
from keyturn.gateway.payloads import read_plan, unrecordable
from keyturn.gateway.refusals import Refusal, record, refuse, refused
from keyturn.gateway.suspensions import suspended
from keyturn.gateway.sweep import NotSwept, catch_up, sweep, swept
from keyturn.gateway.threads import on_ledger
from keyturn.gateway.turns import Crowded
from keyturn.gateway.undone import undo_of
from keyturn.log.entry import EntryError
from keyturn.model.contract import Contract
from keyturn.model.decision import Decision, Deny, Hold, Reason
from keyturn.model.errors import ConnectorError, Refused
from keyturn.model.plan import Plan
from keyturn.model.principal import Caller
from keyturn.model.tool import Earlier, EarlierAction
from keyturn.policy import evaluate, screen
from keyturn.policy.risk.credentials import look_through

LONG_DIFF = 64 * 1024  # characters: less is looked through in a millisecond or two


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
    planned = await plan_call(gate, call)
    return await refused(gate, planned) if isinstance(planned, Refusal) else planned


async def plan_call(gate: Gateway, call: Call) -> Plan | Refusal:
    """Plan a governed call, or return the refusal to be recorded."""
    try:
        tool, earlier = gate.governed[call.contract.tool], await earlier_named(gate, call)
        async with in_turn(gate, call):
            plan = await bounded(lambda: tool.plan(call.arguments, earlier), gate.plan_timeout)
    except Crowded as error:
        reason = crowded(error)
    except TookTooLong as error:
        reason = Reason("plan_timeout", f"{call.contract.tool} could not be planned: {error}; try again later")
    except ConnectorError as error:
        reason = Reason(f"plan_{error.kind}", str(error))
    else:
        await _look_through(plan.diff)
        if (problem := unrecordable(plan)) is None:
            return plan
        reason = Reason("plan_unreadable", f"what the system holds cannot be recorded, and so not shown: {problem}")
    return _refusal(call, "plan", (reason,))


def in_turn(gate: Gateway, call: Call) -> AbstractAsyncContextManager[None]:
    """Wait until the policy's `[queue]` lets this call ask other systems, and stay counted for the block."""
    principal, policy = call.caller.principal, gate.policies.latest
    if policy is None or (known := policy.principals.get(principal)) is None:
        return nullcontext()  # what is not known is refused when it is decided
    return gate.turns.turn(policy.queue, principal, known.owner)


def crowded(error: Crowded) -> Reason:
    """Return the reason of a refusal where there was no turn to be had."""
    return Reason("crowded", f"{error}; try again later")


async def _look_through(diff: str) -> None:
    """Look a long diff through for credentials before the ledger is locked: what is found is remembered."""
    if len(diff) > LONG_DIFF:
        await anyio.to_thread.run_sync(look_through, diff)


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
    policy, state = gate.policies.in_force(view), view.state
    denied = screen(policy, request_of(call), state.usage, view.now, state.circumstances)
    # An open request has its place already: asking again is answered with it, even where a limit is spent by now.
    return None if denied is not None and _same(gate, view, call) is not None else denied


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
            gate.ledger.transact(lambda tx: catch_up(gate, tx))
        except EntryError as error:
            reasons = (Reason("entry_too_large", f"the request does not fit into one entry: {error}"),)
            if call.signed is not None:
                raise unsigned(reasons) from error
            return refuse(gate, _refusal(call, "policy", reasons))


def _room(gate: Gateway) -> AbstractContextManager[Taken | None]:
    """Return where a permitted action is counted as running, or None where this process begins none."""
    return taking(gate.executor) if gate.executor is not None and gate.executor.accepting else nullcontext()


def _decide(gate: Gateway, tx: Job, call: Call, plan: Plan, taken: Taken | None) -> Answer | Claimed:
    swept(gate, tx)
    if call.signed is None and (fallen := fallen_token(tx, call.caller)) is not None:
        return record(gate, tx, _refusal(call, "policy", (fallen,)))
    if call.signed is not None:
        tx.state.check_act(dict(call.signed.act), act_asking(call, plan), origin_of(tx), tx.now)
    same, moved = answered_by(gate, tx, call, plan)
    if same is not None:
        return answer(tx, same, repeated=True)
    decision = judged(gate, tx, call, plan, supersedes=moved)
    if isinstance(decision, Deny):
        if call.signed is not None:
            raise unsigned(decision.reasons)
        refusal = _refusal(call, "policy", decision.reasons)
        where = replace(refusal, target=plan.target, environment=decision.environment, retry_at=decision.retry_at)
        return record(gate, tx, where)
    return admit(gate, tx, Admission(call, plan, decision, supersedes=moved), taken)


def judged(gate: Gateway, view: Look, call: Call, plan: Plan, supersedes: Action | None) -> Decision:
    """Return what policy, suspensions and, of what a person asks for, the rule of four eyes say to a planned call."""
    policy = gate.policies.in_force(view)
    # One that is superseded makes room for the one that takes its place.
    usage = view.state.usage if supersedes is None else view.state.usage.without(supersedes.id)
    decision = evaluate(policy, request_of(call, plan), usage, view.now, view.state.circumstances)
    if not isinstance(decision, Deny) and (stopped := suspension(view, call, decision.environment)) is not None:
        return Deny(reasons=(stopped,), environment=decision.environment)
    if isinstance(decision, Hold) and call.signed is not None:
        return without_asker(decision, call.signed.by)
    return decision


def answered_by(gate: Gateway, view: Look, call: Call, plan: Plan) -> tuple[Action | None, Action | None]:
    """Return the action that answers a planned call, if one does, and else the one whose place the call takes."""
    same = _same(gate, view, call)
    return (None, same) if same is None or _moved(view, same, plan) else (same, None)


def unsigned(reasons: Sequence[Reason]) -> Refused:
    """Return the refusal of what a person asks for by signature: it is told, and nothing is recorded."""
    return Refused(reasons[0].code, "; ".join(reason.text for reason in reasons))


def _same(gate: Gateway, view: Look, call: Call) -> Action | None:
    """Find the action that answers this request: of an undo another one of the same action, else the same request."""
    undo = None if call.undoes is None else undo_of(view, call.undoes.action)
    return undo or _same_arguments(gate, view, call)


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
