"""Executing: the effect of a claimed action, and its outcome made durable before anybody is told.

The intent is durable before the effect begins (`claim`). From there nothing cancels it: the effect and the entry of
its outcome are shielded. If the process dies in between, whoever can take its instance lock settles the intent.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

import anyio

from keyturn import canon
from keyturn.approvals.action import Action
from keyturn.canon import Json
from keyturn.fold.releasing import RUNTIME
from keyturn.gateway.admission import answer_at_hand
from keyturn.gateway.anchoring import unanchored
from keyturn.gateway.claim import Claimed
from keyturn.gateway.core import Gateway, Job
from keyturn.gateway.envelope import Answer, AtHand
from keyturn.gateway.executor import Executor
from keyturn.gateway.patience import TookTooLong, Work, bounded
from keyturn.gateway.payloads import outcome_payload, outcome_value
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.log.entry import Entry
from keyturn.model.errors import ConnectorError, LedgerError
from keyturn.model.outcome import (
    CannotHappen,
    CannotTell,
    Failed,
    Happened,
    Outcome,
    Probe,
    Stale,
    Succeeded,
    Unknown,
)
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef, GovernedTool

_LEFT = "%s: its outcome is not recorded; housekeeping settles it: %s"
LEDGER_PATIENCE = 120.0  # seconds a finished effect waits for a full or locked ledger before it is left to recovery
UNREADABLE = "what the system answered cannot be recorded, and so not told"
RETRY_EVERY = 1.0

_log = logging.getLogger(__name__)


async def carry_out(gate: Gateway, executor: Executor, claimed: Claimed) -> Answer | None:
    """Perform a claimed action as `execute` does; one whose outcome cannot be recorded is left open."""
    try:
        return await execute(gate, executor, claimed)
    except LedgerUnavailable as error:
        _log.error(_LEFT, claimed.action.id, error)
        return None


async def execute(gate: Gateway, executor: Executor, claimed: Claimed) -> Answer | None:
    """Perform an action that `executor` has claimed and record what came of it.

    Returns the answer about it where all its entries are at hand. Raises `LedgerUnavailable` when the ledger could
    not be written for two minutes: then the intent stands open, and a probe settles it as if its executor had died.
    """
    answer: Answer | None = None
    begun = anyio.current_time()
    note(claimed.action, "running")
    tool = gate.governed[claimed.action.tool]
    # What was reserved of a budget for runtime is as long as the effect may take: so the budget holds.
    at_most = min(gate.timeouts(tool.name), claimed.action.reserved.get(RUNTIME, math.inf))
    patience = Patience(at_most, gate.plan_timeout)
    try:
        with anyio.CancelScope(shield=True):
            say = gate.progress.reporter(executor.instance, claimed.action.id)
            outcome: Outcome | None = await unanchored(gate, claimed, say)
            if outcome is None:
                outcome = await perform(tool, claimed.plan, replace(claimed.reference, progress=say), patience)
            answer = await _record(gate, executor, claimed, outcome)
            note(claimed.action, state_of(outcome), ms=round((anyio.current_time() - begun) * 1000))
    finally:
        gate.progress.end(executor.instance, claimed.action.id)
        if patience.left is None:
            executor.give_back(claimed.action.id)
        else:
            Work(partial(_see_out, gate, executor, claimed, patience.left))
    return answer


async def _see_out(gate: Gateway, executor: Executor, claimed: Claimed, effect: Work[Outcome]) -> None:
    """Settle an effect that went on after its time, once it has ended: until then a probe would prove little."""
    tool = gate.governed[claimed.action.tool]
    await effect.ended()
    try:
        outcome = await settle(tool, claimed.plan, claimed.reference, gate.plan_timeout)
        if isinstance(outcome, Succeeded | Failed):
            await on_ledger(gate.ledger.transact, resolver(claimed.action, outcome))
            note(claimed.action, state_of(outcome))
    except LedgerError as error:
        _log.error(_LEFT, claimed.action.id, error)
    finally:
        executor.give_back(claimed.action.id)


def note(action: Action, state: str, event: str | None = None, ms: int | None = None) -> None:
    """Leave a line for the log, of names and states alone: nothing of what was asked or answered."""
    names = {"principal": action.principal, "tool": action.tool, "action": action.id, "status": state, "ms": ms}
    _log.info("%s of %s: %s", action.tool, action.id, state, extra={"event": event or f"action.{state}", **names})


def state_of(outcome: Outcome) -> str:
    """Return the state an action has with this outcome."""
    return type(outcome).__name__.lower()


@dataclass(slots=True)
class Patience:
    """How many seconds an effect and a probe may take; and the effect that went on in a thread all the same."""

    effect: float = math.inf
    probe: float = math.inf
    left: Work[Outcome] | None = None


async def perform(tool: GovernedTool, plan: Plan, reference: ActionRef, patience: Patience | None = None) -> Outcome:
    """Execute a plan; an answer that settles nothing is settled by a probe.

    What takes too long is interrupted and probed. What cannot be interrupted is `unknown`, and left in `patience`.
    """
    patience = patience or Patience()
    effect = Work(partial(_attempt, tool, plan, reference))
    too_late = Unknown(f"it took longer than {patience.effect:g} s and was interrupted")
    if not await effect.within(patience.effect) and not await effect.interrupt():
        patience.left = effect
        return Unknown(f"it has taken longer than {patience.effect:g} s, and what was begun still goes on")
    outcome = too_late if effect.interrupted else effect.result()
    if isinstance(outcome, Unknown):
        settled = await settle(tool, plan, reference, patience.probe)
        return too_late if isinstance(settled, Unknown) and outcome is too_late else settled
    return recordable(outcome)


async def _attempt(tool: GovernedTool, plan: Plan, reference: ActionRef) -> Outcome:
    try:
        return await tool.execute(plan, reference)
    except ConnectorError as error:
        return _sorted(error)
    except Exception:  # noqa: BLE001 - a fault in the middle of an effect: whether it happened, the probe tells
        _log.exception("executing %s", reference.action)
        return Unknown("an internal error interrupted the effect")


async def settle(tool: GovernedTool, plan: Plan, reference: ActionRef, seconds: float) -> Outcome:
    """Ask the world whether an effect happened; a probe that cannot tell within `seconds` leaves it unknown."""
    return recordable(from_probe(await _ask(tool, plan, reference, seconds)))


async def _ask(tool: GovernedTool, plan: Plan, reference: ActionRef, seconds: float) -> Probe:
    """Probe, with every failure of the probe itself meaning that it cannot tell."""
    try:
        return await bounded(partial(tool.probe, plan, reference), seconds)
    except TookTooLong as error:
        return CannotTell(f"the probe did not answer: {error}")
    except ConnectorError as error:
        return CannotTell(str(error))
    except Exception:  # noqa: BLE001 - a probe that fails for whatever reason proves nothing
        _log.exception("probing %s", reference.action)
        return CannotTell("an internal error interrupted the probe")


def from_probe(probe: Probe) -> Outcome:
    """Return the outcome that a probe proves."""
    match probe:
        case Happened(result, shortfall):
            return Succeeded(result) if shortfall is None else Failed(shortfall, effect=True, result=result)
        case CannotHappen(reason):
            return Failed(reason, effect=False)
        case CannotTell(reason):
            return Unknown(reason)
        case never:
            assert_never(never)


def recordable(outcome: Outcome) -> Outcome:
    """Return the outcome as it can be written down: whether it happened counts, whatever the system said of it."""
    try:
        canon.check(outcome_value(outcome))
    except canon.CanonError as error:
        _log.warning("an outcome cannot be recorded as it is: %s", error)
    else:
        return outcome
    match outcome:
        case Succeeded():
            return Succeeded({"note": UNREADABLE})
        case Failed(_, effect):
            return Failed(UNREADABLE, effect)
        case Stale():
            return Stale((UNREADABLE,))
        case Unknown():
            return Unknown(UNREADABLE)
        case never:
            assert_never(never)


def outcome_facts(outcome: Outcome, instance: str, *, recovered: bool) -> dict[str, Json]:
    """Return the facts of `execution.finished` for an outcome."""
    effect: dict[type, bool | None] = {Succeeded: True, Stale: False, Unknown: None}
    return {
        "instance": instance,
        "outcome": state_of(outcome),
        "effect": outcome.effect if isinstance(outcome, Failed) else effect[type(outcome)],
        "recovered": recovered,
    }


def finish(tx: Job, action: str, outcome: Outcome, instance: str, *, recovered: bool) -> Entry:
    """Append the outcome of an action."""
    facts = outcome_facts(outcome, instance, recovered=recovered)
    return tx.append("execution.finished", facts, action=action, data=outcome_payload(outcome))


def resolver(action: Action, outcome: Succeeded | Failed) -> Callable[[Job], None]:
    """Return the job that records what a probe proves of an unknown outcome, unless somebody has settled it."""

    def resolve(tx: Job) -> None:
        present = tx.state.actions.get(action.id)
        if present is None or present.ended != "unknown":
            return
        facts: dict[str, Json] = {
            "outcome": state_of(outcome),
            "effect": isinstance(outcome, Succeeded) or outcome.effect,
            "method": "probe",
            "act": None,
        }
        tx.append("execution.resolved", facts, action=action.id, data=outcome_payload(outcome))

    return resolve


async def _record(gate: Gateway, executor: Executor, claimed: Claimed, outcome: Outcome) -> Answer | None:
    """Make the outcome durable; a ledger that cannot be written for the moment is waited for."""

    def end(tx: Job) -> Entry:
        return finish(tx, claimed.action.id, outcome, executor.instance, recovered=False)

    until = anyio.current_time() + LEDGER_PATIENCE
    while True:
        try:
            finished = await gate.ferry.transact(end)
        except LedgerUnavailable as error:
            if anyio.current_time() >= until:
                raise
            _log.warning("the outcome of %s cannot be recorded yet: %s", claimed.action.id, error)
            await anyio.sleep(RETRY_EVERY)
        else:
            return _answer(claimed, finished, outcome)


def _answer(claimed: Claimed, finished: Entry, outcome: Outcome) -> Answer | None:
    """Return the answer about an action that began in the commit that permitted it, nothing read back."""
    if not claimed.entries:
        return None
    known = AtHand(claimed.plan.summary, claimed.reasons).ended(outcome_value(outcome))
    return answer_at_hand([*claimed.entries, finished], known, finished.at)


def _sorted(error: ConnectorError) -> Outcome:
    match error.kind:
        case "conflict":
            return Stale((str(error),))
        case "unknown":
            return Unknown(str(error))
    return Failed(str(error), effect=False)
