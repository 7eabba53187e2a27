"""Finds rules that cannot mean what they say: unsatisfiable, unreachable, redundant or contradictory ones.

- unsatisfiable: no request at all meets the conditions of the rule;
- unreachable: some do, and each of them is forbidden;
- redundant: whatever the rule says of a request, others say too, so that leaving it out changes no decision;
- contradictory: two rules, or two parts of one, that are at odds: a grant says "without a review" and another always
  asks for one, or a grant asks for more than its own limit ever lets through;
- unlooked: rules meet in so many ways that not all were looked at.

Each finding is a proof; what only times, plans, risk or regular expressions settle is not found. Dates count as they
are now.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cache, partial
from typing import Literal, TypeAlias

from keyturn.canon import Json
from keyturn.policy.conditions.conjunction import AllOf
from keyturn.policy.conditions.minimum import Minimum
from keyturn.policy.limits import Limit
from keyturn.policy.policy import Policy
from keyturn.policy.reach.crowd import Crowd
from keyturn.policy.reach.rules import asks, lane_refuses, other_places, place_of, scene_of, stopping
from keyturn.policy.reach.search import Allowance, Impossible, Scene, seek, speaker
from keyturn.policy.rules import Approval, Environment, Forbid, Grant
from keyturn.policy.shown import shown

Kind: TypeAlias = Literal["unsatisfiable", "unreachable", "redundant", "contradictory", "unlooked"]

_NEVER = "can never match"
_OWN = frozenset({"id", "place", "pin", "principals", "where", "limits", "approval"})
_TOLD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule that cannot mean what it says. `because` are the rules that make it so."""

    kind: Kind
    place: str
    rule: str
    text: str
    because: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The finding after its dotted path, as warnings are written."""
        return f"{self.place}: {self.text}"

    def to_json(self) -> dict[str, Json]:
        """Return the finding as `--json` prints it."""
        return {
            "kind": self.kind,
            "place": self.place,
            "rule": self.rule,
            "text": self.text,
            "because": list(self.because),
        }


def findings(policy: Policy, now: datetime) -> tuple[Finding, ...]:
    """Return every finding about environments, grants and forbids, in the order of the text."""
    known = {place for place, _, text in (line.partition(": ") for line in policy.lint) if text.startswith(_NEVER)}
    search = _Searches(policy, now)
    spare_grants = _spare(search, [grant for grant in policy.grants if not grant.shadow])
    spare_forbids = _spare(search, [forbid for forbid in policy.forbids if not forbid.shadow])
    return (
        *_environments(search),
        *(one for grant in policy.grants if grant.place not in known for one in _grant(search, grant, spare_grants)),
        *(one for forbid in policy.forbids for one in _forbid(search, forbid, spare_forbids)),
        *_unlooked(search),
    )


def _unlooked(search: _Searches) -> Iterator[Finding]:
    if search.allowance.left < 0:
        text = "its rules meet in too many ways to look at all: not every rule that means nothing is named here"
        yield Finding(kind="unlooked", place="policy.toml", rule="", text=text)


class _Searches:
    """The scenes of one policy with the rules in them, each made once."""

    def __init__(self, policy: Policy, now: datetime) -> None:
        self.policy = policy
        self.now = now
        self.allowance = Allowance()
        self.scene = cache(self._scene)
        self.others = cache(lambda environment: other_places(policy, environment))
        self.forbids = cache(self._forbids)
        self.asking = cache(self._asking)
        self.alike = cache(self._alike)
        rules: tuple[Grant | Forbid, ...] = (*policy.grants, *policy.forbids)
        self.stakes = {rule.id: _stake(rule) for rule in rules}

    def scenes(self, rule: Grant | Forbid) -> Iterator[Scene]:
        """Yield every scene that a rule could speak in."""
        policy = self.policy
        named = rule.where.environments
        places = [name for name in policy.environments if named is None or name in named]
        for tool in [rule.tool] if rule.tool else sorted(policy.contracts):
            contract = policy.contracts[tool]
            allowed = [name for name in places if lane_refuses(policy, tool, name) is None]
            for name in sorted(rule.principals or policy.principals):
                if contract.kind != "self" and contract.scope in policy.principals[name].scopes:
                    yield from (self.scene(name, tool, environment) for environment in allowed)

    def never(
        self, rule: Grant | Forbid, scene: Scene, crowds: Sequence[Crowd], spared: Container[str] = frozenset()
    ) -> frozenset[str] | None:
        """Return the rules in the way if, without them, the rule speaks of no request in the scene; else None."""
        found = speaker(rule.id, rule.where, scene.subject({}))
        if found is None:
            return frozenset()
        place = place_of(self.policy, scene)
        others = [self.others(scene.environment), *crowds]
        reached = seek(scene, [*place, found], others, spared, self.allowance)
        return reached.blamed if isinstance(reached, Impossible) else None

    def nowhere(
        self, rule: Grant | Forbid, crowds: Callable[[Scene], Sequence[Crowd]], spared: Container[str] = frozenset()
    ) -> frozenset[str] | None:
        """Return the rules in the way if, without them, the rule speaks in no scene; else None."""
        blamed: set[str] = set()
        for scene in self.scenes(rule):
            here = self.never(rule, scene, crowds(scene), spared)
            if here is None:
                return None
            blamed |= here
        return frozenset(blamed)

    def _scene(self, principal: str, tool: str, environment: str) -> Scene:
        return scene_of(self.policy, principal, tool, environment, self.now)

    def _forbids(self, scene: Scene) -> Crowd:
        rules = self.policy.forbids_for(scene.principal.name, scene.contract.tool)
        return Crowd(stopping(rules, scene.subject({})))

    def _asking(self, scene: Scene) -> Crowd:
        grants = self.policy.grants_for(scene.principal.name, scene.contract.tool)
        rules = (grant for grant in grants if asks(self.policy, grant, scene.environment))
        return Crowd(stopping(rules, scene.subject({})))

    def _alike(self, stake: _Stake, scene: Scene) -> Crowd:
        policy, name, tool = self.policy, scene.principal.name, scene.contract.tool
        lane = policy.lane_of(scene.environment)
        lane_asks = lane is not None and lane.approval is not None
        rules: tuple[Grant | Forbid, ...] = policy.forbids_for(name, tool)
        if stake.kind is Grant:
            rules = policy.grants_for(name, tool)
        alike = (
            speaker(rule.id, rule.where, scene.subject({}))
            for rule in rules
            if not rule.shadow and self.stakes[rule.id].in_place_of(stake, lane_asks=lane_asks)
        )
        return Crowd(one for one in alike if one is not None)


def _environments(search: _Searches) -> Iterator[Finding]:
    """Find environments all of whose targets lie in others too."""
    policy = search.policy
    for name, contract in ((name, c) for name in policy.principals for c in policy.contracts.values()):
        for environment, place in policy.environments.items():
            scene = search.scene(name, contract.tool, environment)
            reached = seek(scene, place_of(policy, scene), [search.others(environment)])
            if isinstance(reached, Impossible) and not _twins(policy, place):
                also = _named(one.removeprefix("environments.") for one in reached.blamed)
                text = f"can never be: every target in it lies in {also} too, and is denied"
                rule = f"environments.{environment}"
                yield Finding(
                    kind="unreachable", place=rule, rule=rule, text=text, because=tuple(sorted(reached.blamed))
                )
        return


def _twins(policy: Policy, place: Environment) -> bool:
    """Say whether a target of the environment stands in another word for word: that is warned of already."""
    others = (other.targets for other in policy.environments.values() if other is not place)
    return any(target in targets for targets in others for target in place.targets)


def _grant(search: _Searches, grant: Grant, spare: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    if next(search.scenes(grant), None) is None:
        return  # nobody has the scope, or there is nowhere to act: that is warned of already
    if (blamed := search.nowhere(grant, lambda scene: [search.forbids(scene)])) is not None:
        yield _dead(search, grant, blamed)
        return
    yield from _beyond_its_limits(grant)
    if grant.id in spare:
        yield from _spared(grant, spare)
    elif grant.approval is None and not grant.shadow and (asking := _always_asked(search, grant)):
        text = f"lets calls run without a review, but wherever it speaks {_named(asking)} asks for one"
        yield _finding("contradictory", grant, text, asking)


def _forbid(search: _Searches, forbid: Forbid, spare: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    if next(search.scenes(forbid), None) is None:
        return
    if search.nowhere(forbid, lambda _scene: ()) is not None:
        yield _finding("unsatisfiable", forbid, f"{_NEVER}: no request meets all of its conditions")
    else:
        yield from _spared(forbid, spare)


def _dead(search: _Searches, grant: Grant, blamed: frozenset[str]) -> Finding:
    """Say why a grant never speaks: by itself, or because all of it is forbidden."""
    if search.nowhere(grant, lambda _scene: ()) is not None:
        return _finding("unsatisfiable", grant, f"{_NEVER}: no request meets all of its conditions")
    forbids = blamed & {forbid.id for forbid in search.policy.forbids}
    text = f"{_NEVER}: {_named(forbids)} {'forbids' if len(forbids) == 1 else 'forbid'} every request it speaks of"
    return _finding("unreachable", grant, text, forbids)


def _spared(rule: Grant | Forbid, spare: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    if (others := spare.get(rule.id)) is not None:
        says = "say" if len(others) > 1 else "says"
        yield _finding("redundant", rule, f"can be left out: {_named(others)} {says} as much", others)


def _always_asked(search: _Searches, grant: Grant) -> frozenset[str]:
    """Return the rules that always ask for a review where a grant speaks that asks for none."""
    free = [scene for scene in search.scenes(grant) if not asks(search.policy, grant, scene.environment)]
    blamed: set[str] = set()
    for scene in free:
        here = search.never(grant, scene, [search.forbids(scene), search.asking(scene)])
        if here is None:
            return frozenset()
        blamed |= here
    return frozenset(blamed & {other.id for other in search.policy.grants})


def _beyond_its_limits(grant: Grant) -> Iterator[Finding]:
    """Find limits of a grant that are below what its own conditions ask for."""
    for condition in grant.where.conditions:
        unit = condition.path.text.removeprefix("plan.")
        tests = condition.test.tests if isinstance(condition.test, AllOf) else (condition.test,)
        low = [test.bound for test in tests if isinstance(test, Minimum) and isinstance(test.bound, int)]
        for limit in grant.limits:
            if limit.unit == unit and not limit.shadow and any(bound > limit.allowed for bound in low):
                text = (
                    f"asks for at least {max(low)} {unit}, and its own limit {shown(limit.text)} never lets so many"
                )
                yield _finding("contradictory", grant, text)


def _spare(search: _Searches, rules: Sequence[Grant | Forbid]) -> dict[str, frozenset[str]]:
    """Return {rule: the others that say as much}. Of rules that say the same, the last is left out first."""
    names = frozenset(rule.id for rule in rules)

    def covering(rule: Grant | Forbid, left_out: Container[str]) -> frozenset[str]:
        crowds = partial(_alike, search, search.stakes[rule.id])
        return (search.nowhere(rule, crowds, left_out) or frozenset()) & names

    spare: dict[str, Grant | Forbid] = {}
    for rule in reversed(rules):
        if covering(rule, {rule.id, *spare}):
            spare[rule.id] = rule
    return {name: covering(rule, spare) for name, rule in spare.items()}


@dataclass(frozen=True, slots=True)
class _Stake:
    """What a rule adds where it speaks: what others must add too, for the rule to be left out."""

    kind: type
    rest: tuple[object, ...]
    approval: Approval | None = None
    limits: frozenset[Limit] = frozenset()

    def in_place_of(self, other: _Stake, *, lane_asks: bool) -> bool:
        """Say whether nothing changes when `other` is left out where this is said.

        Where a lane asks for grants without an approval, such a grant asks for the lane's.
        """
        adds_nothing = other.approval is None and not other.limits and not lane_asks
        return self == other or (self.kind is other.kind and self.rest == other.rest and adds_nothing)


def _stake(rule: Grant | Forbid) -> _Stake:
    rest = tuple(getattr(rule, field.name) for field in fields(rule) if field.name not in _OWN)
    if isinstance(rule, Forbid):
        return _Stake(Forbid, (rule.shadow, rule.valid))
    return _Stake(Grant, rest, rule.approval, frozenset(replace(limit, rule="") for limit in rule.limits))


def _alike(search: _Searches, stake: _Stake, scene: Scene) -> list[Crowd]:
    """Return the rules in a scene that say what the stake says, and perhaps more."""
    return [search.alike(stake, scene)]


def _named(rules: Iterable[str]) -> str:
    names = sorted(rules)
    told = " and ".join(shown(name) for name in names[:_TOLD])
    return told + (f" and {len(names) - _TOLD} more" if len(names) > _TOLD else "")


def _finding(kind: Kind, rule: Grant | Forbid, text: str, because: Iterable[str] = ()) -> Finding:
    return Finding(kind=kind, place=rule.place, rule=rule.id, text=text, because=tuple(sorted(because)))
