"""The door of the gateway: one call of one tool by one caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import anyio

from keyturn.gateway.about import about, answer_refused
from keyturn.gateway.admission import told_by
from keyturn.gateway.claim import Claimed
from keyturn.gateway.core import Gateway, Look
from keyturn.gateway.envelope import Answer, answer
from keyturn.gateway.errand import Errand
from keyturn.gateway.finding import find_state
from keyturn.gateway.incoming import Call, Incoming
from keyturn.gateway.reading import read
from keyturn.gateway.refusals import Refusal, refused
from keyturn.gateway.releasing import waits_for_a_hand
from keyturn.gateway.starting import call_worker
from keyturn.gateway.submit import decided, make_plan, parse_call, screened, screened_out, screening
from keyturn.gateway.threads import on_ledger
from keyturn.gateway.undoing import UNDO_TOOL, undoing_call
from keyturn.gateway.wait import HEAR_EVERY, Report, in_words, wait_for
from keyturn.model.contract import Contract
from keyturn.model.decision import Reason
from keyturn.model.errors import Refused
from keyturn.model.plan import Plan
from keyturn.model.principal import Caller

PERMIT_WAIT = 20.0  # seconds a permitted call waits for its effect before it answers "running"


class UnknownTool(Exception):
    """The caller sees no tool of this name: there is none, or it may not use it; the answer is the same."""


def visible_contracts(gate: Gateway, caller: Caller) -> list[Contract]:
    """Return the contracts of the tools a caller may use, by name."""
    tools = gate.ledger.look(lambda view: _visible(gate, view, caller))
    return [gate.catalog.contracts[tool] for tool in sorted(tools)]


def _visible(gate: Gateway, view: Look, caller: Caller) -> frozenset[str]:
    """Return the names of the tools that a caller may use and this process serves."""
    tools = gate.policies.in_force(view).visible_tools(caller.principal, caller.scopes)
    return frozenset(tool for tool in tools if _serves(gate, tool))


def _serves(gate: Gateway, tool: str) -> bool:
    contract = gate.catalog.contracts.get(tool)
    return tool in gate.governed or tool in gate.reading or (contract is not None and contract.kind == "self")


async def call(gate: Gateway, caller: Caller, incoming: Incoming, report: Report | None = None) -> Answer:
    """Take one call to its answer. Raises `UnknownTool` for a tool the caller may not see (recorded as a refusal)."""
    return await call_by(gate, lambda _: caller, incoming, report)


async def call_by(
    gate: Gateway, who: Callable[[Look], Caller], incoming: Incoming, report: Report | None = None
) -> Answer:
    """Take one call to its answer, its caller found in the same look as all else that comes first; else as `call`.

    Raises what `who` raises.
    """
    caller, received = await gate.ferry.look(lambda view: _arrive(gate, view, who(view), incoming))
    match received:
        case None:
            await refused(gate, _unknown(gate, caller, incoming))
            raise UnknownTool
        case Refusal():
            return await refused(gate, received)
        case Overdue(call=taken):
            return await on_ledger(screened_out, gate, taken) or await _take(gate, taken, report)
    return await _take(gate, received, report)


_Received: TypeAlias = "Call | Overdue | Refusal | None"


def _arrive(gate: Gateway, view: Look, caller: Caller, incoming: Incoming) -> tuple[Caller, _Received]:
    return caller, _receive(gate, view, caller, incoming)


def _receive(gate: Gateway, view: Look, caller: Caller, incoming: Incoming) -> _Received:
    """Do all that comes before the world is asked, in one look: find the tool, read the arguments, screen.

    Returns None for a tool the caller may not see.
    """
    if incoming.tool not in _visible(gate, view, caller):
        return None
    received = parse_call(gate, caller, gate.catalog.contracts[incoming.tool], incoming)
    if isinstance(received, Refusal) or received.contract.kind == "self":
        return received
    denied = screened(gate, view, received)
    if denied is None:
        return received
    return Overdue(received) if view.state.overdue(view.now) else screening(received, denied)


@dataclass(frozen=True, slots=True)
class Overdue:
    """A call that no grant allows as things stand; what has expired may be why, and has to be swept first."""

    call: Call


async def _take(gate: Gateway, taken: Call, report: Report | None) -> Answer:
    match taken.contract.kind:
        case "read":
            return await read(gate, taken)
        case "self":
            return await _about_oneself(gate, taken, report)
    planned = await make_plan(gate, taken)
    return planned if isinstance(planned, Answer) else await _submit(gate, taken, planned, report)


async def _about_oneself(gate: Gateway, taken: Call, report: Report | None) -> Answer:
    if taken.contract.tool != UNDO_TOOL:
        plain = taken.arguments.plain()
        return await about(gate, taken.caller, taken.contract.tool, plain, report)
    try:
        undoing = await on_ledger(undoing_call, gate, taken)
    except Refused as refused_:
        return await on_ledger(answer_refused, gate, taken.caller, UNDO_TOOL, refused_)
    match undoing:
        case Answer():
            return undoing
        case Refusal():
            return await refused(gate, undoing)
    return await on_ledger(screened_out, gate, undoing) or await _take(gate, undoing, report)


async def _submit(gate: Gateway, taken: Call, plan: Plan, report: Report | None) -> Answer:
    """Decide a planned call; stay with a permitted one for a while and tell how it went."""
    executor = gate.executor
    if executor is None or executor.crew is None:
        decision = await decided(gate, taken, plan)
    else:
        errand = Errand(gate, executor, taken, plan)
        errand.begin(executor.crew)
        decision = await errand.decided()
        if isinstance(decision, Claimed) and (over := await _stay(gate, errand, decision, report)) is not None:
            return over
    if isinstance(decision, Claimed):
        return await _present(gate, taken.caller, decision.action.id, repeated=False)
    return await _see_through(gate, taken.caller, decision, report)


async def _stay(gate: Gateway, errand: Errand, claimed: Claimed, report: Report | None) -> Answer | None:
    """Stay with what runs in this process, and tell whoever wants to know how far it is."""
    if report is None:
        return await errand.answer(PERMIT_WAIT)
    until, told = anyio.current_time() + PERMIT_WAIT, ""
    while (left := until - anyio.current_time()) > 0:
        if (over := await errand.answer(min(left, HEAR_EVERY))) is not None:
            return over
        if (words := in_words(gate, told_by(claimed.entries), "running")) != told:
            told = words
            await report(claimed.action, words)
    return None


async def _see_through(gate: Gateway, caller: Caller, submitted: Answer, report: Report | None) -> Answer:
    if submitted.envelope["status"] not in {"approved", "running"}:
        return submitted
    action_id, repeated = str(submitted.envelope["action_id"]), submitted.envelope["repeated"] is True
    if await gate.ferry.look(lambda view: waits_for_a_hand(view, action_id)):
        return submitted  # nobody can say how long that takes
    if await call_worker(gate):
        await wait_for(gate, action_id, PERMIT_WAIT, report, caller.principal)
    return await _present(gate, caller, action_id, repeated=repeated)


async def _present(gate: Gateway, caller: Caller, action_id: str, *, repeated: bool) -> Answer:
    def look(view: Look) -> Answer:
        return answer(view, find_state(view, action_id, caller.principal)[0], repeated=repeated)

    return await gate.ferry.look(look)


def _unknown(gate: Gateway, caller: Caller, incoming: Incoming) -> Refusal:
    # A name that is no tool's is the caller's text: it is not written down.
    known = incoming.tool if incoming.tool in gate.catalog.contracts else None
    reasons = (Reason("unknown_tool", "the caller sees no tool of this name"),)
    return Refusal(caller=caller, tool=known, stage="screen", reasons=reasons, arguments_bytes=incoming.size)
