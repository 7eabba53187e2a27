"""Explains a decision: every rule with why it did or did not speak, beside the decision itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from keyturn.canon import Json
from keyturn.model.decision import Decision, Deny, Hold, Request
from keyturn.policy.circumstances import NONE, Circumstances
from keyturn.policy.evaluation import admitted, amounts_of, evaluate, located
from keyturn.policy.freezes import Freeze, freezing, frozen_now
from keyturn.policy.lanes import approvals_of, barred
from keyturn.policy.limits import Limit, LimitState, spent, states
from keyturn.policy.policy import Policy
from keyturn.policy.risk.score import assess
from keyturn.policy.rules import Budget, Forbid, Grant, Lane
from keyturn.policy.shown import shown
from keyturn.policy.subject import Subject, planned, unplanned
from keyturn.policy.usage import PENDING, Counts
from keyturn.policy.where import Applies, Depends, Misses


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTrace:
    """One rule and what it had to say.

    kind     "grant", "forbid", "freeze", "limit" or "lane"
    mode     "live" or "shadow"
    verdict  "applies", "misses" (it is about this call, a condition failed), "unrelated", or "open" (no plan yet)
    text     why, with the first condition that failed and the value seen
    """

    rule: str
    place: str
    kind: str
    mode: str
    verdict: str
    text: str

    def to_json(self) -> dict[str, Json]:
        """Return the trace as `--json` prints it."""
        return {
            "rule": self.rule,
            "place": self.place,
            "kind": self.kind,
            "mode": self.mode,
            "verdict": self.verdict,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `evaluate` says, and every rule's part in it, in the order of the text."""

    decision: Decision
    rules: tuple[RuleTrace, ...]


def explain(
    policy: Policy, request: Request, usage: Counts, now: datetime, circumstances: Circumstances = NONE
) -> Explanation:
    """Return the decision of `evaluate` with a trace of each rule of the policy."""
    decision = evaluate(policy, request, usage, now, circumstances)
    subject = _subject(policy, request, usage, now)
    traces = (
        *(_grant(grant, request, subject) for grant in policy.grants),
        *(_forbid(forbid, request, subject) for forbid in policy.forbids),
        *(_freeze(freeze, policy, (request, subject), now, circumstances) for freeze in policy.freezes),
        *(_budget(budget, subject, (policy, request, usage), decision, now) for budget in policy.budgets),
        *(_lane(lane, policy, request, subject) for lane in policy.lanes.values()),
    )
    return Explanation(decision, traces)


def limits_for(policy: Policy, principal: str, usage: Counts, now: datetime) -> tuple[LimitState, ...]:
    """Return what is left of every live limit that binds a principal, in the order of the rules' ids."""
    known = policy.principals.get(principal)
    if known is None:
        return ()
    limits = sorted(_limits_of(policy, principal), key=lambda limit: (limit.rule, limit.text))
    return tuple(state for limit in dict.fromkeys(limits) for state in states(limit, known, usage, now))


def _limits_of(policy: Policy, principal: str) -> Iterator[Limit]:
    granted = [grant for grant in policy.grants if principal in grant.principals and not grant.shadow]
    tools = {grant.tool for grant in granted}
    for grant in granted:
        yield from grant.limits
    for budget in policy.budgets:
        if not budget.shadow:
            yield from (limit for limit in budget.limits if any(limit.binds(principal, tool) for tool in tools))


def _subject(policy: Policy, request: Request, usage: Counts, now: datetime) -> Subject | str:
    """Return what the conditions see, or why they are not asked at all."""
    principal = admitted(policy, request)
    if isinstance(principal, Deny):
        return principal.reasons[0].text
    environment = located(policy, request)
    if isinstance(environment, Deny):
        return unplanned(request, principal, now)
    return planned(request, principal, environment, now, assess(policy.risk, request, usage, now))


def _grant(grant: Grant, request: Request, subject: Subject | str) -> RuleTrace:
    unrelated = ""
    if grant.tool != request.tool:
        unrelated = f"is about {grant.tool}"
    elif request.principal not in grant.principals:
        unrelated = f"is not about {shown(request.principal)}"
    verdict, text = ("unrelated", unrelated) if unrelated else _judged(grant, subject)
    return RuleTrace(
        rule=grant.id, place=grant.place, kind="grant", mode=_mode(grant.shadow), verdict=verdict, text=text
    )


