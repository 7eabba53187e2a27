"""A home at a glance, as its ledger tells it: size, clock, policy in force, and what is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from keyturn.approvals.action import OPEN
from keyturn.contracts import catalog_of
from keyturn.gateway.core import PolicyShelf
from keyturn.gateway.desk import Look
from keyturn.gateway.freeze_states import FreezeState, freeze_states
from keyturn.gateway.in_force import InForce, read_in_force, texts_of
from keyturn.gateway.pressure import Pressure, pressure
from keyturn.model.errors import ConfigurationError
from keyturn.policy import Policy, read_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What `overview` sees.

    last      time of the newest entry, or None when there is none
    fault     why the clock is not trusted, or None
    warnings  what the policy in force leaves open, above all assistants without an owner
    open      how many actions are pending, approved, running or unknown
    unknown   ids of the actions whose outcome is unknown
    pressure  where work piles up
    freezes   how the freezes of the policy in force stand
    """

    log: str
    size: int
    now: datetime
    last: datetime | None
    fault: str | None
    policy: InForce
    warnings: tuple[str, ...]
    open: Mapping[str, int]
    unknown: tuple[str, ...]
    pressure: Pressure
    freezes: tuple[FreezeState, ...] = ()


def overview(view: Look, policies: PolicyShelf | None = None) -> Overview:
    """Look at a whole home. Raises `LedgerError` when the ledger holds no policy.

    `policies` has the policy in force read already, or can read it, where the contracts of the home are as published.
    """
    policy = read_in_force(view)
    read = policies.in_force(view) if policies else _read(view, policy)
    states = [(action.id, state) for action, state in view.state.open_actions(view.now)]
    counted = Counter(state for _, state in states)
    return Overview(
        log=str(view.head.verifier) if view.head.verifier else "",
        size=view.head.size,
        now=view.now,
        last=view.entry(view.head.size - 1).at if view.head.size else None,
        fault=view.reading.fault,
        policy=policy,
        warnings=read if isinstance(read, tuple) else read.warnings(),
        open={state: counted[state] for state in sorted(OPEN)},
        unknown=tuple(action for action, state in states if state == "unknown"),
        pressure=pressure(view, None if isinstance(read, tuple) else read),
        freezes=() if isinstance(read, tuple) else freeze_states(read, view),
    )


def _read(view: Look, policy: InForce) -> Policy | tuple[str, ...]:
    """Read the policy as it is in force, with the contracts the ledger published, or say why it cannot be read."""
    published = view.state.catalog
    try:
        contracts = catalog_of(texts_of(view, published.seq, "catalog.files")).contracts if published else {}
        return read_policy(policy.files, contracts)
    except ConfigurationError as error:
        return tuple(f"the policy in force does not load with this program: {problem}" for problem in error.problems)
