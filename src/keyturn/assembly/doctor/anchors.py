"""Checks of the anchors: what each was brought last, as the ledger records it. None of them is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from keyturn.assembly.doctor.finding import Finding, ok, warn
from keyturn.assembly.signing import Standing
from keyturn.fold.standing import Anchored
from keyturn.model.time import format_timestamp, parse_duration

PAGE = "docs/how-to/anchor-the-ledger.md"
LATE = timedelta(minutes=5)
"""How far behind its pace an anchor may be: checkpoints are a minute apart, and a failure is tried again."""


def anchors(declared: Mapping[str, Any], standing: Standing, now: datetime) -> Iterator[Finding]:
    """Say of each anchor how far it is; `declared` is name → settings."""
    if not declared:
        yield ok("anchors", f"none is declared: only copies and receipts would show a rollback ({PAGE})")
    for name, settings in declared.items():
        every = parse_duration(settings.every)
        yield _one(f"{name} ({settings.kind})", standing, standing.last.get(name), now - every - LATE)


def _one(title: str, standing: Standing, last: Anchored | None, since: datetime) -> Finding:
    if last is None:
        return warn(
            "anchors", f"{title} has no checkpoint yet", "it would not notice a rollback", "keyturn audit anchor"
        )
    told = f"{title} has the checkpoint of {last.size} entries since {format_timestamp(last.at)}"
    signed = 0 if standing.kept is None else standing.kept.checkpoint.size
    if last.size < signed and last.at < since:
        return warn("anchors", told, f"it has seen none of {signed - last.size} more entries", "keyturn audit anchor")
    return ok("anchors", told)
