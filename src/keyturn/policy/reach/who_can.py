"""Answers who can call a tool in an environment: yes with a request, no, or depends with what it depends on.

A yes is a request that `evaluate` lets through with nothing used yet. A no means that every request is denied. What
only times, plans, risk, freezes, regular expressions or limits settle is never a no, and a yes only where a request
was found that they do not stand in the way of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from keyturn.canon import Json
from keyturn.model.decision import Decision, Deny, Hold, Permit, Request
from keyturn.policy.evaluation import admitted, evaluate
from keyturn.policy.policy import Policy
from keyturn.policy.reach.crowd import Crowd
from keyturn.policy.reach.rules import asks, lane_refuses, other_places, place_of, scene_of, speaking, stopping
from keyturn.policy.reach.search import Found, Impossible, Open, Scene, seek
from keyturn.policy.rules import Grant
from keyturn.policy.shown import shown
from keyturn.policy.usage import Counts, Usage

Answer: TypeAlias = Literal["yes", "depends", "no"]

ContractTakes: TypeAlias = Callable[[str, Mapping[str, Json]], bool]
"""Says whether the contract of a tool takes these arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """Whether one principal can.

    decision  what `evaluate` says to the request: "permit" or "hold" with a yes
    rules     the grants that let it through, or the rules in the way of a no
    request   a request that is let through (yes), or as near to one as was found (depends); None with a no
    open      what could not be settled (depends), or why not (no)
    manual    a person has to sign for the execution besides
    """

    principal: str
    answer: Answer
    decision: str | None = None
    rules: tuple[str, ...] = ()
    request: Request | None = None
    open: tuple[str, ...] = ()
    manual: bool = False

    def to_json(self) -> dict[str, Json]:
        """Return the answer as `--json` prints it."""
        request = self.request
        return {
            "principal": self.principal,
            "answer": self.answer,
            "decision": self.decision,
            "rules": list(self.rules),
            "target": None if request is None else request.target,
            "arguments": None if request is None else dict(request.arguments),
            "open": list(self.open),
            "manual": self.manual,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """What is asked, and of which policy.

    without_approval  count only what runs without anybody's review
    port              the kind of back end the tool acts on, such as "forge": only such targets count then
    takes             says whether a contract takes arguments; without it all do
    """

    policy: Policy
    tool: str
    environment: str
    now: datetime
    without_approval: bool = False
    port: str | None = None
    takes: ContractTakes | None = None
    usage: Counts | None = None

    def scene(self, principal: str) -> Scene:
        """Return what a search for one principal holds fixed."""
        takes = self.takes
        accepts = None if takes is None else lambda arguments: takes(self.tool, arguments)
        return scene_of(
            self.policy, principal, self.tool, self.environment, self.now, port=self.port, accepts=accepts
        )


def abilities(inquiry: Inquiry) -> tuple[Ability, ...]:
    """Answer for every principal of the policy, in the order of their names.

    Tool and environment must be known to the policy; a tool about oneself is not asked about.
    """
    return tuple(ability(inquiry, name) for name in sorted(inquiry.policy.principals))


def overall(found: Sequence[Ability]) -> Answer:
    """Return the answer for all together: yes if anybody can, no only if nobody can."""
    answers = {one.answer for one in found}
    return "yes" if "yes" in answers else "depends" if "depends" in answers else "no"


def ability(inquiry: Inquiry, principal: str) -> Ability:
    """Answer for one principal."""
    settled = _settled(inquiry, principal)
    if settled:
        return Ability(principal=principal, answer="no", open=(settled,))
    best = Ability(principal=principal, answer="no")
    blamed: set[str] = set()
    for grant, reached in _goals(inquiry, principal):
        match reached:
            case Impossible():
                blamed |= reached.blamed - {grant.id}
            case Found() | Open():
                found = _confirmed(inquiry, principal, grant, reached)
                if found.answer == "yes":
                    return found
                best = found if best.answer == "no" else best
    return best if best.answer == "depends" else _refused(inquiry, principal, blamed)


def _settled(inquiry: Inquiry, principal: str) -> str:
    """Say why not, where no search is needed."""
    policy = inquiry.policy
    asked = Request(principal=principal, token_scopes=None, tool=inquiry.tool, arguments={})
    denied = admitted(policy, asked)
    if isinstance(denied, Deny):
        return denied.reasons[0].text
    if not _live(inquiry, principal):
        return f"no grant lets {principal} call {shown(inquiry.tool)}"
    barred = lane_refuses(policy, inquiry.tool, inquiry.environment)
    return "" if barred is None else barred.text


def _live(inquiry: Inquiry, principal: str) -> list[Grant]:
    return [grant for grant in inquiry.policy.grants_for(principal, inquiry.tool) if not grant.shadow]


def _goals(inquiry: Inquiry, principal: str) -> Iterator[tuple[Grant, Found | Open | Impossible]]:
    """Look for a request for each grant in turn, those first that need the fewest conditions."""
    policy, environment = inquiry.policy, inquiry.environment
    scene = inquiry.scene(principal)
    subject = scene.subject({})
    live = _live(inquiry, principal)
    asking = [grant for grant in live if inquiry.without_approval and asks(policy, grant, environment)]
    crowd = Crowd(stopping((*policy.forbids_for(principal, inquiry.tool), *asking), subject))
    others, place = other_places(policy, environment), place_of(policy, scene)
    asked = {grant.id for grant in asking}
    free = {grant.id: grant for grant in live if grant.id not in asked}
    for found in sorted(speaking(free.values(), subject), key=lambda one: len(one.conditions)):
        yield free[found.rule], seek(scene, [*place, found], [others, crowd])


def _confirmed(inquiry: Inquiry, principal: str, grant: Grant, reached: Found | Open) -> Ability:
    """Let `evaluate` judge what was found: only then it is a yes."""
    request = Request(
        principal=principal,
        token_scopes=None,
        tool=inquiry.tool,
        arguments=reached.arguments,
        target=reached.target,
        effects={"calls": 1},
    )
    if isinstance(reached, Open):
        return Ability(principal=principal, answer="depends", rules=(grant.id,), request=request, open=reached.doubts)
    decision = evaluate(inquiry.policy, request, inquiry.usage or Usage(), inquiry.now)
    through = isinstance(decision, Permit) or (isinstance(decision, Hold) and not inquiry.without_approval)
    doubts = tuple(_risky(inquiry, decision)) if through else tuple(reason.text for reason in decision.reasons)
    return Ability(
        principal=principal,
        answer="depends" if doubts else "yes",
        decision=None if doubts else "permit" if isinstance(decision, Permit) else "hold",
        rules=decision.rules,
        request=request,
        open=doubts,
        manual=isinstance(decision, (Permit, Hold)) and bool(decision.manual),
    )


def _risky(inquiry: Inquiry, decision: Decision) -> Iterator[str]:
    """Yield what the score of a plan would have to be."""
    for grant in inquiry.policy.grants:
        if grant.risk is None or grant.risk.shadow or grant.id not in decision.rules:
            continue
        bounds = [grant.risk.deny_at, grant.risk.hold_at if inquiry.without_approval else None]
        known = [bound for bound in bounds if bound is not None]
        if known:
            yield f"risk.score must be less than {min(known)} [{grant.id}]"


def _refused(inquiry: Inquiry, principal: str, blamed: set[str]) -> Ability:
    """Say no, and which rules are in the way."""
    subject = inquiry.scene(principal).subject({})
    if not blamed and not list(speaking(_live(inquiry, principal), subject)):
        why = f"no grant of {principal} is about {inquiry.environment}"
    elif inquiry.without_approval:
        why = "every way is denied, or asks for a review"
    else:
        why = "no request meets the conditions of a grant without being forbidden"
    return Ability(principal=principal, answer="no", rules=tuple(sorted(blamed)), open=(why,))


__all__ = ["Ability", "Answer", "Inquiry", "abilities", "ability", "overall"]
