"""Waiting for an action to end, without holding anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread

from keyturn.approvals.action import TERMINAL, Action, status
from keyturn.fold.story import tell
from keyturn.gateway.core import Gateway, Look
from keyturn.model.errors import Refused

LOOK_EVERY = 0.05

Report = Callable[[Action, str], Awaitable[None]]
"""Called when the state of a waited-for action has changed."""


async def wait_for(
    gate: Gateway, action_id: str, seconds: float, report: Report | None = None, principal: str | None = None
) -> str:
    """Wait at most `seconds` until the action is over or its outcome unknown; return its state then.

    Raises `Refused` ("not_found") for an unknown action, and for another principal's where `principal` is given.
    """
    watcher = gate.watch()
    state = ""
    try:
        with anyio.move_on_after(seconds):
            while True:
                if watcher.changed() or not state:
                    action, seen = await anyio.to_thread.run_sync(_state, gate, action_id, principal)
                    if report is not None and seen != state:
                        await report(action, seen)
                    state = seen
                if over(state):
                    return state
                await anyio.sleep(LOOK_EVERY)
    finally:
        watcher.close()
    action, state = await anyio.to_thread.run_sync(_state, gate, action_id, principal)
    return state


def over(state: str) -> bool:
    """Say whether waiting ends in this state; `unknown` ends it too: nobody should wait for it."""
    return state in TERMINAL or state == "unknown"


def _state(gate: Gateway, action_id: str, principal: str | None) -> tuple[Action, str]:
    return gate.ledger.look(lambda view: find_state(view, action_id, principal))


def find_state(view: Look, action_id: str, principal: str | None = None) -> tuple[Action, str]:
    """Return an action, open or long over, and its state now. Raises `Refused` ("not_found")."""
    action = find(view, action_id)
    if action is None or (principal is not None and action.principal != principal):
        raise Refused("not_found", f"there is no action {action_id}")
    return action, status(action, view.now)


def find(view: Look, action_id: str) -> Action | None:
    """Return an action, from the fold while it is fresh, else told again from its entries."""
    return view.state.actions.get(action_id) or tell(view.history(action_id))
