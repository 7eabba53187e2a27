"""Finds what one policy lets through that another does not: for whom, with what, where, and a request that shows it.

Of every principal, tool and environment whose rules differ it is asked whether some request is

- permitted by one and refused by the other,
- permitted by one and held for review by the other,
- held by one and refused by the other.

Where rules, principals and environments are the same nothing is looked for, because nothing can differ. A limit, a
freeze, risk or a person's pause refuse for a while: they are left out here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Literal, TypeAlias

from keyturn.canon import Json
from keyturn.model.decision import Request
from keyturn.policy.policy import Policy
from keyturn.policy.reach.crowd import Crowd, Speaker
from keyturn.policy.reach.rules import asks, lane_refuses, other_places, scene_of, speaking, stopping
from keyturn.policy.reach.search import Found, Impossible, Open, Scene, lies_in, on_port, seek
from keyturn.policy.rules import Forbid, Grant
from keyturn.policy.where import Where

Level: TypeAlias = Literal["deny", "hold", "permit"]
Takes: TypeAlias = Callable[[str, Mapping[str, Json]], bool]

STEPS: tuple[tuple[Level, Level], ...] = (("deny", "permit"), ("hold", "permit"), ("deny", "hold"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Some requests of a principal that are decided otherwise.

    before, after  what is said to them
    rules          the grants that let them through where they pass (hold and permit), in the policy that says more
    request        one of them; or as near to one as was found, and then `open` says what else would have to be
    """

    principal: str
    tool: str
    environment: str
    before: Level
    after: Level
    rules: tuple[str, ...]
    request: Request
    open: tuple[str, ...] = ()

    @property
    def gains(self) -> bool:
        """Whether the second policy lets more through."""
        return (self.before, self.after) in STEPS


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a comparison is made with: the moment, what contracts take, and the back ends tools act on, if known."""

    now: datetime
    takes: Takes | None = None
    ports: Mapping[str, str] | None = None


def shifts(old: Policy, new: Policy, outlook: Outlook) -> tuple[Shift, ...]:
    """Return what is decided otherwise, by principal, tool and environment; at most one for each step."""
    found: list[Shift] = []
    for principal in sorted({*old.principals, *new.principals}):
        for tool in sorted({*old.contracts, *new.contracts}):
            found += _of_call(old, new, (principal, tool), outlook)
    return tuple(found)


def same_where(one: Where, other: Where) -> bool:
    """Say whether two rules have the same conditions, the time zones of their clocks included."""
    return _conditions(one) == _conditions(other)


def _of_call(old: Policy, new: Policy, call: tuple[str, str], outlook: Outlook) -> Iterator[Shift]:
    before, after = _Side(old, *call), _Side(new, *call)
    if before.fingerprint == after.fingerprint:
        return
    for less, more in ((before, after), (after, before)):
        for environment in less.changed_places(more):
            for low, high in STEPS:
                shift = _step(_Query(less, more, environment, outlook), low, high)
                if shift is not None:
                    yield shift if more is after else _turned(shift)


def _turned(shift: Shift) -> Shift:
    return Shift(
        principal=shift.principal,
        tool=shift.tool,
        environment=shift.environment,
        before=shift.after,
        after=shift.before,
        rules=shift.rules,
        request=shift.request,
        open=shift.open,
    )


@dataclass(frozen=True)
class _Side:
    """One policy as far as it is about one call."""

    policy: Policy
    principal: str
    tool: str

    @property
    def admits(self) -> bool:
        """Whether the caller is known and has the scope."""
        principal, contract = self.policy.principals.get(self.principal), self.policy.contracts.get(self.tool)
        return principal is not None and contract is not None and contract.scope in principal.scopes

    @property
    def grants(self) -> list[Grant]:
        """The live grants about the call."""
        found = self.policy.grants_for(self.principal, self.tool) if self.admits else ()
        return [grant for grant in found if not grant.shadow]

    @property
    def forbids(self) -> list[Forbid]:
        """The live forbids about the call."""
        return [rule for rule in self.policy.forbids_for(self.principal, self.tool) if not rule.shadow]

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """What decides about the call besides limits, freezes and risk."""
        grants = tuple((_conditions(grant.where), grant.approval, grant.valid) for grant in self.grants)
        forbids = tuple((_conditions(rule.where), rule.valid) for rule in self.forbids)
        principal = self.policy.principals.get(self.principal)
        who = principal and (principal.owner, principal.groups)
        return (self.admits, who, grants, forbids, self.places) if grants else (self.admits and bool(grants),)

    @property
    def places(self) -> tuple[object, ...]:
        """What the environments are, and what their lanes say to the call."""
        policy = self.policy
        return tuple(
            (name, place.targets, lane_refuses(policy, self.tool, name) is None, place.lane and place.lane.approval)
            for name, place in sorted(policy.environments.items())
        )

    def changed_places(self, other: _Side) -> Iterator[str]:
        """Yield the environments where the other side may let more through."""
        if other.grants:
            yield from sorted(other.policy.environments)


@dataclass(frozen=True)
class _Query:
    """Whether `more` lets something through in an environment that `less` does not."""

    less: _Side
    more: _Side
    environment: str
    outlook: Outlook

    @property
    def scene(self) -> Scene:
        """The call in the environment of the side that lets more through."""
        tool, outlook = self.more.tool, self.outlook
        takes = outlook.takes
        return scene_of(
            self.more.policy,
            self.more.principal,
            tool,
            self.environment,
            outlook.now,
            port=None if outlook.ports is None else outlook.ports.get(tool),
            accepts=None if takes is None else lambda arguments: takes(tool, arguments),
        )


@dataclass(frozen=True)
class _Part:
    """One way in which a side says what it is asked for: rules that must speak, and rules that must not."""

    wanted: tuple[Speaker, ...] = ()
    unwanted: tuple[Crowd, ...] = ()


def _step(query: _Query, low: Level, high: Level) -> Shift | None:
    """Look for a request to which one side says `low` and the other `high`."""
    scene, best = query.scene, None
    above = list(_saying(query.more, query.environment, high, scene))
    for below in _below(query, low, scene) if above else ():
        for part in above:
            reached = seek(scene, [*part.wanted, *below.wanted], [*part.unwanted, *below.unwanted])
            if isinstance(reached, Impossible):
                continue
            best = _shift(query, (low, high), part, reached)
            if isinstance(reached, Found):
                return best
    return best


def _shift(query: _Query, step: tuple[Level, Level], part: _Part, reached: Found | Open) -> Shift:
    grants = {grant.id for grant in query.more.grants}
    request = Request(
        principal=query.more.principal,
        token_scopes=None,
        tool=query.more.tool,
        arguments=reached.arguments,
        target=reached.target,
        effects={"calls": 1},
    )
    return Shift(
        principal=query.more.principal,
        tool=query.more.tool,
        environment=query.environment,
        before=step[0],
        after=step[1],
        rules=tuple(one.rule for one in part.wanted if one.rule in grants),
        request=request,
        open=reached.doubts if isinstance(reached, Open) else (),
    )


def _below(query: _Query, level: Level, scene: Scene) -> Iterator[_Part]:
    """Yield each way in which the side that lets less through says `level`, wherever the target lies for it."""
    side, policy = query.less, query.less.policy
    if not side.admits:
        if level == "deny":
            yield _Part()
        return
    if side.places == query.more.places:
        yield from _saying(side, query.environment, level, scene)
        return
    for environment in policy.environments:
        yield from _saying(side, environment, level, scene)
    if level == "deny":
        everywhere = [lies_in(place) for place in policy.environments.values()]
        yield _Part(unwanted=(Crowd(everywhere),))
        for pair in combinations(everywhere, 2):
            yield _Part(wanted=pair)


def _saying(side: _Side, environment: str, level: Level, scene: Scene) -> Iterator[_Part]:
    """Yield each way in which a side says `level` to a target in an environment of its own."""
    policy = side.policy
    port = () if scene.port is None else (on_port(scene.port),)
    here = (lies_in(policy.environments[environment]), *port)
    apart = other_places(policy, environment)
    barred = lane_refuses(policy, side.tool, environment) is not None
    if not side.admits or barred:
        if level == "deny":
            yield _Part(here, (apart,))
        return
    # Conditions on the caller and the environment are judged as this side sees them.
    subject = scene_of(policy, side.principal, side.tool, environment, scene.now).subject({})
    forbids = Crowd(stopping(side.forbids, subject))
    asking = [grant for grant in side.grants if asks(policy, grant, environment)]
    match level:
        case "permit":
            stops = Crowd(stopping(asking, subject))
            asked = {grant.id for grant in asking}
            free = (grant for grant in side.grants if grant.id not in asked)
            yield from (_Part((*here, one), (apart, forbids, stops)) for one in speaking(free, subject))
        case "hold":
            yield from (_Part((*here, one), (apart, forbids)) for one in speaking(asking, subject))
        case "deny":
            yield _Part(here, (apart, Crowd(stopping(side.grants, subject))))
            yield from (_Part((*here, one), (apart,)) for one in speaking(side.forbids, subject))


def _conditions(where: Where) -> tuple[object, ...]:
    return tuple((one.path.text, str(one.path.zone), one.test, one.strict) for one in where.conditions)
