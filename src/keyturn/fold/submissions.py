"""Counts what was submitted, whatever became of it: requests, and calls that were refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.log.entry import Entry
from keyturn.policy.usage import SUBMISSIONS, Usage


def count_submission(usage: Usage, entry: Entry) -> None:
    """Count the call, or the calls, that an entry tells of; nothing gives that back.

    Refusals that were only counted (`requests.throttled`) name no owner, and count for their principal alone.
    """
    facts: Mapping[str, Any] = entry.facts
    name = f"submitted-{entry.seq}"
    usage.reserve(
        name,
        at=entry.at,
        principal=facts["principal"],
        owner=facts.get("owner"),
        tool=facts.get("tool") or "",
        target=facts.get("target") or "",
        environment=facts.get("environment") or "",
        amounts={SUBMISSIONS: facts.get("count", 1)},
        pending=False,
    )
    usage.settle(name, release=False)
