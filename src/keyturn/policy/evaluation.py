"""Decides one request: the same policy, request, usage, time and circumstances always give the same answer.

What is decided, in this order; the first no is the answer:

1. the principal is known, and it and its token have the contract's scope;
2. the planned target lies in exactly one environment, and in the one an argument selected;
3. the lane of that environment allows the tool, and everybody who would be told;
4. no forbid applies; a condition that cannot be judged makes it apply;
5. no freeze that refuses is on;
6. a grant matches; a condition that cannot be judged, or is absent, makes it not match;
7. every limit of every matching grant, and every general limit, has room, for what the tool reserves as well;
8. nothing is added that looks like a credential, unless every matching grant allows it, and the risk score is below
   what any of them refuses;
9. every approval of every matching grant becomes an obligation, and the lane's for one that has none, and those that
   its score and freezes ask for: any of them holds the request.

A shadow grant speaks only where no live grant does; other shadow rules only add a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from keyturn.model.decision import Decision, Deny, Escalation, Hold, Obligation, Permit, Reason, Request, Shadow
from keyturn.model.principal import Principal
from keyturn.model.risk import Risk
from keyturn.model.time import format_timestamp
from keyturn.policy.anchoring import anchor_reason
from keyturn.policy.circumstances import NONE, Circumstances
from keyturn.policy.freezes import Freezing
from keyturn.policy.lanes import approvals_of, barred
from keyturn.policy.limits import Spent, spent
from keyturn.policy.policy import Policy
from keyturn.policy.risk import thresholds
from keyturn.policy.risk.score import assess
from keyturn.policy.rules import Approval, Forbid, Grant
from keyturn.policy.shown import shown
from keyturn.policy.subject import Subject, planned
from keyturn.policy.usage import PENDING, SUBMISSIONS, Counts
from keyturn.policy.where import Applies, Misses

PERMIT_FOR = timedelta(minutes=15)
MANUAL_FOR = timedelta(hours=4)  # where a person has yet to sign for the execution
_TOLD = 10


@dataclass(slots=True, kw_only=True)
class _Case:
    """One request being decided; nothing changes it. It is not frozen because that takes as long as a condition."""

    policy: Policy
    principal: Principal
    subject: Subject
    amounts: Mapping[str, int]
    usage: Counts
    now: datetime
    environment: str
    frozen: Freezing
    risk: Risk | None
    diff: str


def evaluate(
    policy: Policy, request: Request, usage: Counts, now: datetime, circumstances: Circumstances = NONE
) -> Decision:
    """Decide a planned request; a request without a target is denied. `now` must be aware."""
    principal = admitted(policy, request)
    if isinstance(principal, Deny):
        return principal
    environment = located(policy, request)
    if isinstance(environment, Deny):
        return environment
    if (stopped := barred(policy.lane_of(environment), request)) is not None:
        return Deny(reasons=(stopped,), environment=environment, rules=(stopped.rule or "",))
    risk = assess(policy.risk, request, usage, now)
    case = _Case(
        policy=policy,
        principal=principal,
        subject=planned(request, principal, environment, now, risk),
        amounts={**amounts_of(request), **policy.reserved_by(request.tool)},
        usage=usage,
        now=now,
        environment=environment,
        frozen=policy.freezing(request.tool, environment, request.target or "", now, circumstances),
        risk=risk,
        diff=request.diff,
    )
    live, shadow = applying_forbids(policy, case.subject)
    if live:
        return forbidden(live, environment)
    if case.frozen.denied:
        return frozen(case.frozen, environment)
    return _granted(case, shadow)


def amounts_of(request: Request) -> dict[str, int]:
    """Return what a request takes from limits, by unit: one call, which is submitted, and the plan's effects."""
    return {**request.effects, "calls": 1, SUBMISSIONS: 1}


def admitted(policy: Policy, request: Request) -> Principal | Deny:
    """Return the principal, or the denial of an unknown one or of a missing scope."""
    principal = policy.principals.get(request.principal)
    if principal is None:
        return _deny("unknown_principal", f"the policy knows no principal {shown(request.principal)}")
    contract = policy.contracts.get(request.tool)
    if contract is None:
        return ungranted(principal, request.tool, ())
    if contract.scope not in principal.scopes:
        return _deny("scope", f"{principal.name} does not have the scope {shown(contract.scope)}")
    if request.token_scopes is not None and contract.scope not in request.token_scopes:
        return _deny("scope", f"this token does not have the scope {shown(contract.scope)}")
    return principal


def located(policy: Policy, request: Request) -> str | Deny:
    """Return the environment of the planned target, or the denial of a target without one or of a wrong choice."""
    if request.target is None:
        return _deny("environment", "the request has no planned target")
    environment = policy.environment_of(request.target)
    if isinstance(environment, str) and request.environment not in (None, environment):
        asked = shown(request.environment)
        return _deny("environment", f"the target lies in {shown(environment)}, but the request asks for {asked}")
    return environment


