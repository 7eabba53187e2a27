"""Retention: which payloads have had their time, and taking them on a person's signed word."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from keyturn.approvals.action import Action
from keyturn.approvals.statement import ACT_NAMESPACE, ActStatement
from keyturn.canon import Json
from keyturn.fold.pruning import check_prunable, pruning
from keyturn.fold.signatures import Act
from keyturn.fold.state import State
from keyturn.gateway.acts import Sign, origin_of, signed_fact, statement_of
from keyturn.gateway.desk import Job, Look
from keyturn.gateway.finding import first_not_before
from keyturn.ledger.writer import Ledger
from keyturn.model.errors import Refused
from keyturn.model.time import format_timestamp, shifted

Retention: TypeAlias = Callable[[str | None], timedelta | None]
"""Environment (None: what belongs to none) → how long payloads are kept, None for ever."""

SALTS = 64
"""Salts by which traces of what was pruned are looked for: a copy that holds one payload holds its neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is to go: the payloads of the entries at `places`, all there are below `before` of an environment."""

    environment: str | None
    before: int
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is to be pruned on which ground, a statement to sign for each rule, and salts of what goes."""

    basis: str
    rules: tuple[Rule, ...]
    statements: tuple[ActStatement, ...]
    salts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one entry took: how many payloads below `before`, of an environment or of all."""

    entry: int
    environment: str | None
    before: int
    payloads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks for: everything below a place or before a time, or, with neither, what has had its time."""

    before: int | datetime | None
    environment: str | None
    basis: str


def draft_pruning(ledger: Ledger[State], wish: Wish, retention: Retention, by: str) -> Draft:
    """Draft what a wish asks for. Without anything to prune there are no rules.

    Raises `Refused` for what has not had its time, and for what an action needs that is not over.
    """

    def look(view: Look) -> Draft:
        rules = tuple(_timely(view, wish, retention) if wish.before is None else _named(view, wish, retention))
        acts = [pruning(_facts(rule, wish.basis)) for rule in rules]
        return Draft(
            basis=wish.basis,
            rules=rules,
            statements=tuple(statement_of(view, act.verb, act.object, act.digest, by) for act in acts),
            salts=_salts(view, [seq for rule in rules for seq in rule.places]),
        )

    return ledger.look(look)


def prune(ledger: Ledger[State], draft: Draft, sign: Sign) -> list[Taken]:
    """Have each rule signed for, delete all in one transaction that says so; return what each entry took.

    What is deleted is still in the files until they are swept. Raises `Refused`; nothing is written then.
    """
    acts = [signed_fact(statement, sign(statement.signed_bytes, ACT_NAMESPACE)) for statement in draft.statements]

    def job(tx: Job) -> list[Taken]:
        return [
            _prune(tx, rule, draft.basis, statement, act)
            for rule, statement, act in zip(draft.rules, draft.statements, acts, strict=True)
        ]

    return ledger.transact(job)


# --- what is to go --------------------------------------------------------------------------------------------


def _named(view: Look, wish: Wish, retention: Retention) -> list[Rule]:
    """Return the one rule that somebody names, if it takes anything and all of that has had its time."""
    before = wish.before
    bound = before if isinstance(before, int) else first_not_before(view, before or view.now)
    rule_facts: dict[str, Json] = {"environment": wish.environment, "before": bound}
    check_prunable(rule_facts, view.head.size, _open(view))
    found = _places(view, bound)
    chosen = found if wish.environment is None else {wish.environment: found.get(wish.environment, [])}
    for environment, places in chosen.items():
        if places:
            _check_time(view, environment, places[-1], retention)
    places = sorted(seq for some in chosen.values() for seq in some)
    return [Rule(environment=wish.environment, before=bound, places=tuple(places))] if places else []


def _check_time(view: Look, environment: str | None, last: int, retention: Retention) -> None:
    kept, at = retention(environment), view.entry(last).at
    if kept is not None and shifted(view.now, -kept) < at:
        whose = "belongs to no environment" if environment is None else f"is of {environment}"
        raise Refused(
            "too_early",
            f"entry {last} of {format_timestamp(at)} {whose}, whose payloads are kept for {kept.days} days "
            "(by its lane in the policy, or [retention] in keyturn.toml): name an earlier place",
        )


def _timely(view: Look, wish: Wish, retention: Retention) -> list[Rule]:
    """Return a rule for what has had its time everywhere, and one for each environment where more has."""
    found = _places(view, view.head.size)
    bounds = {environment: _bound(view, environment, retention) for environment in {None, *found}}
    if wish.environment is not None:
        alone = bounds.get(wish.environment, 0)
        return _rules({wish.environment: alone}, found)
    everywhere = min(bounds.values())
    places = sorted(seq for some in found.values() for seq in some if seq < everywhere)
    rules = [Rule(environment=None, before=everywhere, places=tuple(places))] if places else []
    rest = {environment: [seq for seq in some if seq >= everywhere] for environment, some in found.items()}
    return rules + _rules({name: bound for name, bound in bounds.items() if name is not None}, rest)


def _rules(bounds: Mapping[str | None, int], found: Mapping[str | None, Sequence[int]]) -> list[Rule]:
    rules = []
    for environment, bound in sorted(bounds.items(), key=lambda item: str(item[0])):
        places = tuple(seq for seq in found.get(environment, ()) if seq < bound)
        if places:
            rules.append(Rule(environment=environment, before=bound, places=places))
    return rules


def _bound(view: Look, environment: str | None, retention: Retention) -> int:
    """Return below which place everything of an environment has had its time and is over; 0 where it is kept."""
    kept = retention(environment)
    if kept is None:
        return 0
    busy = [action.seq for action in _open(view) if environment in {None, action.environment}]
    return min([first_not_before(view, shifted(view.now, -kept)), *busy])


def _places(view: Look, before: int) -> dict[str | None, list[int]]:
    """Return the entries below `before` that have payloads which may be pruned, by environment."""
    found: dict[str | None, list[int]] = defaultdict(list)
    for seq in view.prunable(before):
        found[view.environment(view.entry(seq))].append(seq)
    return found


def _open(view: Look) -> list[Action]:
    return [action for action, _ in view.state.open_actions(view.now)]


def _salts(view: Look, places: Sequence[int]) -> tuple[bytes, ...]:
    step = max(1, len(places) // SALTS)
    found = (view.salt(seq) for seq in places[::step])
    return tuple(salt for salt in found if salt is not None)


# --- taking it ------------------------------------------------------------------------------------------------


def _facts(rule: Rule, basis: str) -> dict[str, Json]:
    return {"environment": rule.environment, "before": rule.before, "basis": basis}


def _prune(tx: Job, rule: Rule, basis: str, statement: ActStatement, act: dict[str, Json]) -> Taken:
    facts = _facts(rule, basis)
    expected = Act(verb=statement.verb, object=statement.object, digest=statement.digest)
    tx.state.check_act(act, expected, origin_of(tx), tx.now)
    check_prunable(facts, tx.head.size, _open(tx))
    count = tx.prune(rule.places)
    if count == 0:
        raise Refused("already_decided", "somebody else pruned that meanwhile")
    entry = tx.append("payloads.pruned", {**facts, "act": act})
    return Taken(entry=entry.seq, environment=rule.environment, before=rule.before, payloads=count)
