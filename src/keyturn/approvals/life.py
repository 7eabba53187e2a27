"""The life of an action: which entry may follow which, and the action that results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from keyturn.approvals.action import Action, Released, Review, Started, status
from keyturn.canon import Json
from keyturn.log.entry import Entry
from keyturn.model.decision import Escalation, Obligation
from keyturn.model.time import parse_timestamp

_EFFECTS: Mapping[str, tuple[Json, ...]] = {
    "succeeded": (True,),
    "failed": (True, False),
    "stale": (False,),
    "unknown": (None,),
    "shadowed": (False,),
}
"""What each outcome may say of its effect: limits are given back by it."""


class LifeError(ValueError):
    """An entry cannot follow what the action's earlier entries say."""


def requested(entry: Entry) -> Action:
    """Read an action from the entry that requests it. Raises `LifeError` when it contradicts itself."""
    facts: Mapping[str, Any] = entry.facts
    if entry.action is None:
        raise LifeError(f"{entry.kind} names no action")
    if (facts["decision"] == "hold") != bool(facts["obligations"]):
        raise LifeError("an action that is held, and no other, has obligations")
    if facts["decision"] == "hold" and facts["owner"] not in (None, *facts["excluded"]):
        raise LifeError("the owner is not excluded from reviewing it")
    asked_by = _asked_by(facts)
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
        undoes=facts["undoes"]["action"] if "undoes" in facts else None,
        asked_by=asked_by,
    )


def _asked_by(facts: Mapping[str, Any]) -> str | None:
    """Return the person whose signature asks in place of a token; whether it is theirs is another question."""
    act = facts.get("act")
    if (act is None) == (facts["token"] is None):
        raise LifeError("it is asked for by a token or by a signed act, and by one of them alone")
    if act is None:
        return None
    by = str(act["statement"]["by"])
    if facts["decision"] == "hold" and by not in facts["excluded"]:
        raise LifeError("who asks for it is not excluded from reviewing it")
    return by


def reserved(action: Action, entry: Entry) -> Action:
    """Take `action.reserved`: directly after the request, of what is to be executed."""
    amounts: Any = entry.facts["amounts"]
    taken = {unit: amount for unit, amount in sorted(amounts.items()) if amount}
    if entry.seq != action.seq + 1 or action.decision == "shadow" or not taken:
        raise LifeError("action.reserved stands directly after a request, and reserves something")
    return replace(action, reserved=taken)


def withheld(action: Action, entry: Entry) -> Action:
    """Take `action.withheld`: directly after the request and what it reserves."""
    rules: Any = entry.facts["rules"]
    if entry.seq != action.beside.stop or action.decision == "shadow" or action.withheld or not rules:
        raise LifeError("action.withheld stands directly after a request, and names the rules that ask for it")
    return replace(action, withheld=tuple(rules))


def released(action: Action, entry: Entry) -> Action:
    """Take `action.released`: once, of what is approved and waits for it; whose signature it is, others check."""
    state = status(action, entry.at)
    if state != "approved" or not action.waits_for_a_hand:
        raise LifeError(f"action.released, but the action is {state} and waits for nobody's hand")
    act: Any = entry.facts["act"]
    return replace(action, released=Released(seq=entry.seq, by=act["statement"]["by"], at=entry.at))


def reviewed(action: Action, review: Review) -> Action:
    """Take a review that counts."""
    return replace(action, reviews=(*action.reviews, review))


def restored(action: Action, at: datetime) -> Action:
    """Take a restoration of the ledger at `at`: no approval from before it counts any more.

    What is lost may have changed a mind: a person's newest word stays where it was a no. Who signed for the execution
    has to sign again.
    """
    newest = {review.reviewer: review for review in action.reviews}
    kept = tuple(review for review in action.reviews if newest[review.reviewer] == review)
    noes = tuple(one for one in kept if one.verdict == "reject")
    return replace(action, reviews=noes, signed_after=at, released=None)


def started(action: Action, entry: Entry) -> Action:
    """Take `execution.started`: once, of an approved action, naming recorded reviews that suffice by themselves."""
    state = status(action, entry.at)
    if state != "approved":
        raise LifeError(f"execution.started, but the action is {state}")
    if action.waits_for_a_hand:
        raise LifeError("execution.started, but nobody has signed for it")
    named = set(_numbers(entry.facts["reviews"]))
    counted = tuple(review for review in action.reviews if review.seq in named)
    if len(counted) != len(named):
        raise LifeError("execution.started counts a review that is not there")
    if status(replace(action, reviews=counted), entry.at) != "approved":
        raise LifeError("execution.started counts reviews that do not suffice")
    return replace(action, started=Started(seq=entry.seq, instance=entry.text("instance"), at=entry.at))


def finished(action: Action, entry: Entry) -> Action:
    """Take `execution.finished`: once, after its intent, by who began it unless it is recovered.

    A shadowed action has no intent: it is finished directly after its request.
    """
    outcome = entry.text("outcome")
    due = _shadow_due(action, entry) if action.decision == "shadow" else _outcome_due(action, entry)
    if action.ended is not None or not due or (outcome == "shadowed") != (action.decision == "shadow"):
        raise LifeError(f"execution.finished ({outcome}) without intent, or twice, or by another executor")
    effect = _effect(entry, outcome)
    return replace(action, ended=outcome, ended_at=entry.at, effect=effect, finished_at=entry.at)


def resolved(action: Action, entry: Entry) -> Action:
    """Take `execution.resolved`: only an unknown outcome is settled, by probe or by an operator's word."""
    if action.ended != "unknown":
        raise LifeError(f"execution.resolved, but the action is {status(action, entry.at)}")
    outcome = entry.text("outcome")
    return replace(action, ended=outcome, ended_at=entry.at, effect=_effect(entry, outcome))


def stopped(action: Action, entry: Entry) -> Action:
    """Take `action.cancelled` or `action.stale`: only an action that has not begun is stopped."""
    state = status(action, entry.at)
    if state not in {"pending", "approved"}:
        raise LifeError(f"{entry.kind}, but the action is {state}")
    by: Any = entry.facts.get("by", {})
    if by.get("type") == "principal" and by["name"] != action.principal:
        raise LifeError(f"{entry.kind} by {by['name']}, but the action is {action.principal}'s")
    return replace(action, ended=entry.kind.removeprefix("action."), ended_at=entry.at)


def expired(action: Action, entry: Entry) -> Action:
    """Take `action.expired`, written once for readers: the action must have expired by its own terms."""
    state = status(action, entry.at)
    if state != "expired" or action.ended is not None:
        raise LifeError(f"action.expired, but the action is {state}{' already' if action.ended else ''}")
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


def _shadow_due(action: Action, entry: Entry) -> bool:
    return entry.seq == action.seq + 1


def _outcome_due(action: Action, entry: Entry) -> bool:
    if action.started is None:
        return False
    return entry.facts["recovered"] is True or entry.text("instance") == action.started.instance


def _effect(entry: Entry, outcome: str) -> bool | None:
    effect = entry.facts["effect"]
    if effect not in _EFFECTS[outcome]:
        raise LifeError(f"{entry.kind} ({outcome}) cannot say {effect} of the effect")
    return effect if isinstance(effect, bool) else None


def _numbers(value: object) -> Sequence[int]:
    return [item for item in value if isinstance(item, int)] if isinstance(value, list) else []
