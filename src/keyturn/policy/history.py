"""Remembers how actions went: failures and undos of each target, and which tools a principal has used to the end.

Like `Usage`, which owns it, a fold over the ledger's entries: the same entries give the same history anywhere.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.canon import Json
from keyturn.model.time import format_timestamp, parse_timestamp, shifted

LONGEST_PAST = timedelta(days=30)
"""How long failures and undos are remembered."""

MOST_KEPT = 32
"""How many of each are remembered of one target, the newest; a score asks for fewer."""

_SHAPE = "not a history of targets and tools"
_SWEEP_EVERY = 256  # failures and undos


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is known at one moment: failed and undone actions of a target, and whether the caller knows the tool."""

    failed: int = 0
    undone: int = 0
    known: bool = False


class History:
    """What became of actions, by target, and by principal and tool."""

    def __init__(self) -> None:
        self._failed: dict[str, list[datetime]] = {}
        self._undone: dict[str, list[datetime]] = {}
        self._known: set[tuple[str, str]] = set()
        self._since_sweep = 0

    def succeeded(self, principal: str, tool: str) -> None:
        """Take that an action of this principal by this tool was done."""
        self._known.add((principal, tool))

    def failed(self, target: str, at: datetime) -> None:
        """Take that an action on this target failed."""
        self._add(self._failed, target, at)

    def undone(self, target: str, at: datetime) -> None:
        """Take that an action on this target was taken back."""
        self._add(self._undone, target, at)

    def past(self, principal: str, tool: str, target: str, within: timedelta, now: datetime) -> Past:
        """Return what is known: of the target over the time `within` before `now`, at most `LONGEST_PAST`."""
        after = shifted(now, -min(within, LONGEST_PAST))
        return Past(
            failed=_since(self._failed.get(target, ()), after),
            undone=_since(self._undone.get(target, ()), after),
            known=(principal, tool) in self._known,
        )

    def to_json(self) -> dict[str, Json]:
        """Return everything as JSON of the canonical profile."""
        self._sweep()
        known: list[Json] = [list(pair) for pair in sorted(self._known)]
        return {"failed": _rows(self._failed), "undone": _rows(self._undone), "known": known}

    @classmethod
    def from_json(cls, value: Json) -> History:
        """Rebuild what `to_json` wrote. Raises `ValueError` for anything else."""
        match value:
            case {"failed": list(failed), "undone": list(undone), "known": list(known), **rest} if not rest:
                history = cls()
                history._failed = _read(failed)
                history._undone = _read(undone)
                history._known = {_pair(row) for row in known}
                return history
        raise ValueError(_SHAPE)

    def _add(self, table: dict[str, list[datetime]], target: str, at: datetime) -> None:
        times = table.setdefault(target, [])
        times.insert(bisect_right(times, at), at)
        del times[:-MOST_KEPT]
        self._since_sweep += 1
        if self._since_sweep >= _SWEEP_EVERY:
            self._since_sweep = 0
            self._sweep()

    def _sweep(self) -> None:
        """Forget what no score can see any more, by the newest that is remembered."""
        newest = max((times[-1] for table in (self._failed, self._undone) for times in table.values()), default=None)
        if newest is None:
            return
        after = shifted(newest, -LONGEST_PAST)
        for table in (self._failed, self._undone):
            for target, times in list(table.items()):
                del times[: bisect_right(times, after)]
                if not times:
                    del table[target]


def _since(times: Iterable[datetime], after: datetime) -> int:
    return sum(at > after for at in times)


def _rows(table: Mapping[str, list[datetime]]) -> list[Json]:
    return [[target, [format_timestamp(at) for at in times]] for target, times in sorted(table.items())]


def _read(rows: list[Json]) -> dict[str, list[datetime]]:
    table: dict[str, list[datetime]] = {}
    for row in rows:
        match row:
            case [str(target), list(times)] if times and all(isinstance(at, str) for at in times):
                table[target] = [parse_timestamp(str(at)) for at in times]
            case _:
                raise ValueError(_SHAPE)
    return table


def _pair(row: Json) -> tuple[str, str]:
    match row:
        case [str(principal), str(tool)]:
            return principal, tool
    raise ValueError(_SHAPE)
