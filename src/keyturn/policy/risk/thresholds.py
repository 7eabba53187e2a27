"""Reads a grant's `risk`, and says which thresholds a score reaches and what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from keyturn.model.decision import Reason
from keyturn.model.risk import Risk
from keyturn.policy.risk.credentials import MOST_TOLD, look_through
from keyturn.policy.risk.settings import HEAVIEST, Settings, plain_settings
from keyturn.policy.rules import Approval, Forbid, Grant, Thresholds
from keyturn.policy.tables import Table
from keyturn.policy.world import World

ALLOWED = "allowed"
_HIGHEST = HEAVIEST * 10


def read_thresholds(rule: Table, approval: Callable[[Table], Approval | None]) -> Thresholds | None:
    """Read the `risk` of a grant, recording problems; `approval` reads the `approval` of the table it is given."""
    table = rule.table("risk")
    if table is None:
        return None
    table.only("hold_at", "deny_at", "approval", "mode")
    hold_at = _score(table, "hold_at")
    deny_at = _score(table, "deny_at")
    if "hold_at" not in table.raw and "deny_at" not in table.raw:
        table.problems.add(table.place, "says nothing: write hold_at = 40, deny_at = 80, or both")
    if hold_at is not None and deny_at is not None and hold_at >= deny_at:
        table.wrong("hold_at", f"can never hold anything: from {deny_at} on it is refused")
    if "approval" in table.raw and "hold_at" not in table.raw:
        table.wrong("approval", "is asked for nothing: write hold_at beside it")
    return Thresholds(
        hold_at=hold_at,
        deny_at=deny_at,
        approval=approval(table),
        shadow=table.choice("mode", "live", "shadow") == "shadow",
    )


def _score(table: Table, key: str) -> int | None:
    return table.integer(key, low=1, high=_HIGHEST) if key in table.raw else None


def read_secrets(rule: Table) -> bool:
    """Read the `secrets` of a grant: whether what looks like a credential may be added."""
    return rule.choice("secrets", "refused", ALLOWED) == ALLOWED


def refusals(grants: Iterable[Grant], risk: Risk) -> list[Reason]:
    """Return why the score is too high for a grant: one reason per grant that says so, shadow left out."""
    return [
        Reason("risk", f"{risk.text} is refused from {rule.deny_at} on", grant.id)
        for grant, rule in _live(grants)
        if rule.deny_at is not None and risk.score >= rule.deny_at
    ]


def approvals(grants: Iterable[Grant], risk: Risk) -> list[tuple[str, Approval]]:
    """Return what people must agree to because of the score, by the grant that asks."""
    reached = ((grant, rule) for grant, rule in _live(grants) if _holds(rule, risk))
    return [(grant.id, rule.approval) for grant, rule in reached if rule.approval is not None]


def unanswered(grants: Iterable[Grant], risk: Risk) -> list[Reason]:
    """Return why a score that has to be held is refused where nobody is asked who could agree."""
    return [
        Reason("risk", f"{risk.text} is held from {rule.hold_at} on, and no approval says by whom", grant.id)
        for grant, rule in _live(grants)
        if _holds(rule, risk)
    ]


def notes(grants: Sequence[Grant], risk: Risk) -> Iterator[Reason]:
    """Yield what is told of a score that refuses nothing: the parts one by one, and what shadows would have done."""
    yield Reason("risk", risk.text)
    yield from parts(risk)
    for grant in grants:
        rule = grant.risk
        if rule is not None and rule.shadow:
            would = _would(rule, risk)
            if would:
                yield Reason("shadow_risk", f"in shadow: {would}", grant.id)


def parts(risk: Risk) -> Iterator[Reason]:
    """Yield a reason for each part that has points."""
    yield from (Reason("risk_part", part.text) for part in risk.parts if part.points)


def parts_told(risk: Risk) -> Reason:
    """Return one reason that tells all parts that have points, for a refusal."""
    return Reason("risk_part", "; ".join(part.text for part in risk.parts if part.points))


def secrets(grants: Sequence[Grant], diff: str) -> list[Reason]:
    """Return what is added that looks like a credential, unless every grant allows that."""
    strict = next((grant for grant in grants if not grant.secrets), None)
    if strict is None or not diff:
        return []
    hint = f'; a grant that means it says secrets = "{ALLOWED}"'
    return [Reason("secret", finding.text + hint, strict.id) for finding in look_through(diff).findings[:MOST_TOLD]]


def scored_by(settings: Settings | None, grants: Iterable[Grant], forbids: Iterable[Forbid]) -> Settings | None:
    """Return by what a policy scores: `[risk]`, else the defaults where a rule asks for a score, else nothing."""
    if settings is not None:
        return settings
    wheres = (*(grant.where for grant in grants), *(forbid.where for forbid in forbids))
    seen = any(condition.path.root == "risk" for where in wheres for condition in where.conditions)
    asks = seen or any(grant.risk is not None for grant in grants)
    return plain_settings() if asks else None


def held_anyway(world: World) -> Callable[[Grant], bool]:
    """Return what says whether each request that a grant lets through is held, whatever its score."""
    free = {name for name, place in world.environments.items() if place.lane is None or place.lane.approval is None}
    return lambda grant: (
        grant.approval is not None or free.isdisjoint(grant.where.environments or world.environments.keys())
    )


def held_somewhere(world: World, grant: Grant) -> bool:
    """Say whether a request that a grant lets through may be held without a score."""
    places = (world.environments[name] for name in grant.where.environments or world.environments)
    return grant.approval is not None or any(place.lane and place.lane.approval for place in places)


def check_answered(document: Table, world: World, grants: Iterable[Grant]) -> None:
    """Record each grant whose `hold_at` could only refuse: nothing says who may agree."""
    for grant in grants:
        if (
            grant.risk
            and grant.risk.hold_at is not None
            and not grant.risk.approval
            and not held_somewhere(world, grant)
        ):
            place = f"{grant.place}.risk.hold_at"
            document.problems.add(place, "nobody is named who could agree: write an approval beside it")


def risk_warnings(
    settings: Settings | None, grants: Iterable[Grant], asked: Callable[[Grant], bool]
) -> Iterator[str]:
    """Yield what thresholds hardly mean; `asked` says whether every request of a grant is held anyway."""
    most = (settings or plain_settings()).most
    for grant in grants:
        rule = grant.risk
        if rule is None:
            continue
        place = f"{grant.place}.risk"
        for name, value in (("hold_at", rule.hold_at), ("deny_at", rule.deny_at)):
            if value is not None and value > most:
                yield f"{place}.{name}: can never be reached: the highest score there is is {most}"
        if rule.hold_at is not None and rule.approval is None and asked(grant):
            yield f"{place}.hold_at: adds nothing without an approval of its own: all of it is held anyway"


def _live(grants: Iterable[Grant]) -> Iterator[tuple[Grant, Thresholds]]:
    return ((grant, grant.risk) for grant in grants if grant.risk is not None and not grant.risk.shadow)


def _holds(rule: Thresholds, risk: Risk) -> bool:
    return rule.hold_at is not None and risk.score >= rule.hold_at


def _would(rule: Thresholds, risk: Risk) -> str:
    if rule.deny_at is not None and risk.score >= rule.deny_at:
        return f"{risk.text} would be refused from {rule.deny_at} on"
    return f"{risk.text} would be held from {rule.hold_at} on" if _holds(rule, risk) else ""
