"""What a decision depends on besides policy, request, usage and time: what people have decided for a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One freeze set aside until `until`: the `freeze.overridden` entry `seq`, signed by `by`."""

    freeze: str
    until: datetime
    seq: int
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the ledger's entries say holds now. `overrides` are at most one per freeze, ended ones included."""

    overrides: tuple[Override, ...] = ()

    def override_of(self, freeze: str, now: datetime) -> Override | None:
        """Return the override of a freeze that has not ended at `now`."""
        return next((item for item in self.overrides if item.freeze == freeze and now < item.until), None)


NONE = Circumstances()
"""Nothing is set aside."""