def applying_forbids(policy: Policy, subject: Subject) -> tuple[list[tuple[Forbid, str]], list[tuple[Forbid, str]]]:
    """Return the live and the shadow forbids that apply, each with why."""
    live: list[tuple[Forbid, str]] = []
    shadow: list[tuple[Forbid, str]] = []
    for rule in policy.forbids_for(subject.principal.name, subject.tool):
        verdict = rule.judge(subject)
        if isinstance(verdict, Applies):
            (shadow if rule.shadow else live).append((rule, verdict.because))
    return live, shadow


def forbidden(rules: Sequence[tuple[Forbid, str]], environment: str | None) -> Deny:
    """Return the denial by forbids."""
    reasons = (Reason("forbidden", _forbids(because), rule.id) for rule, because in rules[:_TOLD])
    return Deny(reasons=tuple(reasons), environment=environment, rules=tuple(rule.id for rule, _ in rules))


def frozen(found: Freezing, environment: str | None) -> Deny:
    """Return the denial by freezes; it says when the last of them ends."""
    rules = tuple(item.freeze.id for item in found.denied)
    return Deny(reasons=found.reasons[:_TOLD], environment=environment, rules=rules, retry_at=found.retry_at)


def ungranted(
    principal: Principal, tool: str, missed: Sequence[tuple[Grant, str]], environment: str | None = None
) -> Deny:
    """Return the default denial, with what each grant about this call was missing."""
    reasons = [Reason("no_grant", f"no grant lets {principal.name} call {shown(tool)}")]
    if missed:
        reasons = [Reason("no_grant", because, grant.id) for grant, because in missed[:_TOLD]]
    return Deny(reasons=tuple(reasons), environment=environment)


def exhausted(found: Sequence[Spent], environment: str | None) -> Deny:
    """Return the denial by limits; it says when to come back if waiting helps for all of them."""
    moments = [item.retry_at for item in found]
    known = [moment for moment in moments if moment is not None]
    return Deny(
        reasons=tuple(item.reason for item in found[:_TOLD]),
        environment=environment,
        rules=tuple(sorted({item.limit.rule for item in found})),
        retry_at=max(known) if known and len(known) == len(moments) else None,
    )


def _granted(case: _Case, forbids: Sequence[tuple[Forbid, str]]) -> Decision:
    live: list[Grant] = []
    shadow: list[Grant] = []
    for grant in case.policy.grants_in(case.principal.name, case.subject.tool, case.environment):
        if isinstance(grant.judge(case.subject), Applies):
            (shadow if grant.shadow else live).append(grant)
    if not live and not shadow:
        return _missed(case)
    # What a shadow would do is recorded with its plan: no credential may get there either.
    if case.diff and (found := thresholds.secrets(live or shadow, case.diff)):
        return _refused(case, found)
    notes = [Reason("shadow_forbid", f"in shadow: {_forbids(because)}", rule.id) for rule, because in forbids]
    notes += case.frozen.notes
    if live:
        notes += [_noted(case, grant) for grant in shadow]
        return _allowed(case, live, notes)
    reasons = [Reason("shadow_grant", _in_shadow(case, grant), grant.id) for grant in shadow]
    rules = tuple(grant.id for grant in shadow)
    return Shadow(environment=case.environment, rules=rules, reasons=(*reasons, *notes), risk=case.risk)


def _missed(case: _Case) -> Deny:
    """Deny what no grant lets through, with what each grant about this call was missing, in any environment."""
    grants = case.policy.grants_for(case.principal.name, case.subject.tool)
    judged = ((grant, grant.judge(case.subject)) for grant in grants)
    missed = [(grant, verdict.because) for grant, verdict in islice(judged, _TOLD) if isinstance(verdict, Misses)]
    return ungranted(case.principal, case.subject.tool, missed, case.environment)


def _allowed(case: _Case, grants: Sequence[Grant], notes: Sequence[Reason]) -> Decision:
    """Permit or hold what `grants` let through, unless a limit has no room."""
    approvals = _approvals(case, grants)
    found = _spent(case, grants, 1 if approvals else 0)
    binding = [item for item in found if not item.limit.shadow]
    if binding:
        return exhausted(binding, case.environment)
    if too_high := _too_risky(case, grants, approvals):
        return _refused(case, too_high)
    manual = tuple([grant.id for grant in grants if grant.manual])
    notes = [
        *[Reason("manual", "a person has to sign for its execution", rule) for rule in manual],
        *notes,
        *(() if case.risk is None else thresholds.notes(grants, case.risk)),
        *[Reason("shadow_limit", f"in shadow: {item.reason.text}", item.limit.rule) for item in found],
        *[anchor_reason(grant.id) for grant in grants if grant.anchor],
    ]
    rules = tuple([grant.id for grant in grants])
    if approvals:
        return replace(_held(case, approvals, rules, notes), manual=manual, risk=case.risk)
    reasons = [Reason("granted", f'"{grant.id}" lets it run without a review', grant.id) for grant in grants]
    return Permit(
        environment=case.environment,
        rules=rules,
        expires_at=case.now + (MANUAL_FOR if manual else PERMIT_FOR),
        reasons=(*reasons, *notes),
        manual=manual,
        risk=case.risk,
    )