def _forbid(forbid: Forbid, request: Request, subject: Subject | str) -> RuleTrace:
    verdict, text = "unrelated", "is about other tools or principals"
    if forbid.covers(request.principal, request.tool):
        verdict, text = _judged(forbid, subject)
    return RuleTrace(
        rule=forbid.id, place=forbid.place, kind="forbid", mode=_mode(forbid.shadow), verdict=verdict, text=text
    )


def _freeze(
    freeze: Freeze,
    policy: Policy,
    asked: tuple[Request, Subject | str],
    now: datetime,
    circumstances: Circumstances,
) -> RuleTrace:
    request, subject = asked
    verdict, text = "unrelated", "is about other tools, environments or targets"
    if policy.contracts.get(request.tool) is None or policy.contracts[request.tool].kind != "governed":
        text = "is about what changes something only"
    elif isinstance(subject, str):
        verdict, text = "misses", subject
    elif not isinstance(subject.environment, str) or not isinstance(subject.target, str):
        verdict, text = "open", "what it is about takes a target in one environment"
    else:
        call = (request.tool, subject.environment, subject.target)
        if freeze.covers(*call):
            found = freezing(frozen_now([freeze], call, now, circumstances))
            said = (*found.reasons, *found.notes)
            verdict, text = ("applies", said[0].text) if said else ("misses", "is not on at this time")
            if said and not found.denied and not found.asks:
                verdict = "applies" if freeze.shadow else "misses"
    return RuleTrace(
        rule=freeze.id, place=freeze.place, kind="freeze", mode=_mode(freeze.shadow), verdict=verdict, text=text
    )


def _lane(lane: Lane, policy: Policy, request: Request, subject: Subject | str) -> RuleTrace:
    verdict, text = "unrelated", "is not the lane of the target's environment"
    if isinstance(subject, Subject) and policy.lane_of(str(subject.environment)) == lane:
        stopped = barred(lane, request)
        verdict, text = "misses", "refuses nothing here, and its approval is not asked"
        if stopped is not None:
            verdict, text = "applies", stopped.text
        elif _falls_back(lane, policy, subject):
            verdict, text = "applies", "its approval is asked, for a grant that has none"
    return RuleTrace(rule=lane.rule, place=lane.rule, kind="lane", mode="live", verdict=verdict, text=text)


def _falls_back(lane: Lane, policy: Policy, subject: Subject) -> bool:
    about = policy.grants_for(subject.principal.name, subject.tool)
    matching = [g for g in about if not g.shadow and isinstance(g.judge(subject), Applies)]
    governed = policy.contracts[subject.tool].kind == "governed"
    return lane.rule in approvals_of(lane, matching, governed=governed)


def _budget(
    budget: Budget,
    subject: Subject | str,
    asked: tuple[Policy, Request, Counts],
    decision: Decision,
    now: datetime,
) -> RuleTrace:
    policy, request, usage = asked
    verdict, text = "unrelated", "counts other tools, principals or environments"
    binding = [limit for limit in budget.limits if limit.binds(request.principal, request.tool)]
    if isinstance(subject, str):
        verdict, text = ("misses", subject) if binding else (verdict, text)
    elif binding and any(limit.scope(subject) for limit in binding):
        amounts = {**amounts_of(request), **policy.reserved_by(request.tool), PENDING: _waits(budget, decision)}
        found = list(spent(binding, subject, amounts, usage, now))
        verdict, text = ("applies", found[0].reason.text) if found else ("misses", "has room")
    return RuleTrace(
        rule=budget.id, place=budget.place, kind="limit", mode=_mode(budget.shadow), verdict=verdict, text=text
    )


def _waits(budget: Budget, decision: Decision) -> int:
    """Count a waiting request where the decision makes one, or would without this limit."""
    named = {*decision.rules, *(reason.rule for reason in decision.reasons)}
    return int(isinstance(decision, Hold) or budget.id in named)


def _judged(rule: Grant | Forbid, subject: Subject | str) -> tuple[str, str]:
    if isinstance(subject, str):
        return "misses", subject
    verdict = rule.judge(subject)
    match verdict:
        case Applies():
            return "applies", verdict.because or "has no conditions"
        case Misses():
            return "misses", verdict.because
        case Depends():
            return "open", verdict.because


def _mode(shadow: bool) -> str:
    return "shadow" if shadow else "live"
