"""Undoing: from an action that is over to a request of the call that takes it back, by its assistant or a person.

That request goes the way of any other: screen, plan, policy, limits, reviews. It names what it undoes; while it is
open, and once it has succeeded, it answers every further request to undo the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from keyturn import canon
from keyturn.approvals.action import status
from keyturn.approvals.statement import ActStatement
from keyturn.canon import Json
from keyturn.fold.undoing import normal
from keyturn.gateway.acts import signed_fact, statement_of
from keyturn.gateway.admission import act_asking
from keyturn.gateway.core import Gateway, Look
from keyturn.gateway.envelope import Answer, answer
from keyturn.gateway.incoming import Call, Incoming
from keyturn.gateway.payloads import request_payloads
from keyturn.gateway.refusals import Refusal
from keyturn.gateway.review import check_reason
from keyturn.gateway.submit import answered_by, decide, judged, parse_call, plan_call, screened, unsigned
from keyturn.gateway.sweep import sweep
from keyturn.gateway.threads import on_ledger
from keyturn.gateway.undone import SignedUndo, WayBack, undo_of, way_back
from keyturn.log.commitment import SALT_BYTES
from keyturn.model.decision import Decision, Deny, Hold
from keyturn.model.errors import Refused
from keyturn.model.plan import Plan
from keyturn.model.principal import Caller

UNDO_TOOL = "undo_action"
SIGNED = "signed"
"""The transport of a request that a person asks for, by signature."""


def undoing_call(gate: Gateway, taken: Call) -> Call | Refusal | Answer:
    """Make the call of the inverse that `undo_action` asks for, or return the answer where it is undone already.

    Raises `Refused` as `way_back` does.
    """
    plain = taken.arguments.plain()

    def look(view: Look) -> Call | Refusal | Answer:
        way = way_back(view, str(plain["action_id"]), taken.caller.principal)
        known = _settled_undo(view, way)
        return known or _call_of(gate, way, taken.caller, str(plain["reason"]), taken.size)

    return gate.ledger.look(look)


def _settled_undo(view: Look, way: WayBack) -> Answer | None:
    """Return the answer of an undo that nothing can supersede any more; one that waits is held against a new plan."""
    known = undo_of(view, way.undone.action)
    waits = known is not None and status(known, view.now) in {"pending", "approved"}
    return None if known is None or waits else answer(view, known, repeated=True)


def _call_of(gate: Gateway, way: WayBack, caller: Caller, reason: str, size: int) -> Call | Refusal:
    contract = gate.catalog.contracts.get(way.tool)
    if contract is None or way.tool not in gate.governed:
        raise Refused("no_inverse", f"to undo it takes the tool {way.tool}, which this home does not have")
    # Not answered with what did the same before: undoing an undo repeats it.
    incoming: dict[str, Json] = {**way.arguments, "reason": reason, "repeat": True}
    call = parse_call(gate, caller, contract, Incoming(way.tool, incoming, size))
    if isinstance(call, Refusal):
        return call
    if call.plain != normal(contract, way.arguments):
        raise Refused("no_inverse", f"the call of {way.tool} that its plan names is not one that can be proved later")
    return replace(call, undoes=way.undone)


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoDraft:
    """What a person asks for before it is signed: the call, its plan, what the policy says to it, and the act."""

    call: Call
    plan: Plan
    decision: Decision
    statement: ActStatement

    @property
    def to_sign(self) -> bytes:
        """The bytes to sign in the namespace `keyturn.act.v1`."""
        return self.statement.signed_bytes

    @property
    def held(self) -> bool:
        """Whether others have to review it."""
        return isinstance(self.decision, Hold)


async def draft_undo(gate: Gateway, action_id: str, *, reason: str, by: str) -> UndoDraft | Answer:
    """Work out the undo of any action in the name of `by`; or return the answer of what undoes it already.

    It runs for the principal of that action, by its grants and limits. Raises `Refused`: as `way_back` does, when
    that principal is gone or suspended, when the inverse cannot be planned, and when the policy denies it. Nothing
    is recorded.
    """
    check_reason(reason, "undo")
    asked = await on_ledger(_asked_by_person, gate, action_id, reason, by)
    if isinstance(asked, Answer):
        return asked
    plan = await plan_call(gate, asked)
    if isinstance(plan, Refusal):
        raise unsigned(plan.reasons)
    call = _salted(gate, asked, plan)
    return await on_ledger(gate.ledger.look, lambda view: _draft(gate, view, call, plan))


async def submit_undo(gate: Gateway, draft: UndoDraft, signature: bytes) -> Answer:
    """Record what a person asked for by a signed act, and answer as the assistant would be. Raises `Refused`.

    What may run at once is approved with it, and somebody has to be called who executes.
    """
    act = signed_fact(draft.statement, signature)
    if draft.call.signed is None:
        raise Refused("not_signed", "the draft names nobody who asks")
    call = replace(draft.call, signed=replace(draft.call.signed, act=act))
    # Executed by whoever looks after that: a person's process ends when the answer is there.
    decided = await on_ledger(decide, replace(gate, executor=None), call, draft.plan)
    if not isinstance(decided, Answer):
        raise TypeError("an action was begun where nobody executes")
    return decided


def _asked_by_person(gate: Gateway, action_id: str, reason: str, by: str) -> Call | Answer:
    if gate.ledger.look(lambda view: view.state.overdue(view.now)):
        gate.ledger.transact(sweep)  # what has expired holds its reservation no longer

    def look(view: Look) -> Call | Answer:
        way = way_back(view, action_id)
        if way.principal not in gate.policies.in_force(view).principals:
            text = f"the policy in force has no principal {way.principal!r} any more, in whose name it would run"
            raise Refused("unknown_principal", text)
        if (known := _settled_undo(view, way)) is not None:
            return known
        caller = Caller(principal=way.principal, token="", transport=SIGNED)
        size = len(canon.encode(dict(way.arguments)))
        call = _call_of(gate, way, caller, reason, size)
        if isinstance(call, Refusal):
            raise unsigned(call.reasons)
        call = replace(call, signed=SignedUndo(by=by, salts={}))
        if (denied := screened(gate, view, call)) is not None:
            raise unsigned(denied.reasons)
        return call

    return gate.ledger.look(look)


def _salted(gate: Gateway, call: Call, plan: Plan) -> Call:
    fields = request_payloads(call.plain, plan, call.reason, call.caller.client)
    salts = {name: gate.entropy(SALT_BYTES) for name in fields}
    return call if call.signed is None else replace(call, signed=replace(call.signed, salts=salts))


def _draft(gate: Gateway, view: Look, call: Call, plan: Plan) -> UndoDraft | Answer:
    same, moved = answered_by(gate, view, call, plan)
    if same is not None:
        return answer(view, same, repeated=True)
    decision = judged(gate, view, call, plan, supersedes=moved)
    if isinstance(decision, Deny):
        raise unsigned(decision.reasons)
    asks, by = act_asking(call, plan), call.signed.by if call.signed else ""
    statement = statement_of(view, asks.verb, asks.object, asks.digest, by)
    return UndoDraft(call=call, plan=plan, decision=decision, statement=statement)
