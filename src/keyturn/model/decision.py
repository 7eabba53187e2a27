"""What the gate says: permit, hold, deny or shadow, always with its reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from keyturn.canon import Json
from keyturn.model.risk import Risk


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a stable code, a sentence for people and models, and the id of the rule that spoke, if one did."""

    code: str
    text: str
    rule: str | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the reason as envelopes carry it."""
        return {"code": self.code, "rule": self.rule, "text": self.text}


@dataclass(frozen=True, slots=True)
class Escalation:
    """After `after` seconds of waiting the people in `reviewers` may review too."""

    after: int
    reviewers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """One approval that must be met.

    quorum     distinct people who must approve
    sources    the groups or names as the policy wrote them (`from`)
    reviewers  names of the people eligible now, owner already excluded
    keys       "any", "hardware" (FIDO2 with user presence) or "hardware+pin" (and user verification)
    rejects    rejections by eligible people that end the action
    """

    rule: str
    quorum: int
    sources: tuple[str, ...]
    reviewers: tuple[str, ...]
    keys: str = "any"
    rejects: int = 1
    escalations: tuple[Escalation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Run it now; every matching rule allows it without people.

    `manual` are the rules by which it runs only once a person has signed for its execution.
    """

    environment: str
    rules: tuple[str, ...]
    expires_at: datetime
    reasons: tuple[Reason, ...] = ()
    manual: tuple[str, ...] = ()
    risk: Risk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Wait for people: every obligation must be met before `expires_at`.

    `reviewers` maps each eligible person (now or by escalation) to their public key lines. `manual` is as in
    `Permit`.
    """

    environment: str
    rules: tuple[str, ...]
    expires_at: datetime
    obligations: tuple[Obligation, ...]
    reviewers: Mapping[str, tuple[str, ...]]
    excluded: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    manual: tuple[str, ...] = ()
    risk: Risk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """Record what would have happened and do nothing."""

    environment: str
    rules: tuple[str, ...]
    reasons: tuple[Reason, ...] = ()
    risk: Risk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """Refused; `environment` is None when the target lies in none."""

    reasons: tuple[Reason, ...]
    environment: str | None = None
    rules: tuple[str, ...] = ()
    retry_at: datetime | None = None
    risk: Risk | None = None


Decision: TypeAlias = Permit | Hold | Shadow | Deny
"""What is said of a request; `risk` is its score where the policy scores, and None where it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the policy judges: who asks for what, and the plan if one was made.

    `arguments` are the contract's arguments without `reason` and `repeat`. Before planning, `target`, `view` and
    `effects` are None: then only what cannot depend on them may be decided. `diff` is the plan's, and is looked
    through for credentials.
    """

    principal: str
    token_scopes: frozenset[str] | None
    tool: str
    arguments: Mapping[str, Json]
    target: str | None = None
    environment: str | None = None
    view: Mapping[str, Json] | None = None
    effects: Mapping[str, int] = field(default_factory=dict)
    diff: str = ""
