"""What may be wrong with a home, as far as its ledger tells: what `[degrade]` of a policy looks at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

UNKNOWN = "on_unknown_outcomes"
LAG = "on_anchor_lag"
INCIDENT = "on_incident"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """What is wrong at present, as the ledger tells, less what a person has lifted.

    unknown     how many actions have an unknown outcome
    unanchored  when the oldest entry that no anchor covers was written, to the minute before; None if all are covered
    incident    what happened last that should not: `restored`, `clock` or `compromised`, with the place of its entry
    """

    unknown: int = 0
    unanchored: datetime | None = None
    incident: tuple[str, int] | None = None
