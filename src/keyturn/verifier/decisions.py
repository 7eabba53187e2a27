"""Proof 11: derives decisions again from what the ledger recorded, and holds them against what was decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keyturn import canon
from keyturn.approvals.life import obligation_to_json
from keyturn.canon import Json
from keyturn.fold.standing import Token
from keyturn.log.entry import Entry
from keyturn.model.decision import Decision, Deny, Hold, Permit, Request, Shadow
from keyturn.model.time import format_timestamp
from keyturn.policy import NONE, Circumstances, Counts, Policy, evaluate
from keyturn.verifier.lives import Terms, Word, shortfalls
from keyturn.verifier.proofs import NotProved, proving

ARGUMENT = "argument."
RISK = "risk"
NO_EFFECTS: Mapping[str, int] = {"calls": 1, "files_changed": 0, "lines_changed": 0, "recipients": 0}


def check_request(
    entry: Entry,
    payloads: Mapping[str, bytes],
    policy: Policy,
    token: Token | None,
    usage: Counts,
    *,
    circumstances: Circumstances = NONE,
) -> Decision:
    """Prove 11 of a request: the policy gives this very decision, which is returned.

    `token` is None where a person asked. Raises `NotProved`.
    """
    with proving(entry.seq, 11):
        request = planned_request(entry, payloads, token)
        decision = evaluate(policy, request, usage, entry.at, circumstances)
    if isinstance(decision, Deny):
        raise NotProved(entry.seq, 11, f"the policy denies it ({_why(decision)}), but {_word(entry)} is recorded")
    _check_risk(decision, entry, payloads)
    derived = _facts_of(decision, entry, policy)
    for name, value in derived.items():
        if entry.facts[name] != value:
            recorded = _short(entry.facts[name])
            raise NotProved(entry.seq, 11, f"{name}: the policy gives {_short(value)}, but {recorded} is recorded")
    return decision


def check_read(
    entry: Entry,
    payloads: Mapping[str, bytes],
    policy: Policy,
    token: Token,
    usage: Counts,
    *,
    circumstances: Circumstances = NONE,
) -> None:
    """Prove 11 of a `read.served` entry: the policy permits the read, under these rules. Raises `NotProved`."""
    with proving(entry.seq, 11):
        request = _request(entry, payloads, token, {"view": {}, "effects": NO_EFFECTS})
        decision = evaluate(policy, request, usage, entry.at, circumstances)
    if not isinstance(decision, Permit):
        raise NotProved(entry.seq, 11, f"the policy does not permit this read ({_why(decision)}), but it was served")
    owner = policy.principals[entry.text("principal")].owner
    recorded = (entry.facts["environment"], entry.facts["rules"], entry.facts["owner"])
    if recorded != (decision.environment, list(decision.rules), owner):
        raise NotProved(entry.seq, 11, "the policy permits this read under another environment, rules or owner")


def check_claim(
    started: Entry,
    *,
    request: Request,
    asked: Entry,
    words: list[Word],
    policy: Policy,
    usage: Counts,
    reserved: Mapping[str, int],
    circumstances: Circumstances = NONE,
    by_hand: bool = False,
) -> tuple[str, ...]:
    """Prove 11 of an `execution.started` entry: the policy in force lets it run with the reviews there are.

    `usage` leaves out what the action itself has taken; `reserved` is what it has of budgets; `by_hand` says that a
    person signed for the execution.
    Returns the rules that let it run. Raises `NotProved`.
    """
    with proving(started.seq, 11):
        decision = evaluate(policy, request, usage, started.at, circumstances)
        # Counted under the same guard: the times are those of the entries.
        lacking = _lacking(decision, words, asked, started)
        if isinstance(decision, Permit | Hold) and decision.manual and not by_hand:
            lacking.append("nobody has signed for its execution")
        if isinstance(decision, Permit | Hold):
            lacking += _counted_elsewhere(decision, asked, policy.not_reserved(asked.text("tool"), reserved))
    if lacking:
        raise NotProved(started.seq, 11, f"the policy in force did not let it run: {'; '.join(lacking)}")
    return decision.rules


def _counted_elsewhere(decision: Permit | Hold, asked: Entry, due: Mapping[str, int]) -> Iterator[str]:
    """Yield why what the request counted as is not what the policy in force would count it as."""
    if decision.environment != asked.facts["environment"]:
        yield f"its target is in {_short(decision.environment)} and was asked for in another environment"
    if due:
        yield f"its request did not reserve {', '.join(f'{amount} {unit}' for unit, amount in due.items())}"


def _lacking(decision: Decision, words: list[Word], asked: Entry, started: Entry) -> list[str]:
    if isinstance(decision, Permit):
        return []
    if not isinstance(decision, Hold):
        return [_why(decision)]
    excluded = frozenset((*decision.excluded, *_asker(asked)))
    terms = Terms(obligations=decision.obligations, reviewers=decision.reviewers, excluded=excluded)
    return shortfalls(words, terms, asked.at, started.at)


def planned_request(entry: Entry, payloads: Mapping[str, bytes], token: Token | None) -> Request:
    """Return what the policy judged at a request. Raises `NotProved` where the plan is another."""
    plan = _plan(entry, payloads)
    effects = {"calls": 1, **plan["effects"]}
    recorded = tuple(entry.facts[name] for name in ("tool", "target", "backend", "effects"))
    if recorded != (plan["tool"], plan["target"], plan["backend"], effects):
        raise NotProved(entry.seq, 11, "tool, target, back end or effects are not those of the recorded plan")
    diff = payloads["diff"].decode("utf-8") if "diff" in payloads else ""
    more = {"view": plan["view"], "effects": effects, "environment": plan["environment"], "diff": diff}
    return _request(entry, payloads, token, more)


def _check_risk(decision: Permit | Hold | Shadow, entry: Entry, payloads: Mapping[str, bytes]) -> None:
    """Prove 11 of the recorded score: it is the one that the policy gives, unless it was erased."""
    derived = None if decision.risk is None else canon.encode(decision.risk.to_json())
    if (RISK in entry.data) != (derived is not None):
        raise NotProved(entry.seq, 11, f"the policy {'does not score' if derived is None else 'scores'} this request")
    if RISK in payloads and payloads[RISK] != derived:
        raise NotProved(entry.seq, 11, "the recorded risk is not the one that the policy gives")


def _request(entry: Entry, payloads: Mapping[str, bytes], token: Token | None, more: Mapping[str, Any]) -> Request:
    arguments = {
        field.removeprefix(ARGUMENT): canon.decode(data)
        for field, data in payloads.items()
        if field.startswith(ARGUMENT)
    }
    return Request(
        principal=entry.text("principal"),
        token_scopes=None if token is None or token.scopes is None else frozenset(token.scopes),
        tool=entry.text("tool"),
        arguments=arguments,
        target=entry.text("target"),
        **more,
    )


def _plan(entry: Entry, payloads: Mapping[str, bytes]) -> Mapping[str, Any]:
    plan = canon.decode_object(payloads["plan"])
    match plan:
        case {"effects": dict(), "view": dict(), "environment": str() | None, "tool": _, "target": _, "backend": _}:
            return plan
    raise NotProved(entry.seq, 11, "the recorded plan is not of a plan's form")


def _facts_of(decision: Permit | Hold | Shadow, entry: Entry, policy: Policy) -> dict[str, Json]:
    """Return the facts of the request that the decision settles."""
    held = decision if isinstance(decision, Hold) else None
    expires_at = entry.at if isinstance(decision, Shadow) else decision.expires_at
    return {
        "decision": type(decision).__name__.lower(),
        "environment": decision.environment,
        "rules": list(decision.rules),
        "obligations": [obligation_to_json(item) for item in held.obligations] if held else [],
        "reviewers": {name: list(lines) for name, lines in held.reviewers.items()} if held else {},
        "excluded": list(dict.fromkeys((*held.excluded, *_asker(entry)))) if held else [],
        "owner": policy.principals[entry.text("principal")].owner,
        "expires_at": format_timestamp(expires_at),
    }


def _asker(request: Entry) -> tuple[str, ...]:
    """Return the person who asked by signature, if one did: who asks never reviews."""
    act: Any = request.facts.get("act")
    return () if act is None else (act["statement"]["by"],)


def _why(decision: Decision) -> str:
    return "; ".join(f"{reason.code}: {reason.text}" for reason in decision.reasons)


def _word(entry: Entry) -> str:
    return f"a {entry.text('decision')}"


def _short(value: Json) -> str:
    text = canon.encode(value).decode("utf-8")
    return text if len(text) <= 120 else f"{text[:117]}…"
