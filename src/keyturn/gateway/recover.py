"""Settling what a dead executor left behind, and what an earlier probe could not tell.

An intent belongs to the instance that wrote it. While that process lives its lock is held and nobody touches the
intent; once the lock can be taken, whoever takes it probes the world and records what it proves. Nothing is ever
executed again.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import anyio

from keyturn.approvals.action import Action
from keyturn.gateway.anchoring import never_begun
from keyturn.gateway.core import Gateway, Job, Look
from keyturn.gateway.execute import finish, note, resolver, settle, state_of
from keyturn.gateway.executor import Executor
from keyturn.gateway.payloads import read_plan, read_value
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.lock import InstanceLock, take_instance
from keyturn.model.errors import LedgerError
from keyturn.model.outcome import Failed, Outcome, Succeeded, Unknown
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef


async def recover(gate: Gateway, executor: Executor, run: Path) -> int:
    """Settle every intent whose executor is dead; return how many there were."""
    left = await on_ledger(_left, gate, executor)
    settled = 0
    for action in left:
        instance = _executor_of(action)
        if instance == executor.instance:
            await _settle(gate, action, instance)
            settled += 1
            continue
        lock = await on_ledger(take_instance, run, instance)
        if lock is not None:
            settled += await _settle_dead(gate, action, lock)
    return settled


async def reprobe(gate: Gateway, running: Collection[str] = ()) -> int:
    """Ask again about every action whose outcome is unknown, due or not; return how many are settled now.

    Not about those of `running`: what has begun here and goes on may still happen.
    """
    unknown = await on_ledger(gate.ledger.look, lambda view: _in_state(gate, view, "unknown"))
    return sum([await _ask_again(gate, action) for action in unknown if action.id not in running])


async def reprobe_due(gate: Gateway, running: Collection[str] = (), *, eager: bool = False) -> int:
    """Ask again about every unknown outcome that is due (`gateway.probes`), as `reprobe`; return how many were."""
    due = await on_ledger(gate.ledger.look, lambda view: _note_due(gate, view, running, eager))
    for action in due:
        await _ask_again(gate, action)
    return len(due)


def unknown_due(gate: Gateway, view: Look) -> list[Action]:
    """Return the actions whose outcome is unknown and that are to be asked about now."""
    return [action for action in _in_state(gate, view, "unknown") if gate.probes.due(action, view.now)]


def _note_due(gate: Gateway, view: Look, running: Collection[str], eager: bool) -> list[Action]:
    unknown = _in_state(gate, view, "unknown")
    gate.probes.keep(
        frozenset(action.id for action, state in view.state.open_actions(view.now) if state == "unknown")
    )
    due = [a for a in unknown if a.id not in running and gate.probes.due(a, view.now, eager=eager)]
    for action in due:
        gate.probes.note(action.id, view.now)
    return due


async def _ask_again(gate: Gateway, action: Action) -> bool:
    """Probe an unknown outcome; record and return whether that settled it."""
    plan, reference = await _what(gate, action)
    outcome = await settle(gate.governed[action.tool], plan, reference, gate.plan_timeout)
    if not isinstance(outcome, Succeeded | Failed):
        return False
    await on_ledger(gate.ledger.transact, resolver(action, outcome))
    note(action, state_of(outcome), "action.resolved")
    return True


def _left(gate: Gateway, executor: Executor) -> list[Action]:
    """Return what has begun and is not this process's own work.

    An own intent that it is not running is one whose outcome could not be recorded at the time.
    """
    with executor.observed() as own:
        begun = gate.ledger.look(lambda view: _in_state(gate, view, "running"))
    return [action for action in begun if action.id not in own]


def _in_state(gate: Gateway, view: Look, wanted: str) -> list[Action]:
    return [action for action, state in view.state.open_actions(view.now) if state == wanted and gate.reaches(action)]


def _executor_of(action: Action) -> str:
    if action.started is None:
        raise LedgerError(f"action {action.id} is running without an intent")
    return action.started.instance


async def _settle_dead(gate: Gateway, action: Action, lock: InstanceLock) -> int:
    # The lock is held until the outcome is durable: a second process that starts now leaves the intent to us.
    try:
        await _settle(gate, action, _executor_of(action))
        return 1
    finally:
        gate.progress.forget(_executor_of(action))
        lock.release(forget=True)


async def _settle(gate: Gateway, action: Action, instance: str) -> None:
    plan, reference = await _what(gate, action)
    with anyio.CancelScope(shield=True):
        outcome = await settle(gate.governed[action.tool], plan, reference, gate.plan_timeout)
        if isinstance(outcome, Unknown):
            outcome = await on_ledger(gate.ledger.look, lambda view: never_begun(gate, view, action)) or outcome
        await on_ledger(gate.ledger.transact, lambda tx: _finish_if_running(tx, action, instance, outcome))
        note(action, state_of(outcome), "action.recovered")


def _finish_if_running(tx: Job, action: Action, instance: str, outcome: Outcome) -> None:
    # The lock was free for a moment before we took it: somebody may have settled the intent in between.
    present = tx.state.actions.get(action.id)
    if present is not None and present.ended is None:
        finish(tx, action.id, outcome, instance, recovered=True)


async def _what(gate: Gateway, action: Action) -> tuple[Plan, ActionRef]:
    def read(view: Look) -> tuple[Plan, ActionRef]:
        request = view.entry(action.seq)
        reason = str(read_value(view, request, "reason") or "")
        return read_plan(view, request), ActionRef(action=action.id, principal=action.principal, reason=reason)

    return await on_ledger(gate.ledger.look, read)
