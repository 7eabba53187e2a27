"""Freezes set aside: a listed person signs that one freeze of the policy in force does not count until a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from keyturn import canon
from keyturn.fold.signatures import Act
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused
from keyturn.model.time import parse_timestamp
from keyturn.policy.circumstances import Override

OVERRIDE = "freeze.override"
REASON = "reason"
LONGEST_OVERRIDE = timedelta(days=7)


def overriding(facts: Mapping[str, Any], reason: str | None) -> Act:
    """Return what a person signs for a `freeze.overridden` entry; `reason` is the commitment to their words."""
    content = canon.digest({"freeze": facts["freeze"], "reason": reason, "until": facts["until"]})
    return Act(verb=OVERRIDE, object=facts["freeze"], digest=content)


def override_of(entry: Entry, by: str) -> Override:
    """Read a `freeze.overridden` entry signed by `by`. Raises `Refused` when it has no end that is near enough."""
    until = parse_timestamp(entry.text("until"))
    if not timedelta() < until - entry.at <= LONGEST_OVERRIDE:
        days = LONGEST_OVERRIDE.days
        raise Refused("no_end", f"a freeze is set aside until a time to come, at most {days} days ahead")
    return Override(freeze=entry.text("freeze"), until=until, seq=entry.seq, by=by)
