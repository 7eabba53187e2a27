"""Warns of what a policy allows but hardly means: nobody accountable, rules that can never speak."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from keyturn.model.contract import Contract
from keyturn.policy.costs import COST, RUNTIME, Price
from keyturn.policy.rules import Budget, Forbid, Grant
from keyturn.policy.shown import shown
from keyturn.policy.validity import ALWAYS
from keyturn.policy.world import World


def warnings_of(
    world: World,
    catalog: Mapping[str, Contract],
    grants: Sequence[Grant],
    forbids: Sequence[Forbid],
    budgets: Sequence[Budget],
) -> tuple[str, ...]:
    """Return the warnings, each starting with its dotted path."""
    always = [forbid for forbid in forbids if not forbid.shadow and forbid.valid == ALWAYS]
    closed = [forbid for forbid in always if not forbid.where.conditions]
    return (
        *_owners(world),
        *_environments(world),
        *(text for grant in grants for text in _grant(grant, world, catalog, closed)),
        *_budgets(budgets, grants),
        *_idle(world, grants),
    )


def _owners(world: World) -> Iterator[str]:
    for name, principal in world.principals.items():
        if principal.owner is None:
            yield f"principals.{name}: no owner is set, so four eyes are not enforced for this assistant"


def _environments(world: World) -> Iterator[str]:
    seen: defaultdict[str, list[str]] = defaultdict(list)
    for name, environment in world.environments.items():
        for target in environment.targets:
            seen[target].append(name)
    for target, names in seen.items():
        if len(names) > 1:
            yield (
                f"environments.{names[-1]}.targets: {shown(target)} is in {' and '.join(names)}, "
                "and a target in two environments is always denied"
            )


def _grant(grant: Grant, world: World, catalog: Mapping[str, Contract], closed: Sequence[Forbid]) -> Iterator[str]:
    scope = catalog[grant.tool].scope
    scoped = [name for name in grant.principals if scope in world.principals[name].scopes]
    if not scoped:
        yield f"{grant.place}: can never match: none of its principals has the scope {shown(scope)}"
    for forbid in closed:
        if _covers(forbid, grant):
            yield f"{grant.place}: can never match: {forbid.place} ({shown(forbid.id)}) forbids all of it"
    if not world.environments:
        yield f"{grant.place}: can never match: the policy has no environments, so every target is denied"
    yield from _late(grant, world)


def _late(grant: Grant, world: World) -> Iterator[str]:
    if grant.approval is None:
        return
    for owner in {world.principals[name].owner for name in grant.principals}:
        now = {*grant.approval.reviewers} - {owner}
        if len(now) < grant.approval.quorum:
            yield f"{grant.place}.approval: enough people may review only after escalation"
            return


def _covers(forbid: Forbid, grant: Grant) -> bool:
    return all(forbid.covers(principal, grant.tool) for principal in grant.principals)


def _budgets(budgets: Sequence[Budget], grants: Sequence[Grant]) -> Iterator[str]:
    for budget in budgets:
        calls = {(principal, grant.tool) for grant in grants for principal in grant.principals}
        if not any(limit.binds(*call) for limit in budget.limits for call in calls):
            yield f"{budget.place}: binds nothing: no grant is about its principals and tool"


def lane_warnings(world: World, grants: Sequence[Grant]) -> Iterator[str]:
    """Warn of lanes that nothing lies in, and of grants that a lane keeps from ever matching."""
    used = {environment.lane.name for environment in world.environments.values() if environment.lane}
    for name in world.lanes:
        if name not in used:
            yield f"lanes.{name}: no environment lies in it"
    for grant in grants:
        places = [world.environments[name] for name in grant.where.environments or world.environments]
        lanes = [place.lane for place in places]
        if lanes and all(lane and lane.tools is not None and grant.tool not in lane.tools for lane in lanes):
            yield f"{grant.place}: can never match: the lanes of its environments do not allow {grant.tool}"


def price_warnings(prices: Mapping[str, Price], grants: Sequence[Grant], budgets: Sequence[Budget]) -> Iterator[str]:
    """Warn of limits on runtime and cost that no tool they count declares."""
    rules = [*((grant.place, grant.limits) for grant in grants), *((rule.place, rule.limits) for rule in budgets)]
    for place, limits in rules:
        for limit in limits:
            declared = {
                unit for tool, price in prices.items() if limit.tool in {None, tool} for unit in price.amounts
            }
            if limit.unit in {COST, RUNTIME} - declared:
                yield f"{place}.limits: counts nothing: no [tools.NAME] that it counts declares {limit.unit}"


def _idle(world: World, grants: Sequence[Grant]) -> Iterator[str]:
    granted = {name for grant in grants for name in grant.principals}
    for name in world.principals:
        if name not in granted:
            yield f"principals.{name}: no grant is about it, so it may do nothing"
