"""Checks of the ledger and of what stands in it: clock, policy, people, tokens, open questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.assembly.doctor.finding import Finding, fail, ok, warn
from keyturn.assembly.survey import Survey
from keyturn.fold.standing import Token
from keyturn.gateway.desk import Look
from keyturn.gateway.finding import find_requests
from keyturn.gateway.overview import Overview

SOON = timedelta(days=14)
LATELY = 100
"""Newest requests that tell over which transports assistants come in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the doctor reads in a ledger beside what a survey sees, in one look.

    transports  those of the newest requests
    suspended   each suspension in words
    """

    tokens: tuple[Token, ...]
    transports: tuple[str, ...]
    suspended: tuple[str, ...]


def read_record(view: Look) -> Record:
    """Read everything at once, from one consistent view."""
    requests = find_requests(view, limit=LATELY)
    return Record(
        tokens=tuple(view.state.tokens.values()),
        transports=tuple(sorted({str(entry.facts["transport"]) for entry in requests})),
        suspended=tuple(f"{halt.scope} is {halt.mode}" for halt in view.state.suspensions.present()),
    )


def check_record(found: Record, survey: Survey) -> Iterator[Finding]:
    """Judge what the ledger says."""
    seen = survey.seen
    yield ok(
        "ledger", f"{seen.size} entries, followed to the end this home remembers; keyturn audit verify proves each"
    )
    yield _clock(seen)
    yield from _start(survey.obstacles)
    yield _policy(survey.proposal)
    yield from _rules(seen)
    yield from _tokens(found.tokens, seen.now)
    if found.suspended:
        yield warn("suspended", "; ".join(found.suspended), "calls in it are refused", "keyturn resume, signed")
    if seen.unknown:
        shown = ", ".join(seen.unknown[:3])
        yield warn(
            "unknown",
            f"nobody knows whether {len(seen.unknown)} happened: {shown}",
            "",
            f"keyturn action show {seen.unknown[0]}",
        )


def _clock(seen: Overview) -> Finding:
    if seen.fault is None:
        return ok("clock", "it goes on from the newest entry")
    return fail("clock", seen.fault, "every governed action is refused until it is right")


def _start(obstacles: tuple[str, ...]) -> Iterator[Finding]:
    for obstacle in obstacles:
        yield fail("start", obstacle, "neither server nor worker can start here")
    if not obstacles:
        yield ok("start", "server and worker can start: wiring, contracts, pins and keys are in order")


def _policy(proposal: str) -> Finding:
    if proposal == "in force":
        return ok("policy", "policy.toml is the policy in force")
    if proposal == "differs":
        return warn(
            "policy",
            "policy.toml is not the policy in force",
            "it counts for nothing yet",
            "keyturn policy check, then keyturn policy activate -m REASON",
        )
    return fail("policy", f"policy.toml: {proposal}", "no server starts on it", "keyturn policy check")


def _rules(seen: Overview) -> Iterator[Finding]:
    for text in seen.warnings:
        eyes = "no owner is set" in text
        yield warn(
            "four eyes" if eyes else "rules",
            text,
            "whoever runs this assistant may review what it asks, if they are a reviewer" if eyes else "",
            'owner = "NAME" in policy.toml, then keyturn policy activate -m REASON'
            if eyes
            else "keyturn policy check",
        )
    if not seen.warnings:
        yield ok("rules", "nothing odd in the policy in force; every assistant has an owner")


def _tokens(tokens: tuple[Token, ...], now: datetime) -> Iterator[Finding]:
    live = [token for token in tokens if token.revoked_at is None and now < token.expires_at]
    if not live:
        yield warn("tokens", "no token counts", "no assistant can come in", "keyturn token issue NAME")
        return
    ending = [token for token in live if token.expires_at - now < SOON]
    for token in ending:
        days = max(0, (token.expires_at - now).days)
        yield warn(
            "tokens",
            f"the token {token.digest.removeprefix('sha256:')[:12]} of {token.principal} ends in {days} days",
            "",
            f"keyturn token issue {token.principal}",
        )
    if not ending:
        owners = ", ".join(sorted({token.principal for token in live}))
        yield ok("tokens", f"{len(live)} count, of {owners}; none ends within two weeks")
