"""How much of one caller may be under way at once, before anything is decided: `[queue]` of a policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from keyturn.policy.tables import Table

_MOST = 1_000
_LONGEST = timedelta(minutes=5)
_PATIENCE = timedelta(seconds=20)
_WAITING = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Calls that ask other systems (they are planned, or read) at once, over all processes of a home.

    per_principal, per_owner, total   how many at most; None where nothing is said
    waiting   how many calls of one principal may wait for their turn in one process; more are refused
    patience  how long one waits for its turn before it is refused
    """

    per_principal: int | None = None
    per_owner: int | None = None
    total: int | None = None
    waiting: int = _WAITING
    patience: timedelta = _PATIENCE


def read_queue(document: Table) -> Queue | None:
    """Read `[queue]`, recording problems; None where there is none, and so no turn to wait for."""
    table = document.table("queue")
    if table is None:
        return None
    table.only("per_principal", "per_owner", "total", "waiting", "patience")
    caps = {
        name: table.integer(name, low=1, high=_MOST) if name in table.raw else None
        for name in ("per_principal", "per_owner", "total")
    }
    if not any(caps.values()):
        table.problems.add(table.place, "caps nothing: say per_principal, per_owner or total")
    waiting = table.integer("waiting", low=0, high=_MOST, default=_WAITING)
    patience = table.duration("patience", longest=_LONGEST, default=_PATIENCE)
    return Queue(**caps, waiting=_WAITING if waiting is None else waiting, patience=patience or _PATIENCE)
