"""An action as its entries tell it, and the state that follows from them at a given time.

    denied   shadowed
    pending ⇄ approved → running → succeeded | failed | stale | unknown      unknown → succeeded | failed
       └─────────┴──→ rejected | expired | cancelled | stale

An action is a value; `life` makes the next one from an entry. Its status is never stored: expiry is computed, and so
is who may review by now. A permitted action is approved from its request on; a shadowed one is over with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, get_args

from keyturn.model.decision import Obligation

State: TypeAlias = Literal[
    "denied",
    "shadowed",
    "pending",
    "approved",
    "running",
    "succeeded",
    "failed",
    "unknown",
    "rejected",
    "expired",
    "cancelled",
    "stale",
]
"""Where an action, or a call that was refused, can stand."""

STATES: tuple[str, ...] = get_args(State)

TERMINAL = frozenset({"denied", "shadowed", "succeeded", "failed", "rejected", "expired", "cancelled", "stale"})
"""States that nothing leaves. `unknown` is not one of them, yet waiting for it ends at once."""

_SECOND = timedelta(seconds=1)

OPEN = frozenset({"pending", "approved", "running", "unknown"})
"""States that are not settled: something waits, runs, or may have happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One recorded review whose signature verified.

    signed_at       the statement's own time; a reviewer's later review must be later by it
    key             fingerprint of the signing key
    present, pinned FIDO2 user presence and user verification; None for keys that are not hardware
    """

    seq: int
    reviewer: str
    verdict: str
    key: str
    signed_at: datetime
    recorded_at: datetime
    present: bool | None = None
    pinned: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The durable intent: which executor instance began, at which entry."""

    seq: int
    instance: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """Who signed for the execution of an action, and at which entry."""

    seq: int
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action from the entry that requests it on; `digest` is that entry's leaf hash, what reviewers sign.

    `signed_after` is when the ledger was last restored from a copy while the action waited: what was signed until
    then does not count, wherever it was kept meanwhile. `undoes` is the action that this one takes back, if it does;
    `asked_by` the person who asked for that by signature, and who is among `excluded`. `reserved` is what it takes of
    runtime and cost beside its effects, and `finished_at` when its effect had ended or was given up. `withheld` are
    the rules by which nobody executes it before a person has signed for that, and `released` is that signature.
    """

    id: str
    seq: int
    digest: str
    principal: str
    owner: str | None
    tool: str
    contract: str
    backend: Mapping[str, str]
    target: str
    environment: str
    policy: str
    decision: str
    rules: tuple[str, ...]
    obligations: tuple[Obligation, ...]
    reviewers: Mapping[str, tuple[str, ...]]
    excluded: tuple[str, ...]
    effects: Mapping[str, int]
    requested_at: datetime
    expires_at: datetime
    reviews: tuple[Review, ...] = field(default=())
    started: Started | None = None
    ended: str | None = None
    ended_at: datetime | None = None
    effect: bool | None = None
    signed_after: datetime | None = None
    undoes: str | None = None
    asked_by: str | None = None
    reserved: Mapping[str, int] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()
    released: Released | None = None
    finished_at: datetime | None = None

    @property
    def waits_for_a_hand(self) -> bool:
        """Whether nobody has signed for its execution, though somebody must."""
        return bool(self.withheld) and self.released is None

    @property
    def beside(self) -> range:
        """The entries that stand with its request, in the same commit: what it reserves, and that it is withheld."""
        return range(self.seq + 1, self.seq + 1 + bool(self.reserved) + bool(self.withheld))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How one obligation stands: who approved and counts, who rejected, and how many approvals are missing."""

    obligation: Obligation
    approved: tuple[str, ...]
    rejected: tuple[str, ...]
    eligible: tuple[str, ...]

    @property
    def missing(self) -> int:
        """Approvals still needed."""
        return max(0, self.obligation.quorum - len(self.approved))


def eligible(action: Action, obligation: Obligation, now: datetime) -> tuple[str, ...]:
    """Return who may review for this obligation at `now`: its reviewers and those it has escalated to."""
    waited = (now - action.requested_at) // _SECOND
    names = list(obligation.reviewers)
    for step in obligation.escalations:
        if waited >= step.after:  # compared as seconds: an entry may say more of them than a timedelta holds
            names += step.reviewers
    return tuple(name for name in dict.fromkeys(names) if name not in action.excluded)


def tally(action: Action, obligation: Obligation, now: datetime) -> Tally:
    """Count the newest review of each eligible person whose key is of the class asked for."""
    people = eligible(action, obligation, now)
    newest = {review.reviewer: review for review in action.reviews if review.reviewer in people}
    fit = {name: review.verdict for name, review in newest.items() if key_shortfall(obligation.keys, review) is None}
    return Tally(
        obligation=obligation,
        approved=tuple(name for name, verdict in fit.items() if verdict == "approve"),
        # A no needs no hardware: whoever may say yes may always say no.
        rejected=tuple(name for name, review in newest.items() if review.verdict == "reject"),
        eligible=people,
    )


def tallies(action: Action, now: datetime) -> tuple[Tally, ...]:
    """Return how every obligation stands at `now`."""
    return tuple(tally(action, obligation, now) for obligation in action.obligations)


def key_shortfall(asked: str, review: Review) -> str | None:
    """Say why a review's key is not of the class an obligation asks for, or None when it is."""
    match asked:
        case "any":
            return None
        case "hardware" | "hardware+pin" if review.present is None:
            return "it asks for a hardware key (sk-…)"
        case "hardware" | "hardware+pin" if not review.present:
            return "the signature says that nobody touched the hardware key"
        case "hardware+pin" if not review.pinned:
            return "the signature says that the hardware key's PIN was not asked"
        case "hardware" | "hardware+pin":
            return None
    return f"key class {asked!r} is not known"


def status(action: Action, now: datetime) -> str:
    """Return the state of the action at `now`."""
    if action.ended is not None:
        return action.ended
    if action.decision == "shadow":
        return "shadowed"
    if action.started is not None:
        return "running"
    counts = tallies(action, min(now, action.expires_at))
    if any(len(count.rejected) >= count.obligation.rejects for count in counts):
        return "rejected"
    if now >= action.expires_at:
        return "expired"
    return "approved" if all(count.missing == 0 for count in counts) else "pending"


def ended_at(action: Action, now: datetime) -> datetime | None:
    """Return when the action reached a terminal state, or None while it has not."""
    match status(action, now):
        case "expired":
            return action.expires_at
        case "rejected":
            return _rejected_at(action)
        case "shadowed":
            return action.ended_at or action.requested_at
        case state if state in TERMINAL:
            return action.ended_at
    return None


def _rejected_at(action: Action) -> datetime:
    """Return when the rejections sufficed: with the last review, or once an escalation let one of them count."""
    last = action.reviews[-1].recorded_at
    lasts = (action.expires_at - action.requested_at) // _SECOND
    steps = {step.after for obligation in action.obligations for step in obligation.escalations}
    # Steps after the expiry let nobody's word count any more.
    moments = (action.requested_at + timedelta(seconds=after) for after in sorted(steps) if after <= lasts)
    later = (moment for moment in moments if status(action, moment) == "rejected")
    return last if status(action, last) == "rejected" else next(later)
