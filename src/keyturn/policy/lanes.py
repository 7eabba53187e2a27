"""Lanes: what an environment asks by default, and what it never lets through whatever is granted.

A lane only adds: it refuses tools and recipients that it does not list, and asks for its approval where a grant asks
for none of its own. Putting an environment into a lane therefore never lets anything through that was refused before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from keyturn.model.contract import Contract
from keyturn.model.decision import Reason, Request
from keyturn.policy.approval import check_givable, read_approval
from keyturn.policy.patterns import Pattern, PatternError, glob
from keyturn.policy.rules import Approval, Grant, Lane
from keyturn.policy.shown import shown
from keyturn.policy.tables import Table
from keyturn.policy.world import World

AUDIENCE = "audience"
"""Where the view of a plan names who would be told, each once: names or addresses, as the back end knows them."""

LONGEST_RETENTION = timedelta(days=3660)


def with_lanes(document: Table, world: World, catalog: Mapping[str, Contract]) -> World:
    """Read `[lanes.NAME]` and which environment lies in which; recording problems."""
    lanes = {name: _lane(name, table, world, catalog) for name, table in document.named("lanes")}
    environments = dict(world.environments)
    for name, table in document.named("environments"):
        if (lane := table.text("lane")) is None:
            continue
        if lane not in lanes:
            table.problems.unknown(table.at("lane"), f"there is no lane {shown(lane)}", lane, lanes)
        environments[name] = replace(environments[name], lane=lanes.get(lane))
    return replace(world, lanes=lanes, environments=environments)


def _lane(name: str, table: Table, world: World, catalog: Mapping[str, Contract]) -> Lane:
    table.only("approval", "tools", "recipients", "retention")
    asked = table.table("approval")
    return Lane(
        name=name,
        approval=None if asked is None else read_approval(asked, world, ()),
        tools=_tools(table, catalog),
        recipients=_recipients(table),
        retention=table.duration("retention", longest=LONGEST_RETENTION) if "retention" in table.raw else None,
    )


def _tools(table: Table, catalog: Mapping[str, Contract]) -> frozenset[str] | None:
    names = table.some_of("tools", "tool", catalog)
    for name in sorted((names or frozenset()) & catalog.keys()):
        if catalog[name].kind == "self":
            table.wrong("tools", f"{name} is about the caller's own actions: no lane can refuse it")
    return names


def _recipients(table: Table) -> tuple[Pattern, ...] | None:
    """Return the globs; an empty list is one too, and lets nobody be told."""
    if "recipients" not in table.raw:
        return None
    found: list[Pattern] = []
    for index, text in enumerate(table.texts("recipients")):
        try:
            found.append(glob(text, ignore_case=True))
        except PatternError as error:
            table.problems.add(f"{table.at('recipients')}[{index}]", str(error))
    return tuple(found)


def check_lanes(document: Table, world: World, catalog: Mapping[str, Contract], grants: Iterable[Grant]) -> None:
    """Record every lane whose approval nobody could give for a grant that falls back on it."""
    asking = [grant for grant in grants if grant.approval is None and catalog[grant.tool].kind == "governed"]
    for name, table in document.named("lanes"):
        lane, asked = world.lanes[name], table.table("approval")
        if asked is None or lane.approval is None:
            continue
        places = {key for key, environment in world.environments.items() if environment.lane == lane}
        falling = [grant for grant in asking if places & (grant.where.environments or places)]
        owners = {world.principals[one].owner for grant in falling for one in grant.principals}
        check_givable(asked, lane.approval, owners or {None})


def barred(lane: Lane | None, request: Request) -> Reason | None:
    """Say why the lane of its environment never lets a request through, or None."""
    if lane is None:
        return None
    if lane.tools is not None and request.tool not in lane.tools:
        return Reason("lane", f"the lane {shown(lane.name)} does not allow {shown(request.tool)}", lane.rule)
    told = None if lane.recipients is None else _told_too_far(lane.recipients, request)
    return None if told is None else Reason("lane", f"the lane {shown(lane.name)} {told}", lane.rule)


def _told_too_far(allowed: Sequence[Pattern], request: Request) -> str | None:
    """Compare who would be told with who may be. Who is counted and not named may be anybody."""
    count, named = request.effects.get("recipients"), (request.view or {}).get(AUDIENCE, [])
    if not isinstance(count, int) or not isinstance(named, list | tuple):
        return "limits who may be told, and the plan does not say who would be"
    names = {name for name in named if isinstance(name, str)}
    strangers = sum(not _matches(allowed, name) for name in names)
    if strangers:  # not by name: who asks need not learn who watches
        return f"does not let {strangers} of the {len(names)} be told whom this would tell"
    if count > len(names):
        return f"limits who may be told: the plan counts {count} and names {len(names)} of them"
    return None


def _matches(allowed: Sequence[Pattern], name: str) -> bool:
    try:
        return any(pattern.matches(name) for pattern in allowed)
    except UnicodeEncodeError:
        return False


def approvals_of(lane: Lane | None, grants: Iterable[Grant], *, governed: bool) -> dict[str, Approval]:
    """Return what people must agree to, by the rule that asks: each grant's own approval, or else its lane's."""
    fallback = lane.approval if lane is not None and governed else None
    found: dict[str, Approval] = {}
    for grant in grants:
        if grant.approval is not None:
            found[grant.id] = grant.approval
        elif lane is not None and fallback is not None:
            found[lane.rule] = fallback
    return found
