"""Puts the rules of a policy into the words of a search: what a scene leaves open of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from keyturn.model.decision import Reason, Request
from keyturn.policy.lanes import approvals_of, barred
from keyturn.policy.policy import Policy
from keyturn.policy.reach.crowd import Crowd, Speaker
from keyturn.policy.reach.search import Accepts, Scene, lies_in, on_port, speaker
from keyturn.policy.rules import Forbid, Grant
from keyturn.policy.subject import Subject
from keyturn.policy.validity import ALWAYS


def scene_of(
    policy: Policy,
    principal: str,
    tool: str,
    environment: str,
    now: datetime,
    *,
    port: str | None = None,
    accepts: Accepts | None = None,
) -> Scene:
    """Return the scene of a principal and a tool that the policy knows."""
    place = policy.environments.get(environment)
    named = [target.split("/")[0].partition(":") for target in place.targets] if place else []
    hints = tuple(name for kind, _, name in named if port in {None, kind} and "*" not in name)
    takes = accepts or (lambda _arguments: True)
    return Scene(
        principal=policy.principals[principal],
        contract=policy.contracts[tool],
        environment=environment,
        now=now,
        port=port,
        accepts=takes,
        hints=hints,
    )


def place_of(policy: Policy, scene: Scene) -> list[Speaker]:
    """Return what must speak of the target: its environment, and the tool's kind of back end."""
    found = [lies_in(policy.environments[scene.environment])]
    return found if scene.port is None else [*found, on_port(scene.port)]


def other_places(policy: Policy, environment: str) -> Crowd:
    """Return what must not speak of the target: every other environment, for a target in two is in none."""
    return Crowd(lies_in(place) for name, place in policy.environments.items() if name != environment)


def speaking(rules: Iterable[Forbid | Grant], subject: Subject) -> Iterator[Speaker]:
    """Yield the rules that the scene leaves possible; one that is not valid now would have to be."""
    for rule in rules:
        why_not = rule.valid.why_not(subject.now)
        found = speaker(rule.id, rule.where, subject, (f"{why_not} [{rule.id}]",) if why_not else ())
        if found is not None:
            yield found


def stopping(rules: Iterable[Forbid | Grant], subject: Subject) -> Iterator[Speaker]:
    """Yield the live rules that may stand in the way now; one with dates may be out of the way at another time."""
    for rule in rules:
        if rule.shadow or rule.valid.why_not(subject.now):
            continue
        doubts = () if rule.valid == ALWAYS else ("is not valid at every time",)
        found = speaker(rule.id, rule.where, subject, doubts)
        if found is not None:
            yield found


def asks(policy: Policy, grant: Grant, environment: str) -> bool:
    """Say whether people must agree wherever a grant applies in the environment: for itself, or for its lane."""
    governed = policy.contracts[grant.tool].kind == "governed"
    return bool(approvals_of(policy.lane_of(environment), [grant], governed=governed))


def lane_refuses(policy: Policy, tool: str, environment: str) -> Reason | None:
    """Say why the lane never lets the tool be called there, whatever the plan; None if it may."""
    lane = policy.lane_of(environment)
    if lane is None or lane.tools is None or tool in lane.tools:
        return None
    return barred(lane, Request(principal="", token_scopes=None, tool=tool, arguments={}))
