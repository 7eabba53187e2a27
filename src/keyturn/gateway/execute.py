"""Executing: the effect of a claimed action, and its outcome made durable before anybody is told.

The intent is durable before the effect begins (`claim`). From there nothing cancels it: the effect and the entry of
its outcome are shielded. If the process dies in between, whoever can take its instance lock settles the intent.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import assert_never

import anyio

from keyturn import canon
from keyturn.canon import Json
from keyturn.gateway.claim import Claimed
from keyturn.gateway.core import Gateway, Job
from keyturn.gateway.envelope import Answer
from keyturn.gateway.executor import Executor
from keyturn.gateway.payloads import outcome_payload, outcome_value
from keyturn.gateway.submit import answer_new
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

LEDGER_PATIENCE = 120.0  # seconds a finished effect waits for a full or locked ledger before it is left to recovery
UNREADABLE = "what the system answered cannot be recorded, and so not told"
RETRY_EVERY = 1.0

_log = logging.getLogger(__name__)


async def execute(gate: Gateway, executor: Executor, claimed: Claimed) -> Answer | None:
    """Perform an action that `executor` has claimed and record what came of it.

    Returns the answer about it where all its entries are at hand. Raises `LedgerUnavailable` when the ledger could
    not be written for two minutes: then the intent stands open, and a probe settles it as if its executor had died.
    """
    answer: Answer | None = None
    try:
        with anyio.CancelScope(shield=True):
            outcome = await perform(gate.governed[claimed.action.tool], claimed.plan, claimed.reference)
            answer = await _record(gate, executor, claimed, outcome)
    finally:
        executor.give_back(claimed.action.id)
    return answer


async def perform(tool: GovernedTool, plan: Plan, reference: ActionRef) -> Outcome:
    """Execute a plan; an answer that settles nothing is settled by a probe."""
    try:
        outcome = await tool.execute(plan, reference)
    except ConnectorError as error:
        outcome = _sorted(error)
    except Exception:  # noqa: BLE001 - a fault in the middle of an effect: whether it happened, the probe tells
        _log.exception("executing %s", reference.action)
        outcome = Unknown("an internal error interrupted the effect")
    return await settle(tool, plan, reference) if isinstance(outcome, Unknown) else recordable(outcome)


async def settle(tool: GovernedTool, plan: Plan, reference: ActionRef) -> Outcome:
    """Ask the world whether an effect happened; a probe that cannot tell leaves it unknown."""
    return recordable(from_probe(await ask(tool, plan, reference)))


async def ask(tool: GovernedTool, plan: Plan, reference: ActionRef) -> Probe:
    """Probe, with every failure of the probe itself meaning that it cannot tell."""
    try:
        return await tool.probe(plan, reference)
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
        "outcome": type(outcome).__name__.lower(),
        "effect": outcome.effect if isinstance(outcome, Failed) else effect[type(outcome)],
        "recovered": recovered,
    }


def finish(tx: Job, action: str, outcome: Outcome, instance: str, *, recovered: bool) -> Entry:
    """Append the outcome of an action."""
    facts = outcome_facts(outcome, instance, recovered=recovered)
    return tx.append("execution.finished", facts, action=action, data=outcome_payload(outcome))


async def _record(gate: Gateway, executor: Executor, claimed: Claimed, outcome: Outcome) -> Answer | None:
    """Make the outcome durable; a ledger that cannot be written for the moment is waited for."""

    def end(tx: Job) -> Answer | None:
        finished = finish(tx, claimed.action.id, outcome, executor.instance, recovered=False)
        if claimed.entries:
            with suppress(LedgerError):  # a payload that somebody damaged keeps no outcome from being recorded
                return answer_new(tx, [*claimed.entries, finished])
        return None

    until = anyio.current_time() + LEDGER_PATIENCE
    while True:
        try:
            return await on_ledger(gate.ledger.transact, end)
        except LedgerUnavailable as error:
            if anyio.current_time() >= until:
                raise
            _log.warning("the outcome of %s cannot be recorded yet: %s", claimed.action.id, error)
            await anyio.sleep(RETRY_EVERY)


def _sorted(error: ConnectorError) -> Outcome:
    match error.kind:
        case "conflict":
            return Stale((str(error),))
        case "unknown":
            return Unknown(str(error))
    return Failed(str(error), effect=False)
