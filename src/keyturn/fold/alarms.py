"""Follows what a policy may tighten for: entries that no anchor covers, outcomes nobody knows, and incidents.

What a person lifts is put aside: the same trouble is no reason to suspend anew, what comes after it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from keyturn.fold.recovery import RESTORED
from keyturn.log.entry import Entry
from keyturn.policy.alarms import INCIDENT, LAG, UNKNOWN, Alarms

_TOGETHER = timedelta(minutes=1)
_MOST_SPANS = 256


@dataclass(frozen=True, slots=True)
class Span:
    """Entries written within a minute of the first: when that was, and the last of them."""

    at: datetime
    last: int


@dataclass(slots=True)
class Watch:
    """What is wrong, as far as entries tell; `accepted` are the unknown outcomes that a person has lifted for."""

    spans: list[Span] = field(default_factory=list)
    accepted: tuple[str, ...] = ()
    incident: tuple[str, int] | None = None

    def alarms(self, unknown: Iterable[str]) -> Alarms:
        """Return what counts now; `unknown` are the actions whose outcome is."""
        return Alarms(
            unknown=len(set(unknown) - set(self.accepted)),
            unanchored=self.spans[0].at if self.spans else None,
            incident=self.incident,
        )

    def take(self, entry: Entry) -> None:
        """Take the next entry of any kind."""
        facts: Mapping[str, Any] = entry.facts
        match entry.kind:
            case "anchor.recorded":
                # Itself it needs no anchor: else there would be no end to it.
                self.spans = [span for span in self.spans if span.last >= facts["size"]]
                return
            case "recovery":
                self.incident = ("restored" if facts["reason"] == RESTORED else "clock", entry.seq)
            case "key.revoked" if facts["reason"] == "compromised":
                self.incident = ("compromised", entry.seq)
        self._note(entry)

    def lifted(self, rule: str, entry: Entry, unknown: Iterable[str], *, since: int) -> None:
        """Put aside what the suspension that is lifted, set in the entry `since`, was set for."""
        if rule == UNKNOWN:
            self.accepted = tuple(unknown)
        elif rule == LAG:
            self.spans = [Span(entry.at, entry.seq)]
        elif rule == INCIDENT and self.incident is not None and self.incident[1] < since:
            self.incident = None  # one that came later is another: nobody was told of it by this suspension

    def _note(self, entry: Entry) -> None:
        if self.spans and entry.at - self.spans[-1].at < _TOGETHER:
            self.spans[-1] = Span(self.spans[-1].at, entry.seq)
            return
        self.spans.append(Span(entry.at, entry.seq))
        if len(self.spans) > _MOST_SPANS:
            # The oldest two as one, of the older time: lag may be told too long then, never too short.
            self.spans[:2] = [Span(self.spans[0].at, self.spans[1].last)]
