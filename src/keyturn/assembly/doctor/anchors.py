"""Checks of the anchors: what each was brought last, as the ledger records it. None of them is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keyturn.assembly.doctor.finding import Finding, ok, warn
from keyturn.assembly.signing import Standing, standing, unsigned
from keyturn.fold.standing import Anchored
from keyturn.gateway.desk import Look
from keyturn.log.keys import LogVerifier
from keyturn.model.time import format_timestamp, parse_duration

PAGE = "docs/how-to/anchor-the-ledger.md"
LATE = timedelta(minutes=5)
"""How far behind its pace an anchor may be: checkpoints are a minute apart, and a failure is tried again."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A restore that lost entries: the entry that says so, when, and how many entries the lost ledger had."""

    seq: int
    at: datetime
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outward:
    """What the doctor reads of a ledger's way outside, in one look.

    unsigned  the time of the oldest entry of news that no checkpoint holds, None where all is signed
    loss      the newest restore that lost entries
    """

    standing: Standing
    unsigned: datetime | None
    loss: Loss | None
    now: datetime


def read_anchored(view: Look, verifier: LogVerifier) -> Outward:
    """Read how far the ledger is signed and anchored."""
    first = unsigned(view, verifier)
    return Outward(
        standing=standing(view, verifier),
        unsigned=None if first is None else first.at,
        loss=_loss_in(view),
        now=view.now,
    )


def _loss_in(view: Look) -> Loss | None:
    for entry in view.newest("recovery"):
        facts: dict[str, Any] = dict(entry.facts)
        if facts["missing"] is not None:
            return Loss(entry.seq, entry.at, facts["missing"]["size"])
    return None


def anchors(declared: Mapping[str, Any], seen: Outward) -> Iterator[Finding]:
    """Say of each anchor how far it is; `declared` is name → settings."""
    if not declared:
        yield ok("anchors", f"none is declared: only copies and receipts would show a rollback ({PAGE})")
    for name, settings in declared.items():
        title, last = f"{name} ({settings.kind})", seen.standing.last.get(name)
        if settings.kind == "witness" and seen.loss is not None and (last is None or last.at <= seen.loss.at):
            yield _left_behind(title, seen.loss)
        else:
            yield _one(title, seen.standing, last, seen.now - parse_duration(settings.every) - LATE)
    if declared and seen.unsigned is not None and seen.unsigned < seen.now - LATE:
        yield warn(
            "anchors",
            f"no checkpoint was signed of what was written since {format_timestamp(seen.unsigned)}",
            "no anchor sees any of it: the log key is not at hand, it does not sign, or no server or worker runs",
            "keyturn audit anchor",
        )


def _left_behind(title: str, loss: Loss) -> Finding:
    return warn(
        "anchors",
        f"{title} has cosigned nothing since entry {loss.seq}, by which a ledger of {loss.size} entries was lost",
        "a witness that saw any of what was lost never cosigns this log again, whoever signed for that",
        f"keyturn audit anchor tells; then take it out of keyturn.toml, or begin a new log ({PAGE})",
    )


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
