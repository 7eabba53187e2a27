"""The rules of a policy as frozen values: grants with their approvals, forbids, and the world they speak of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from keyturn.model.sshkey import PublicKey
from keyturn.policy.limits import Limit
from keyturn.policy.patterns import Pattern
from keyturn.policy.subject import Subject
from keyturn.policy.validity import ALWAYS, Validity
from keyturn.policy.where import Misses, Outside, Verdict, Where

KEY_CLASSES = ("any", "hardware", "hardware+pin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who may own assistants; `display` is for people only."""

    name: str
    display: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewer:
    """Somebody who may review, with the keys that prove it."""

    name: str
    keys: tuple[PublicKey, ...]
    groups: frozenset[str] = frozenset()
    display: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A class of targets: every target one of the globs matches. `lane` is what it lies in, if in any."""

    name: str
    targets: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    lane: Lane | None = None

    def covers(self, target: str) -> bool:
        """Say whether the target lies here. Raises `UnicodeEncodeError` for lone surrogates."""
        for pattern in self.patterns:  # noqa: SIM110 - asked of every environment for every request
            if pattern.matches(target):
                return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Widening:
    """After `after` the people in `sources` (by name: `reviewers`) may review too."""

    after: timedelta
    sources: tuple[str, ...]
    reviewers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What people must agree to.

    reviewers  everybody in `sources` who has a key of the class asked; the owner is excluded per request
    """

    quorum: int
    sources: tuple[str, ...]
    reviewers: tuple[str, ...]
    keys: str
    expires: timedelta
    rejects: int
    escalate: tuple[Widening, ...] = ()

    def eligible(self, owner: str | None) -> frozenset[str]:
        """Return who may review for this owner, sooner or later."""
        later = {name for widening in self.escalate for name in widening.reviewers}
        return frozenset({*self.reviewers, *later} - {owner})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What the environments of a lane ask, whatever is granted in them.

    approval    asked where a grant has none of its own; None asks nothing
    tools       the only ones that may be called; None: all
    recipients  who alone may be told; None: anybody
    retention   how long payloads of what happens there are kept; None: no end is set
    """

    name: str
    approval: Approval | None
    tools: frozenset[str] | None
    recipients: tuple[Pattern, ...] | None
    retention: timedelta | None

    @property
    def rule(self) -> str:
        """Its name in decisions: where it stands in the text."""
        return f"lanes.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What a grant makes of a risk score: people must agree from `hold_at` on, and from `deny_at` on it is refused.

    `approval` says who must agree; None leaves it to the grant's own approval, or its lane's.
    """

    hold_at: int | None
    deny_at: int | None
    approval: Approval | None
    shadow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Lets principals call one tool. `place` is where it stands (`grants[0]`), `pin` the contract agreed to.

    `manual` says that a person has to sign for each execution, once it is allowed; `secrets` that what looks like a
    credential may be added; `anchor` that what it lets through begins only once its intent is anchored.
    """

    id: str
    place: str
    principals: frozenset[str]
    tool: str
    pin: str
    where: Where
    limits: tuple[Limit, ...]
    approval: Approval | None
    shadow: bool
    anchor: bool = False
    manual: bool = False
    risk: Thresholds | None = None
    secrets: bool = False
    valid: Validity = ALWAYS

    def judge(self, subject: Subject) -> Verdict:
        """Say whether the rule applies: it misses whatever is asked outside the dates between which it is valid."""
        if self.valid is not ALWAYS and (because := self.valid.why_not(subject.now)):
            return Misses(None, Outside(because))
        return self.where.judge(subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbid:
    """Refuses whatever it matches; None for tool or principals means all."""

    id: str
    place: str
    principals: frozenset[str] | None
    tool: str | None
    where: Where
    shadow: bool
    valid: Validity = ALWAYS

    def covers(self, principal: str, tool: str) -> bool:
        """Say whether the rule is about this principal and tool."""
        about = self.tool is None or self.tool == tool
        return about and (self.principals is None or principal in self.principals)

    def judge(self, subject: Subject) -> Verdict:
        """Say whether the rule applies: it misses whatever is asked outside the dates between which it is valid."""
        if self.valid is not ALWAYS and (because := self.valid.why_not(subject.now)):
            return Misses(None, Outside(because))
        return self.where.judge(subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One `[[limits]]` rule: its limits all carry its filters."""

    id: str
    place: str
    limits: tuple[Limit, ...]
    shadow: bool
    valid: Validity = ALWAYS
