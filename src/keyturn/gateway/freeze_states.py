"""How the freezes of a policy stand now, and when that changes next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from keyturn.gateway.desk import Look
from keyturn.policy import Policy
from keyturn.policy.circumstances import Override
from keyturn.policy.freezes import Freeze

ON = "on"
OFF = "off"
SET_ASIDE = "set aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeState:
    """One freeze: "on", "off" or "set aside" (it would be on).

    changes_at  when that changes next, if it does in sight
    override    what sets it aside, though it may be off
    """

    freeze: Freeze
    state: str
    changes_at: datetime | None
    override: Override | None


def freeze_states(policy: Policy, view: Look) -> tuple[FreezeState, ...]:
    """Return the freezes of a policy as they stand at `view.now`, in the order of their ids."""
    return tuple(_state(freeze, view) for freeze in policy.freezes)


def _state(freeze: Freeze, view: Look) -> FreezeState:
    present, override = freeze.at(view.now), freeze.set_aside(view.state.circumstances, view.now)
    if present is None:
        following = freeze.after(view.now)
        begins = None if following is None else following.start
        return FreezeState(freeze=freeze, state=OFF, changes_at=begins, override=override)
    if override is None:
        return FreezeState(freeze=freeze, state=ON, changes_at=present.end, override=None)
    ends = override.until if present.end is None else min(override.until, present.end)
    return FreezeState(freeze=freeze, state=SET_ASIDE, changes_at=ends, override=override)
