"""Waiting for an action to end, without holding anything."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from keyturn.approvals.action import TERMINAL, Action
from keyturn.gateway.core import Gateway, Look
from keyturn.gateway.finding import find_state
from keyturn.gateway.news import moved_from
from keyturn.gateway.threads import on_ledger

_A_MOMENT = 0.05  # seconds
HEAR_EVERY = 1.0  # seconds between questions how far a running effect is

Report = Callable[[Action, str], Awaitable[None]]
"""Called when the state of a waited-for action has changed."""


async def wait_for(
    gate: Gateway, action_id: str, seconds: float, report: Report | None = None, principal: str | None = None
) -> str:
    """Wait at most `seconds` until the action is over or its outcome unknown; return its state then.

    Raises `Refused` ("not_found") for an unknown action, and for another principal's where `principal` is given.
    """
    wanted = _Wanted(action_id, principal)
    began, told = anyio.current_time(), ""
    while True:
        mark = gate.news.mark()
        seen = await on_ledger(_look, gate, wanted)
        left = began + seconds - anyio.current_time()
        if report is not None and seconds > 0 and (words := in_words(gate, seen.action, seen.state)) != told:
            told = words
            await report(seen.action, words)
        if _over(seen.state) or left <= 0:
            return seen.state
        holds_for = HEAR_EVERY if report is not None and seen.state == "running" else seen.holds_for
        await gate.news.wait(mark, moved_from(action_id, seen.action), min(left, holds_for))


def in_words(gate: Gateway, action: Action, state: str) -> str:
    """Return the state of an action, with what its effect says of itself while it runs."""
    if state != "running" or action.started is None:
        return state
    said = gate.progress.read(action.started.instance, action.id)
    return state if said is None else f"{state}: {said}"


def _over(state: str) -> bool:
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


def _look(gate: Gateway, wanted: _Wanted) -> _Seen:
    def look(view: Look) -> _Seen:
        action, state = find_state(view, wanted.action_id, wanted.principal)
        # Nobody writes anything at the moment an action expires, so nobody rings.
        left = (action.expires_at - view.now).total_seconds() if state in {"pending", "approved"} else math.inf
        return _Seen(action, state, max(left, _A_MOMENT))

    return gate.ledger.look(look)
