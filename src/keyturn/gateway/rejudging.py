"""Judging an approved action once more, by the policy in force as it is when somebody is about to begin it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from keyturn.approvals.action import Action, Review
from keyturn.approvals.judgement import unmet
from keyturn.gateway.asked import recorded_request
from keyturn.gateway.desk import Look
from keyturn.log.entry import Entry
from keyturn.model.decision import Decision, Deny, Hold, Permit, Reason, Shadow
from keyturn.model.sshkey import PublicKey
from keyturn.policy import Policy, evaluate


def frozen_action(policy: Policy, view: Look, action: Action) -> Reason | None:
    """Return why an approved action may not begin while something is frozen, or None.

    It stays approved until the freeze ends, if that comes before it expires. A freeze that holds lets through what
    the people it names have approved already, as they have where it was on when the action was asked for.
    """
    environment = policy.environment_of(action.target) if policy.freezes else None
    if not isinstance(environment, str) or action.tool not in policy.contracts:
        return None  # whoever claims it finds out that it may not run at all
    found = policy.freezing(action.tool, environment, action.target, view.now, view.state.circumstances)
    if found.denied:
        return found.reasons[0]
    asking = {rule for rule, _ in found.asks}
    decision = decided_again(policy, view, action, view.entry(action.seq)) if asking else None
    if not isinstance(decision, Hold):
        return None
    asked = tuple(item for item in decision.obligations if item.rule in asking)
    missing = unmet(under(action, replace(decision, obligations=asked)), view.now)
    return Reason("frozen", f"frozen: {'; '.join(missing)}", min(asking)) if missing else None


def judge_again(
    policy: Policy, view: Look, action: Action, request: Entry, gone: Sequence[str] = ()
) -> tuple[Reason, ...] | Permit | Hold:
    """Return why the policy in force does not let an approved action run, or what it says that lets it.

    `gone` are actions that this transaction ends.
    """
    decision = decided_again(policy, view, action, request, gone)
    if isinstance(decision, Permit | Hold) and decision.environment != action.environment:
        # People reviewed it, and limits counted it, as one of another environment.
        return (Reason("environment", f"by the policy in force {action.target} is in {decision.environment}"),)
    if isinstance(decision, Permit | Hold) and (due := policy.not_reserved(action.tool, action.reserved)):
        told = ", ".join(f"{amount} {unit}" for unit, amount in due.items())
        return (Reason("budget", f"the policy in force has it reserve {told}, which its request did not"),)
    match decision:
        case Permit() | Hold() if decision.manual and not action.withheld:
            return (Reason("manual", "the policy in force asks that a person signs for its execution"),)
        case Deny(reasons=reasons):
            return tuple(
                Reason(reason.code, f"the policy in force: {reason.text}", reason.rule) for reason in reasons
            )
        case Hold():
            missing = unmet(under(action, decision), view.now)
            more = tuple(Reason("obligation", f"the policy in force asks for more: {text}") for text in missing)
            return more or decision
        case Permit():
            return decision
        case Shadow():
            return (Reason("shadow", "the policy in force only records such an action, in shadow"),)
        case never:
            assert_never(never)


def under(action: Action, decision: Hold) -> Action:
    """Return the action as if the policy in force had held it, with the reviews that count there."""
    keys = {name: {PublicKey.parse(line).fingerprint for line in lines} for name, lines in decision.reviewers.items()}
    # Each person's newest word first: an older one by a key that is still listed must not outlive it.
    newest = {review.reviewer: review for review in action.reviews}
    kept: tuple[Review, ...] = tuple(r for r in newest.values() if r.key in keys.get(r.reviewer, set()))
    return replace(
        action,
        obligations=decision.obligations,
        reviewers=decision.reviewers,
        excluded=decision.excluded if action.asked_by is None else (*decision.excluded, action.asked_by),
        reviews=kept,
    )


def decided_again(policy: Policy, view: Look, action: Action, request: Entry, gone: Sequence[str] = ()) -> Decision:
    """Decide the request of an action as if it were made now; what it and `gone` have taken from limits left out."""
    asked = recorded_request(view, request, view.state.tokens, policy.contracts)
    usage = view.state.usage.at_claim(action.id, *gone)
    return evaluate(policy, asked, usage, view.now, view.state.circumstances)
