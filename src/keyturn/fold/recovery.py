"""Recoveries: a person's signed word that a ledger was restored from a copy, or that a clock is right again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keyturn import canon
from keyturn.canon import Json
from keyturn.log.chain import ahead_of
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused

RECOVER = "ledger.recover"
RESTORED = "restored"
CLOCK = "clock"
REASON = "reason"

PATIENCE = timedelta(hours=1)
"""How long after a clock was read for signing the entry may follow, by the machine's own clock."""

SLACK = timedelta(seconds=60)
FURTHEST = timedelta(days=36_525)
"""How far ahead of the wall clock a log may run: a hundred years."""


@dataclass(frozen=True, slots=True)
class Restoration:
    """The last entry that says the ledger was restored: no approval from before it counts, and no permission."""

    seq: int
    at: datetime


def recovery_digest(facts: Mapping[str, Any], words: str | None) -> str:
    """Return what an operator signs: what the entry says, and the commitment of the words.

    A restoration names the place where it stands. The word on a clock does not, for refusals may be recorded while it
    is signed: what it says is true wherever it stands.
    """
    here = facts["reason"] == RESTORED
    signed: dict[str, Json] = {
        "reason": facts["reason"],
        "size": facts["size"] if here else None,
        "leaf": facts["leaf"] if here else None,
        "missing": facts["missing"],
        "clock": facts["clock"],
        "words": words,
    }
    return canon.digest(signed)


def check_recovery(entry: Entry) -> None:
    """Refuse a recovery that contradicts itself or its place; whose signature it carries is another question."""
    facts: Mapping[str, Any] = entry.facts
    if (facts["size"], facts["leaf"]) != (entry.seq, entry.prev):
        raise Refused("other_place", "it names another last entry than the one before it")
    if (facts["reason"] == CLOCK) != (facts["clock"] is not None):
        raise Refused("other_facts", "a recovery of the clock, and no other, says what the clock was")
    if facts["reason"] == CLOCK:
        _check_clock(entry, facts)


def _check_clock(entry: Entry, facts: Mapping[str, Any]) -> None:
    if facts["missing"] is not None:
        raise Refused("other_facts", "nothing is missing because of a clock")
    since = timedelta(microseconds=entry.up - facts["clock"]["up"])
    if facts["clock"]["boot"] != entry.boot or not timedelta() <= since <= PATIENCE:
        raise Refused("other_clock", "it was signed at another boot, or too long ago")
    if not -SLACK <= ahead_of(entry) <= FURTHEST:
        raise Refused("other_clock", "its own time is not that of the clock, nor of the entries before it")
