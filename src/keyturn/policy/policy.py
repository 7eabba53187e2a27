"""A policy as a frozen value: who there is, which rules hold, and the index that finds the few that matter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from keyturn.model.contract import Contract
from keyturn.model.decision import Deny, Reason
from keyturn.model.principal import Principal
from keyturn.policy.cases.case import Case
from keyturn.policy.circumstances import Circumstances
from keyturn.policy.costs import Price
from keyturn.policy.degrade import Tightening
from keyturn.policy.freezes import NOTHING, Freeze, Freezing, freezing, frozen_now
from keyturn.policy.guard import PolicyGuard
from keyturn.policy.limits import Limit
from keyturn.policy.lint import lane_warnings, price_warnings, warnings_of
from keyturn.policy.queue import Queue
from keyturn.policy.risk.settings import Settings
from keyturn.policy.risk.thresholds import held_anyway, risk_warnings, scored_by
from keyturn.policy.rules import Budget, Environment, Forbid, Grant, Lane, Person, Reviewer
from keyturn.policy.shown import shown
from keyturn.policy.validity import ALWAYS
from keyturn.policy.world import World

_OPEN = frozenset("*?\\")
"""What in a glob does not stand for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy text, read whole. `digest` is over the manifest of its files; `budgets` are the `[[limits]]`.

    `anchored` are the ids of the grants whose effects wait for an anchor.
    `risk` is how requests are scored; None where nothing asks for a score.
    """

    digest: str
    principals: Mapping[str, Principal]
    people: Mapping[str, Person]
    reviewers: Mapping[str, Reviewer]
    environments: Mapping[str, Environment]
    contracts: Mapping[str, Contract]
    grants: tuple[Grant, ...]
    forbids: tuple[Forbid, ...]
    budgets: tuple[Budget, ...]
    by_call: Mapping[tuple[str, str], tuple[Grant, ...]]
    by_tool: Mapping[str | None, tuple[Forbid, ...]]
    by_head: Mapping[str | None, tuple[Environment, ...]]
    by_place: Mapping[tuple[str, str], Mapping[str | None, tuple[Grant, ...]]]
    lint: tuple[str, ...] = ()
    anchored: frozenset[str] = frozenset()
    freezes: tuple[Freeze, ...] = ()
    lanes: Mapping[str, Lane] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    risk: Settings | None = None
    guard: PolicyGuard | None = None
    cases: tuple[Case, ...] = ()
    degrade: tuple[Tightening, ...] = ()
    queue: Queue | None = None

    def anchors_before(self, *rules: Iterable[str]) -> bool:
        """Say whether any of these rules asks that an intent is anchored before its effect."""
        return not all(self.anchored.isdisjoint(named) for named in rules)

    def reserved_by(self, tool: str) -> dict[str, int]:
        """Return what a call of the tool reserves beside what its plan counts, by unit; empty for most."""
        price = self.prices.get(tool)
        return {} if price is None else price.amounts

    def not_reserved(self, tool: str, reserved: Mapping[str, int]) -> dict[str, int]:
        """Return what a call of a tool reserves of units of which it has `reserved` less: no budget holds that."""
        due = self.reserved_by(tool).items()
        return {unit: amount for unit, amount in due if reserved.get(unit, 0) < amount}

    def lane_of(self, environment: str) -> Lane | None:
        """Return the lane an environment lies in, if it lies in one."""
        place = self.environments.get(environment)
        return None if place is None else place.lane

    def grants_for(self, principal: str, tool: str) -> tuple[Grant, ...]:
        """Return the grants about this principal and tool, in the order of their ids."""
        return self.by_call.get((principal, tool), ())

    def grants_in(self, principal: str, tool: str, environment: str) -> tuple[Grant, ...]:
        """Return those of `grants_for` that name this environment, or none."""
        places = self.by_place.get((principal, tool))
        if places is None:
            return self.grants_for(principal, tool)
        there, anywhere = places.get(environment, ()), places.get(None, ())
        if not there or not anywhere:
            return there or anywhere
        return tuple(sorted((*there, *anywhere), key=lambda grant: grant.id))

    def forbids_for(self, principal: str, tool: str) -> tuple[Forbid, ...]:
        """Return the forbids about this principal and tool, in the order of their ids."""
        about = self.by_tool.get(tool, self.by_tool[None])
        return tuple([rule for rule in about if rule.covers(principal, tool)]) if about else ()

    def limits_binding(self, principal: str, tool: str) -> tuple[Limit, ...]:
        """Return the limits of `[[limits]]` that count this call, in the order of their rules."""
        if not self.budgets:
            return ()
        return tuple([limit for budget in self.budgets for limit in budget.limits if limit.binds(principal, tool)])

    def freezing(
        self, tool: str, environment: str, target: str, now: datetime, circumstances: Circumstances
    ) -> Freezing:
        """Return what the freezes say to a call of `tool` on a target of `environment` at `now`."""
        if not self.freezes or self.contracts[tool].kind != "governed":
            return NOTHING
        return freezing(frozen_now(self.freezes, (tool, environment, target), now, circumstances))

    def environment_of(self, target: str) -> str | Deny:
        """Return the one environment a target lies in, or the denial that says it lies in none or in several."""
        try:
            places = self.by_head.get(target.partition("/")[0], ()) + self.by_head.get(None, ())
            found = [place.name for place in places if place.covers(target)]
        except UnicodeEncodeError:
            found = []
        if len(found) == 1:
            return found[0]
        where = f"in several environments: {', '.join(sorted(found))}" if found else "in no environment of the policy"
        return Deny(reasons=(Reason("environment", f"the target {shown(target)} lies {where}"),))

    def visible_tools(self, principal: str, token_scopes: frozenset[str] | None) -> frozenset[str]:
        """Return the tools to show: about oneself, or granted, in scope, and not forbidden whatever the arguments."""
        known = self.principals.get(principal)
        if known is None:
            return frozenset()
        return frozenset(
            tool for tool, contract in self.contracts.items() if self._shows(known, contract, token_scopes)
        )

    def pins(self) -> Mapping[str, tuple[str, str]]:
        """Return {place of the grant: (tool, pinned contract)}, such as `grants[0]`."""
        return {grant.place: (grant.tool, grant.pin) for grant in self.grants}

    def warnings(self) -> tuple[str, ...]:
        """Return what is allowed but probably not meant, each with its dotted path."""
        return self.lint

    def _shows(self, principal: Principal, contract: Contract, token_scopes: frozenset[str] | None) -> bool:
        if contract.kind == "self":
            return True
        scope = contract.scope
        if scope not in principal.scopes or (token_scopes is not None and scope not in token_scopes):
            return False
        forbids = self.forbids_for(principal.name, contract.tool)
        closed = any(not rule.shadow and not rule.where.conditions and rule.valid == ALWAYS for rule in forbids)
        return not closed and bool(self.grants_for(principal.name, contract.tool))


def assemble(
    *,
    world: World,
    catalog: Mapping[str, Contract],
    grants: tuple[Grant, ...],
    forbids: tuple[Forbid, ...],
    budgets: tuple[Budget, ...],
    digest: str,
    freezes: tuple[Freeze, ...] = (),
    calendar_warnings: tuple[str, ...] = (),
    prices: Mapping[str, Price] = MappingProxyType({}),
    risk: Settings | None = None,
    guard: PolicyGuard | None = None,
    cases: tuple[Case, ...] = (),
    degrade: tuple[Tightening, ...] = (),
    queue: Queue | None = None,
) -> Policy:
    """Return the policy of these parts with its index. Rules are found in the order of their ids."""
    by_call = _by_call(grants)
    return Policy(
        digest=digest,
        principals=MappingProxyType(dict(world.principals)),
        people=MappingProxyType(dict(world.people)),
        reviewers=MappingProxyType(dict(world.reviewers)),
        environments=MappingProxyType(dict(world.environments)),
        contracts=MappingProxyType(dict(catalog)),
        grants=grants,
        forbids=forbids,
        budgets=tuple(sorted(budgets, key=lambda budget: budget.id)),
        freezes=tuple(sorted(freezes, key=lambda freeze: freeze.id)),
        by_call=by_call,
        by_tool=_by_tool(forbids),
        by_head=_by_head(world.environments.values()),
        by_place=_by_place(by_call),
        lint=(
            *warnings_of(world, catalog, grants, forbids, budgets),
            *lane_warnings(world, grants),
            *calendar_warnings,
            *price_warnings(prices, grants, budgets),
            *risk_warnings(risk, grants, held_anyway(world)),
        ),
        lanes=MappingProxyType(dict(world.lanes)),
        prices=MappingProxyType(dict(prices)),
        risk=scored_by(risk, grants, forbids),
        guard=guard,
        cases=cases,
        degrade=degrade,
        queue=queue,
        anchored=frozenset(grant.id for grant in grants if grant.anchor and not grant.shadow),
    )


def _by_call(grants: Iterable[Grant]) -> Mapping[tuple[str, str], tuple[Grant, ...]]:
    index: defaultdict[tuple[str, str], list[Grant]] = defaultdict(list)
    for grant in sorted(grants, key=lambda grant: grant.id):
        for principal in grant.principals:
            index[principal, grant.tool].append(grant)
    return MappingProxyType({call: tuple(found) for call, found in index.items()})


def _by_head(places: Iterable[Environment]) -> Mapping[str | None, tuple[Environment, ...]]:
    """Return the environments by what their globs begin with, up to the first slash; under None those of any target.

    An environment is there once for each beginning, and nowhere else if one of its globs begins with anything.
    """
    index: defaultdict[str | None, list[Environment]] = defaultdict(list)
    for place in places:
        heads = {target.partition("/")[0] for target in place.targets}
        for head in {None} if _OPEN.intersection("".join(heads)) else heads:
            index[head].append(place)
    return MappingProxyType({head: tuple(found) for head, found in index.items()})


def _by_place(
    by_call: Mapping[tuple[str, str], tuple[Grant, ...]],
) -> Mapping[tuple[str, str], Mapping[str | None, tuple[Grant, ...]]]:
    """Return by environment the grants that name it, and under None the others, for calls that have both or many."""
    index: dict[tuple[str, str], Mapping[str | None, tuple[Grant, ...]]] = {}
    for call, grants in by_call.items():
        found: defaultdict[str | None, list[Grant]] = defaultdict(list)
        for grant in grants:
            names = grant.where.environments
            for name in (None,) if names is None else names:
                found[name].append(grant)
        if len(grants) > 1 and found.keys() != {None}:
            index[call] = MappingProxyType({name: tuple(some) for name, some in found.items()})
    return MappingProxyType(index)


def _by_tool(forbids: Iterable[Forbid]) -> Mapping[str | None, tuple[Forbid, ...]]:
    """Return the forbids by tool, those of any tool among them, and under None these alone."""
    rules = sorted(forbids, key=lambda rule: rule.id)
    index: dict[str | None, tuple[Forbid, ...]] = {}
    for tool in {None, *(rule.tool for rule in rules)}:
        index[tool] = tuple(rule for rule in rules if rule.tool in (None, tool))
    return MappingProxyType(index)
