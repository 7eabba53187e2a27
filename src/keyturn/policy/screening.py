"""Refuses before planning what no plan could save, so that hopeless requests cost nothing.

Every refusal here is one that `evaluate` would give too, whatever the plan turns out to be: anything that depends on
the plan counts as possible, and a limit counts only where every way through would meet it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from keyturn.model.decision import Deny, Request
from keyturn.policy.circumstances import NONE, Circumstances
from keyturn.policy.evaluation import admitted, applying_forbids, exhausted, forbidden, frozen, ungranted
from keyturn.policy.freezes import NOTHING, Freezing, freezing, frozen_now
from keyturn.policy.limits import spent
from keyturn.policy.policy import Policy
from keyturn.policy.rules import Grant
from keyturn.policy.subject import Subject, unplanned
from keyturn.policy.usage import PENDING, SUBMISSIONS, Counts
from keyturn.policy.where import Applies, Misses


@dataclass(frozen=True, slots=True)
class _Ways:
    """The live grants that may match, those of them that surely do, and whether the end may be a shadow."""

    possible: Sequence[Grant]
    certain: Sequence[Grant]
    shadow: bool

    @property
    def held(self) -> bool:
        """Say whether every way through waits for people."""
        return any(grant.approval for grant in self.certain) or all(grant.approval for grant in self.possible)


def screen(
    policy: Policy, request: Request, usage: Counts, now: datetime, circumstances: Circumstances = NONE
) -> Deny | None:
    """Deny a request that `evaluate` would deny under any plan, or return None. What it says of a plan is ignored."""
    principal = admitted(policy, request)
    if isinstance(principal, Deny):
        return principal
    subject = unplanned(request, principal, now)
    live, _ = applying_forbids(policy, subject)
    if live:
        return forbidden(live, None)
    if (stopped := _frozen(policy, request.tool, now, circumstances)).denied:
        return frozen(stopped, None)
    judged = [(grant, grant.judge(subject)) for grant in policy.grants_for(principal.name, request.tool)]
    open_ = [(grant, verdict) for grant, verdict in judged if not isinstance(verdict, Misses)]
    if not open_:
        missed = [(grant, verdict.because) for grant, verdict in judged if isinstance(verdict, Misses)]
        return ungranted(principal, request.tool, missed)
    ways = _Ways(
        possible=[grant for grant, _ in open_ if not grant.shadow],
        certain=[grant for grant, verdict in open_ if isinstance(verdict, Applies) and not grant.shadow],
        shadow=any(grant.shadow for grant, _ in open_),
    )
    return _exhausted(policy, ways, subject, usage, now)


def _frozen(policy: Policy, tool: str, now: datetime, circumstances: Circumstances) -> Freezing:
    """Return what the freezes say that are about any target there is."""
    anywhere = [freeze for freeze in policy.freezes if freeze.environments is None and freeze.targets is None]
    if not anywhere or policy.contracts[tool].kind != "governed":
        return NOTHING
    return freezing(frozen_now(anywhere, (tool, "", ""), now, circumstances))


def _exhausted(policy: Policy, ways: _Ways, subject: Subject, usage: Counts, now: datetime) -> Deny | None:
    """Deny if every way through meets a limit without room. A shadow takes no limit, so it is a way through."""
    if ways.shadow and not ways.certain:
        return None
    limits = policy.limits_binding(subject.principal.name, subject.tool)
    general = [limit for limit in limits if not limit.shadow and limit.environments is None]
    reserved = {"calls": 1, SUBMISSIONS: 1, **policy.reserved_by(subject.tool)}
    found = list(spent(general, subject, {**reserved, PENDING: int(ways.held)}, usage, now))
    if found:
        return exhausted(found, None)
    by_grant = {
        grant.id: list(spent(grant.limits, subject, {**reserved, PENDING: _waits(grant, ways)}, usage, now))
        for grant in ways.possible
    }
    for grant in ways.certain:
        if by_grant[grant.id]:
            return exhausted(by_grant[grant.id], None)
    if all(by_grant.values()):
        return exhausted([item for items in by_grant.values() for item in items], None)
    return None


def _waits(grant: Grant, ways: _Ways) -> int:
    """Count a waiting request where there surely is one if this grant matches; a lane may make one of others too."""
    return int(ways.held or grant.approval is not None)
