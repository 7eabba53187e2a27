"""Waiting for an action to end, without holding anything."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from keyturn.approvals.action import TERMINAL, Action
from keyturn.gateway.core import Gateway, Look
from keyturn.gateway.finding import find, find_state
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.writer import Watcher

__all__ = ["Report", "find", "find_state", "over", "wait_for"]

LOOK_EVERY = 0.05
LOOK_LATER_EVERY = 0.25  # once it has taken a while: what waits for people needs no twenty looks a second
A_WHILE = 2.0

Report = Callable[[Action, str], Awaitable[None]]
"""Called when the state of a waited-for action has changed."""


async def wait_for(
    gate: Gateway, action_id: str, seconds: float, report: Report | None = None, principal: str | None = None
) -> str:
    """Wait at most `seconds` until the action is over or its outcome unknown; return its state then.

    Raises `Refused` ("not_found") for an unknown action, and for another principal's where `principal` is given.
    """
    if seconds > 0:
        watcher = await on_ledger(gate.watch)
        try:
            with anyio.move_on_after(seconds):
                return await _follow(gate, watcher, _Wanted(action_id, principal), report)
        finally:
            watcher.close()
    return (await on_ledger(_look, gate, _Wanted(action_id, principal))).state


def over(state: str) -> bool:
    """Say whether waiting ends in this state; `unknown` ends it too: nobody should wait for it."""
    return state in TERMINAL or state == "unknown"


@dataclass(frozen=True, slots=True)
class _Wanted:
    action_id: str
    principal: str | None


@dataclass(frozen=True, slots=True)
class _Seen:
    """An action's state, and the seconds after which time alone will have changed it."""

    action: Action
    state: str
    holds_for: float


async def _follow(gate: Gateway, watcher: Watcher, wanted: _Wanted, report: Report | None) -> str:
    began, state, due = anyio.current_time(), "", 0.0
    while True:
        if await on_ledger(watcher.changed) or anyio.current_time() >= due:
            seen = await on_ledger(_look, gate, wanted)
            due = anyio.current_time() + seen.holds_for
            if report is not None and seen.state != state:
                await report(seen.action, seen.state)
            state = seen.state
        if over(state):
            return state
        early = anyio.current_time() < began + A_WHILE
        await anyio.sleep(LOOK_EVERY if early else LOOK_LATER_EVERY)


def _look(gate: Gateway, wanted: _Wanted) -> _Seen:
    def look(view: Look) -> _Seen:
        action, state = find_state(view, wanted.action_id, wanted.principal)
        # Nobody writes anything at the moment an action expires: the watcher cannot tell.
        left = (action.expires_at - view.now).total_seconds() if state in {"pending", "approved"} else math.inf
        return _Seen(action, state, max(left, LOOK_EVERY))

    return gate.ledger.look(look)
