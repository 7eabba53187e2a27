"""Entries and actions for tests of lives: written through the log's own writer, at any time one likes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from keyturn.approvals import life
from keyturn.approvals.action import Action, Review
from keyturn.approvals.life import obligation_to_json
from keyturn.canon import Json
from keyturn.log.entry import ZERO_HASH, Entry, read_entry, write_body
from keyturn.model.decision import Escalation, Obligation
from keyturn.model.time import format_timestamp, shifted

ORIGIN: Final = "acme/0123456789abcdef0123456789abcdef"
START: Final = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
SOON: Final = START + timedelta(minutes=1)
TTL: Final = timedelta(hours=4)
MICROSECOND: Final = timedelta(microseconds=1)
INSTANCE: Final = "00112233445566778899aabbccddeeff"
POLICY: Final = "sha256:" + "a" * 64
CONTRACT: Final = "v1 sha256:" + "c" * 64
REASON: Final = "hmac-sha256:" + "0" * 64
WHERE: Final[dict[str, Json]] = {
    "backend": {"port": "forge", "name": "shop", "kind": "git", "location": "/srv/shop.git", "account": ""},
    "target": "forge:shop/main",
    "environment": "production",
}


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def key_of(person: str) -> str:
    """A line that stands for a person's key where no signature is checked."""
    return f"ssh-ed25519 {person}"


def obligation(
    *reviewers: str,
    quorum: int = 1,
    rule: str = "pull requests",
    keys: str = "any",
    rejects: int = 1,
    later: Mapping[int, Sequence[str]] | None = None,
) -> Obligation:
    steps = tuple(Escalation(after, tuple(names)) for after, names in (later or {}).items())
    return Obligation(
        rule=rule,
        quorum=quorum,
        sources=("group:sre",),
        reviewers=reviewers,
        keys=keys,
        rejects=rejects,
        escalations=steps,
    )


@dataclass
class Book:
    """Entries one after another; unsigned by the log, for rooms that leave the chain to others."""

    now: datetime = START
    entries: list[Entry] = field(default_factory=list)

    def add(
        self,
        kind: str,
        facts: Mapping[str, Json],
        action: str | None = None,
        data: Mapping[str, str] | None = None,
    ) -> Entry:
        seq = len(self.entries)
        frame: dict[str, Json] = {
            "v": 1,
            "log": ORIGIN,
            "seq": seq,
            "prev": self.entries[-1].leaf if self.entries else ZERO_HASH,
            "ts": format_timestamp(self.now),
            "boot": "boot",
            "up": seq,
            "kid": "0" * 32,
            "kind": kind,
        }
        self.entries.append(read_entry(write_body(frame, facts, data or {}, action), b""))
        return self.entries[-1]

    def request(self, number: int = 1, **changed: Json) -> Entry:
        """Append `action.requested`: held for alice unless changed."""
        return self.add("action.requested", self.request_facts(**changed), action_id(number))

    def request_facts(self, **changed: Json) -> dict[str, Json]:
        held = changed.get("decision", "hold") == "hold"
        obligations = [obligation_to_json(obligation("alice"))] if held else []
        facts: dict[str, Json] = {
            "principal": "claude",
            "owner": "olga",
            "token": "sha256:" + "1" * 64,
            "transport": "stdio",
            **WHERE,
            "tool": "open_pull_request",
            "contract": CONTRACT,
            "policy": POLICY,
            "decision": "hold",
            "rules": ["pull requests"],
            "obligations": obligations,
            "reviewers": {"alice": [key_of("alice")]} if held else {},
            "excluded": ["olga"] if held else [],
            "effects": {"calls": 1, "files_changed": 2, "lines_changed": 30, "recipients": 0},
            "expires_at": format_timestamp(shifted(self.now, TTL)),
            "repeat": False,
            "supersedes": None,
        }
        return {**facts, **changed}

    def start(self, *reviews: int, number: int = 1, **changed: Json) -> Entry:
        facts: dict[str, Json] = {"instance": INSTANCE, "reviews": list(reviews), "policy": POLICY}
        return self.add("execution.started", {**facts, **changed}, action_id(number))

    def finish(self, outcome: str, number: int = 1, **changed: Json) -> Entry:
        effect = {"succeeded": True, "unknown": None}.get(outcome, False)
        facts: dict[str, Json] = {"instance": INSTANCE, "outcome": outcome, "effect": effect, "recovered": False}
        return self.add("execution.finished", {**facts, **changed}, action_id(number))

    def resolve(self, outcome: str, number: int = 1, **changed: Json) -> Entry:
        facts: dict[str, Json] = {
            "outcome": outcome,
            "effect": outcome == "succeeded",
            "method": "probe",
            "act": None,
        }
        return self.add("execution.resolved", {**facts, **changed}, action_id(number))

    def cancel(self, number: int = 1, by: str = "claude", kind: str = "principal") -> Entry:
        return self.add("action.cancelled", {"by": {"type": kind, "name": by}}, action_id(number))

    def stale(self, number: int = 1) -> Entry:
        facts: dict[str, Json] = {"stage": "claim", "codes": ["facts_moved"], "superseded_by": None}
        return self.add("action.stale", facts, action_id(number))

    def expire(self, number: int = 1) -> Entry:
        return self.add("action.expired", {}, action_id(number))


def action_id(number: int) -> str:
    return f"01a1fdf0-0000-7000-8000-{number:012x}"


def held(
    *obligations: Obligation, owner: str | None = None, excluded: Sequence[str] = (), ttl: timedelta = TTL
) -> Action:
    """An action requested at `START` that waits for these obligations, its people each with a key of their own."""
    people = {name for due in obligations for name in due.reviewers}
    people |= {name for due in obligations for step in due.escalations for name in step.reviewers}
    entry = Book().request(
        owner=owner,
        excluded=list(excluded),
        obligations=[obligation_to_json(due) for due in obligations],
        reviewers={name: [key_of(name)] for name in sorted(people)},
        expires_at=format_timestamp(START + ttl),
    )
    return life.requested(entry)


def review(
    person: str,
    verdict: str = "approve",
    *,
    at: datetime = SOON,
    seq: int | None = None,
    present: bool | None = None,
    pinned: bool | None = None,
) -> Review:
    """A review as recorded; its place follows from its time unless given."""
    place = int((at - START) / seconds(1)) + 1 if seq is None else seq
    return Review(
        seq=place,
        reviewer=person,
        verdict=verdict,
        key="SHA256:" + hashlib.sha256(person.encode()).hexdigest()[:43],
        signed_at=at,
        recorded_at=at,
        present=present,
        pinned=pinned,
    )


def with_reviews(action: Action, *reviews: Review) -> Action:
    for one in reviews:
        action = life.reviewed(action, one)
    return action


def facts_of(entry: Entry) -> dict[str, Any]:
    return dict(entry.facts)