def _spent(case: _Case, grants: Sequence[Grant], pending: int) -> Sequence[Spent]:
    """Return each limit without room once, in the order of rules."""
    limits = [limit for grant in grants for limit in grant.limits]
    limits += case.policy.limits_binding(case.principal.name, case.subject.tool)
    if not limits:
        return ()
    found = list(spent(limits, case.subject, {**case.amounts, PENDING: pending}, case.usage, case.now))
    if len(found) < 2:  # the common case: comparing limits takes longer than counting
        return found
    return sorted({item.limit: item for item in found}.values(), key=lambda item: (item.limit.rule, item.limit.text))


def _too_risky(case: _Case, grants: Sequence[Grant], approvals: Sequence[tuple[str, Approval]]) -> list[Reason]:
    """Return why the score is too high, with the parts that make it; empty where it is not."""
    if case.risk is None:
        return []
    found = thresholds.refusals(grants, case.risk)
    if all(asked in case.frozen.asks for asked in approvals):  # who is asked because of a freeze speaks of no risk
        found += thresholds.unanswered(grants, case.risk)
    return [*found, thresholds.parts_told(case.risk)] if found else []


def _refused(case: _Case, reasons: Sequence[Reason]) -> Deny:
    rules = tuple(dict.fromkeys(reason.rule for reason in reasons if reason.rule is not None))
    return Deny(reasons=tuple(reasons), environment=case.environment, rules=rules, risk=case.risk)


def _approvals(case: _Case, grants: Sequence[Grant]) -> list[tuple[str, Approval]]:
    """Return what people must agree to, with the rule that asks for it."""
    governed = case.policy.contracts[case.subject.tool].kind == "governed"
    asked = list(approvals_of(case.policy.lane_of(case.environment), grants, governed=governed).items())
    asked += case.frozen.asks
    return asked if case.risk is None else [*asked, *thresholds.approvals(grants, case.risk)]


def _held(
    case: _Case,
    approvals: Sequence[tuple[str, Approval]],
    rules: tuple[str, ...],
    notes: Sequence[Reason],
) -> Hold:
    owner = case.principal.owner
    people = sorted(frozenset().union(*(approval.eligible(owner) for _, approval in approvals)))
    expires_at = case.now + min(approval.expires for _, approval in approvals)
    return Hold(
        environment=case.environment,
        rules=rules,
        expires_at=expires_at,
        obligations=tuple(_obligation(rule, approval, owner) for rule, approval in approvals),
        reviewers={name: tuple(key.line for key in case.policy.reviewers[name].keys) for name in people},
        excluded=() if owner is None else (owner,),
        reasons=(*(_asks(rule, approval, expires_at) for rule, approval in approvals), *notes),
    )


def _obligation(rule: str, approval: Approval, owner: str | None) -> Obligation:
    return Obligation(
        rule=rule,
        quorum=approval.quorum,
        sources=approval.sources,
        reviewers=_but(approval.reviewers, owner),
        keys=approval.keys,
        rejects=approval.rejects,
        escalations=tuple(
            Escalation(int(step.after.total_seconds()), _but(step.reviewers, owner)) for step in approval.escalate
        ),
    )


def _asks(rule: str, approval: Approval, expires_at: datetime) -> Reason:
    people = "1 person" if approval.quorum == 1 else f"{approval.quorum} people"
    kind = "" if approval.keys == "any" else f" with {approval.keys} keys"
    until = format_timestamp(expires_at)
    text = f"needs the review of {people} from {', '.join(approval.sources)}{kind} before {until}"
    return Reason("approval", text, rule)


def _noted(case: _Case, grant: Grant) -> Reason:
    return Reason("shadow_grant", f"in shadow: {_in_shadow(case, grant)}", grant.id)


def _in_shadow(case: _Case, grant: Grant) -> str:
    return "would be held for review" if _approvals(case, [grant]) else "would run without a review"


def _forbids(because: str) -> str:
    return f"forbidden: {because}" if because else "forbidden, whatever is asked"


def _but(names: tuple[str, ...], owner: str | None) -> tuple[str, ...]:
    return tuple(name for name in names if name != owner)


def _deny(code: str, text: str) -> Deny:
    return Deny(reasons=(Reason(code, text),))
