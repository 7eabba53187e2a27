"""Reads a policy text whole or not at all: strict, with every problem at once under its dotted path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from keyturn.canon import manifest_digest
from keyturn.model.contract import Contract
from keyturn.policy.anchoring import read_anchor
from keyturn.policy.approval import read_approval
from keyturn.policy.cases.reading import is_case_file, read_cases, tests_folder
from keyturn.policy.costs import read_prices
from keyturn.policy.degrade import read_degrade
from keyturn.policy.documents import FILE, Document, read_document
from keyturn.policy.freezes import Calendars, Freeze, read_freeze
from keyturn.policy.guard import read_guard
from keyturn.policy.lanes import check_lanes, with_lanes
from keyturn.policy.limits import Limit, LimitError, read_limit
from keyturn.policy.lookalikes import look
from keyturn.policy.policy import Policy, assemble
from keyturn.policy.problems import Problems
from keyturn.policy.queue import read_queue
from keyturn.policy.risk.settings import read_settings
from keyturn.policy.risk.thresholds import check_answered, read_secrets, read_thresholds
from keyturn.policy.rules import Approval, Budget, Forbid, Grant, Thresholds
from keyturn.policy.shown import shown
from keyturn.policy.tables import Table, join
from keyturn.policy.usage import DIMENSIONS
from keyturn.policy.validity import read_validity
from keyturn.policy.where import Vocabulary, Where, read_where
from keyturn.policy.world import World, read_world

PIN = re.compile(r"v[1-9][0-9]{0,5} sha256:[0-9a-f]{64}", re.ASCII)
_SECTIONS = (
    "version", "includes", "principals", "people", "reviewers", "environments", "lanes", "tools", "grants", "forbids",
    "limits", "freezes", "policy", "tests", "risk", "degrade", "queue",
)  # fmt: skip
_OF_A_GRANT = (
    "id", "principals", "tool", "contract", "where", "limits", "approval", "risk", "secrets", "mode", "execute",
    "valid", "anchor",
)  # fmt: skip
_MOST_RULES = 20_000


def read_policy(files: Mapping[str, str], catalog: Mapping[str, Contract]) -> Policy:
    """Read `policy.toml` out of `files` ({path: text}) against the contracts of all tools, by tool name.

    Raises `ConfigurationError` with every problem at once, each starting with its dotted path.
    """
    return _document(read_document(files, Problems()), catalog, files)


def _document(document: Document, catalog: Mapping[str, Contract], files: Mapping[str, str]) -> Policy:
    document.only(*_SECTIONS)
    document.integer("version", low=1, high=1)
    tests = tests_folder(document)
    if document.count("grants", "forbids", "limits", "freezes") > _MOST_RULES:
        document.problems.add(FILE, f"has more than {_MOST_RULES} rules")
        document.problems.settle()
    world = with_lanes(document, read_world(document), catalog)
    prices, risk = read_prices(document, catalog), read_settings(document)
    rules = _Rules(document, world, catalog)
    grants = tuple(rules.grant(table) for table in document.tables("grants"))
    forbids = tuple(rules.forbid(table) for table in document.tables("forbids"))
    budgets = tuple(rules.budget(table) for table in document.tables("limits"))
    calendars = Calendars(document, files)
    freezes = tuple(rules.freeze(table, calendars) for table in document.tables("freezes"))
    check_lanes(document, world, catalog, (grant for grant in grants if grant))
    check_answered(document, world, (grant for grant in grants if grant))
    guard, cases = read_guard(document, world), read_cases(document, tests, files, catalog)
    degrade, queue = read_degrade(document, world.environments), read_queue(document)
    for path in files:
        if path not in document.used and not is_case_file(path, tests):
            document.problems.add(join("", path), f"is not used by {FILE}")
    document.problems.settle()
    return assemble(
        world=world,
        catalog=catalog,
        grants=tuple(grant for grant in grants if grant),
        forbids=forbids,
        budgets=budgets,
        freezes=tuple(freeze for freeze in freezes if freeze),
        calendar_warnings=calendars.warnings(),
        digest=manifest_digest(files),
        prices=prices,
        risk=risk,
        guard=guard,
        cases=cases,
        degrade=degrade,
        queue=queue,
    )


class _Rules:
    """Reads rules one by one; remembers ids, which name one rule each across all kinds."""

    def __init__(self, document: Table, world: World, catalog: Mapping[str, Contract]) -> None:
        self._world = world
        self._catalog = catalog
        self._problems = document.problems
        self._words = Vocabulary(environments=tuple(world.environments), tools=tuple(catalog))
        self._ids = {lane.rule: lane.rule for lane in world.lanes.values()}
        self._looks = {look(rule): rule for rule in self._ids}

    def grant(self, table: Table) -> Grant | None:
        """Read one of `[[grants]]`; None after recording a problem that leaves nothing to use."""
        table.only(*_OF_A_GRANT)
        rule = self._id(table)
        contract = self._tool(table, required=True)
        principals = self._world.principals_in(table, "principals", required=True) or frozenset()
        pin = self._pin(table)
        if contract is None:
            return None
        if contract.kind == "self":
            table.wrong("tool", f"{contract.tool} is about the caller's own actions and needs no grant")
        where = read_where(table, contract, self._words, strict=True)
        shadow, valid = _shadow(table), read_validity(table)
        limits = tuple(
            replace(
                limit,
                principals=principals,
                tool=contract.tool,
                environments=where.environments,
                shadow=shadow,
                valid=valid,
            )
            for limit in _limits(table, rule, None)
        )
        return Grant(
            id=rule,
            place=table.place,
            principals=principals,
            tool=contract.tool,
            pin=pin,
            where=where,
            limits=limits,
            approval=self._approval(table, contract, principals),
            shadow=shadow,
            anchor=read_anchor(table, contract),
            valid=valid,
            manual=_manual(table, contract),
            risk=self._risk(table, contract, principals),
            secrets=read_secrets(table),
        )

    def forbid(self, table: Table) -> Forbid:
        """Read one of `[[forbids]]`."""
        table.only("id", "principals", "tool", "where", "mode", "valid")
        rule = self._id(table)
        contract = self._tool(table, required=False)
        unclear = "tool" in table.raw and contract is None
        return Forbid(
            id=rule,
            place=table.place,
            principals=self._world.principals_in(table, "principals", required=False),
            tool=contract.tool if contract else None,
            where=Where() if unclear else read_where(table, contract, self._words, strict=False),
            shadow=_shadow(table),
            valid=read_validity(table),
        )

    def budget(self, table: Table) -> Budget:
        """Read one of `[[limits]]`."""
        table.only("id", "limits", "per", "principals", "tool", "environments", "mode", "valid")
        rule = self._id(table)
        contract = self._tool(table, required=False)
        principals = self._world.principals_in(table, "principals", required=False)
        environments = table.some_of("environments", "environment", self._words.environments)
        per = table.choice("per", "principal", *(name for name in DIMENSIONS if name != "principal"))
        shadow, valid = _shadow(table), read_validity(table)
        tool = contract.tool if contract else None
        limits = tuple(
            replace(limit, principals=principals, tool=tool, environments=environments, shadow=shadow, valid=valid)
            for limit in _limits(table, rule, per)
        )
        if "limits" not in table.raw:
            table.wrong("limits", "is missing")
        return Budget(id=rule, place=table.place, limits=limits, shadow=shadow, valid=valid)

    def freeze(self, table: Table, calendars: Calendars) -> Freeze | None:
        """Read one of `[[freezes]]`; None after recording a problem that leaves nothing to use."""
        rule, environments = self._id(table), table.some_of("environments", "environment", self._words.environments)
        return read_freeze(table, rule, environments, calendars, world=self._world, catalog=self._catalog)

    def _id(self, table: Table) -> str:
        rule = table.text("id", required=True) or table.place
        place = self._ids.setdefault(rule, table.place)
        if place != table.place:
            table.wrong("id", f"{shown(rule)} is the id of {_named(place, table.place)} already")
        elif (other := self._looks.setdefault(look(rule), rule)) != rule:
            place = _named(self._ids[other], table.place)
            table.wrong("id", f"{shown(rule)} looks like {shown(other)}, the id of {place}")
        return rule

    def _tool(self, table: Table, *, required: bool) -> Contract | None:
        name = table.text("tool", required=required)
        if name is None:
            return None
        contract = self._catalog.get(name)
        if contract is None:
            table.problems.unknown(table.at("tool"), f"there is no tool {shown(name)}", name, self._catalog)
        return contract

    def _pin(self, table: Table) -> str:
        pin = table.text("contract")
        if pin is None:
            if "contract" not in table.raw:
                table.wrong("contract", "is missing: `keyturn policy pin` writes it")
            return ""
        if not PIN.fullmatch(pin):
            table.wrong("contract", f"{shown(pin)} is no pin like v1 sha256:…: `keyturn policy pin` writes it")
        return pin

    def _approval(self, table: Table, contract: Contract, principals: frozenset[str]) -> Approval | None:
        asked = table.table("approval")
        if asked is None:
            return None
        if contract.kind != "governed":
            table.wrong("approval", f"{contract.tool} only reads: nobody can be asked to approve it")
            return None
        return read_approval(asked, self._world, principals)

    def _risk(self, table: Table, contract: Contract, principals: frozenset[str]) -> Thresholds | None:
        if "risk" in table.raw and contract.kind != "governed":
            table.wrong("risk", f"{contract.tool} only reads: there is nothing to hold or to refuse for its risk")
            return None
        return read_thresholds(table, lambda asked: self._approval(asked, contract, principals))


def _named(place: str, other: str) -> str:
    """Return a place so that it is told from one in another file."""
    return f"{FILE}: {place}" if ": " in other and ": " not in place else place


def _limits(table: Table, rule: str, per: str | None) -> tuple[Limit, ...]:
    found: list[Limit] = []
    for index, text in enumerate(table.texts("limits", required="limits" in table.raw)):
        try:
            found.append(read_limit(text, rule, per))
        except LimitError as error:
            table.problems.add(f"{table.at('limits')}[{index}]", f"{shown(text)}: {error}")
    return tuple(found)


def _manual(table: Table, contract: Contract) -> bool:
    manual = table.choice("execute", "automatic", "manual") == "manual"
    if manual and contract.kind != "governed":
        table.wrong("execute", f"{contract.tool} only reads: there is nothing to execute by hand")
    return manual


def _shadow(table: Table) -> bool:
    return table.choice("mode", "live", "shadow") == "shadow"
