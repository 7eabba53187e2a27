"""The life of an action: which entry may follow which, and the action that results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from keyturn.approvals.action import Action, Review, Started, status
from keyturn.log.entry import Entry
from keyturn.model.decision import Escalation, Obligation
from keyturn.model.time import parse_timestamp


class LifeError(ValueError):
    """An entry cannot follow what the action's earlier entries say."""


def requested(entry: Entry) -> Action:
    """Read an action from its `action.requested` entry."""
    facts: Mapping[str, Any] = entry.facts
    if entry.action is None:
        raise LifeError("action.requested names no action")
    return Action(
        id=entry.action,
        seq=entry.seq,
        digest=entry.digest,
        principal=facts["principal"],
        owner=facts["owner"],
        tool=facts["tool"],
        contract=facts["contract"],
        backend=facts["backend"],
        target=facts["target"],
        environment=facts["environment"],
        policy=facts["policy"],
        decision=facts["decision"],
        rules=tuple(facts["rules"]),
        obligations=tuple(_obligation(item) for item in facts["obligations"]),
        reviewers={name: tuple(lines) for name, lines in facts["reviewers"].items()},
        excluded=tuple(facts["excluded"]),
        effects=facts["effects"],
        requested_at=entry.at,
        expires_at=parse_timestamp(facts["expires_at"]),
    )


def reviewed(action: Action, review: Review) -> Action:
    """Take a review that counts."""
    return replace(action, reviews=(*action.reviews, review))


def started(action: Action, entry: Entry) -> Action:
    """Take `execution.started`: once, of an approved action, with reviews that were recorded before it."""
    state = status(action, entry.at)
    if state != "approved":
        raise LifeError(f"execution.started, but the action is {state}")
    known = {review.seq for review in action.reviews}
    if not set(_numbers(entry.facts["reviews"])) <= known:
        raise LifeError("execution.started counts a review that is not there")
    return replace(action, started=Started(seq=entry.seq, instance=entry.text("instance"), at=entry.at))


def finished(action: Action, entry: Entry) -> Action:
    """Take `execution.finished`: after its intent, once (a shadowed action has no intent)."""
    outcome = entry.text("outcome")
    shadow = outcome == "shadowed"
    if shadow != (action.decision == "shadow") or (not shadow and action.started is None) or action.ended:
        raise LifeError(f"execution.finished ({outcome}) without intent, or twice")
    effect = entry.facts["effect"]
    return replace(action, ended=outcome, ended_at=entry.at, effect=effect if isinstance(effect, bool) else None)


def resolved(action: Action, entry: Entry) -> Action:
    """Take `execution.resolved`: only an unknown outcome is settled, by probe or by an operator's word."""
    if action.ended != "unknown":
        raise LifeError(f"execution.resolved, but the action is {status(action, entry.at)}")
    effect = entry.facts["effect"]
    return replace(
        action, ended=entry.text("outcome"), ended_at=entry.at, effect=effect if isinstance(effect, bool) else None
    )


def stopped(action: Action, entry: Entry) -> Action:
    """Take `action.cancelled` or `action.stale`: only an action that has not begun is stopped."""
    state = status(action, entry.at)
    if state not in {"pending", "approved"}:
        raise LifeError(f"{entry.kind}, but the action is {state}")
    return replace(action, ended=entry.kind.removeprefix("action."), ended_at=entry.at)


def expired(action: Action, entry: Entry) -> Action:
    """Take `action.expired`, written for readers: the action must have expired by its own terms."""
    state = status(action, entry.at)
    if state != "expired":
        raise LifeError(f"action.expired, but the action is {state}")
    return replace(action, ended="expired", ended_at=action.expires_at)


def _obligation(item: Mapping[str, Any]) -> Obligation:
    return Obligation(
        rule=item["rule"],
        quorum=item["quorum"],
        sources=tuple(item["from"]),
        reviewers=tuple(item["reviewers"]),
        keys=item["keys"],
        rejects=item["rejects"],
        escalations=tuple(Escalation(step["after"], tuple(step["reviewers"])) for step in item["escalate"]),
    )


def obligation_to_json(obligation: Obligation) -> dict[str, Any]:
    """Write an obligation as entries carry it."""
    return {
        "rule": obligation.rule,
        "quorum": obligation.quorum,
        "from": list(obligation.sources),
        "reviewers": list(obligation.reviewers),
        "keys": obligation.keys,
        "rejects": obligation.rejects,
        "escalate": [{"after": step.after, "reviewers": list(step.reviewers)} for step in obligation.escalations],
    }


def _numbers(value: object) -> Sequence[int]:
    return [item for item in value if isinstance(item, int)] if isinstance(value, list) else []
