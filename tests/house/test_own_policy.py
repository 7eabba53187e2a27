"""The repository's own policy: it shows the whole language, and its cases hold. Homes begin with a shorter one."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.assembly.home import Home
from keyturn.assembly.starter import NewPrincipal, NewReviewer, starter_policy
from keyturn.contracts import Catalog, check_pins, read_catalog
from keyturn.model.sshkey import PublicKey
from keyturn.policy import DIMENSIONS, Policy, read_policy
from keyturn.policy.cases.running import run_cases
from keyturn.policy.conditions import OPERATORS, OPTION
from keyturn.policy.limits import UNITS
from keyturn.policy.paths import _ROOTS
from keyturn.policy.tables import Table
from tests.house.test_house import PACKAGE, ROOT

WRITTEN_OUT = {"per"}  # choices that every limit can say in its own text as well


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog(ROOT / "tool_schemas")


@pytest.fixture(scope="module")
def policy(catalog: Catalog) -> Policy:
    return read_policy(Home(ROOT).policy_files(), catalog.contracts)


def asking(method: str) -> set[tuple[str, int]]:
    """Return where the policy's readers ask a table `method`: (file, line)."""
    found = set()
    for path in (PACKAGE / "policy").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
                found.add((str(path), node.lineno))
    return found


def values_under(value: Any, key: str) -> Iterator[Any]:
    """Yield what stands under `key` anywhere in a policy's tables."""
    if isinstance(value, Table):
        yield from values_under(value.raw, key)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from [inner] if name == key else values_under(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from values_under(inner, key)


def test_it_loads_without_a_warning_and_pins_the_contracts_beside_it(policy: Policy, catalog: Catalog) -> None:
    assert check_pins(catalog, policy.pins()) == []
    assert policy.warnings() == ()


def test_its_cases_hold_and_reach_every_grant_and_every_forbid(policy: Policy) -> None:
    run = run_cases(policy)
    assert run.failures == ()
    assert run.unreached == ()
    assert {result.case.expect for result in run.results} == {"permit", "hold", "deny", "shadow"}


def test_it_says_every_key_that_a_reader_of_policies_knows(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[tuple[str, int], set[str]] = defaultdict(set)
    said: dict[tuple[str, int], set[str]] = defaultdict(set)
    real = Table.only

    def only(table: Table, *keys: str) -> None:
        caller = sys._getframe(1)
        place = (caller.f_code.co_filename, caller.f_lineno)
        known[place] |= set(keys)
        said[place] |= set(table.raw)
        real(table, *keys)

    monkeypatch.setattr(Table, "only", only)
    read_policy(Home(ROOT).policy_files(), catalog.contracts)
    assert [Path(file).name for file, _ in asking("only") - set(known)] == ["reading.py"]  # a document asks its files
    files = {place for place in known if Path(place[0]).name == "documents.py"}  # sections stand in any of them
    sections = set().union(*(said[place] for place in files))
    missing = {place: keys - (sections if place in files else said[place]) for place, keys in known.items()}
    assert {place: keys for place, keys in missing.items() if keys} == {}


def test_it_makes_every_choice_that_is_not_made_without_saying_so(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[tuple[str, int, str], set[str]] = defaultdict(set)
    made: dict[tuple[str, int, str], set[str]] = defaultdict(set)
    real = Table.choice

    def choice(table: Table, key: str, *options: str) -> str:
        caller, chosen = sys._getframe(1), real(table, key, *options)
        place = (caller.f_code.co_filename, caller.f_lineno, key)
        known[place] |= set(options)
        made[place] |= {chosen, options[0]}
        return chosen

    monkeypatch.setattr(Table, "choice", choice)
    read_policy(Home(ROOT).policy_files(), catalog.contracts)
    assert {place[:2] for place in known} == asking("choice")
    missing = {place: known[place] - made[place] for place in known if place[2] not in WRITTEN_OUT}
    assert {place: options for place, options in missing.items() if options} == {}


def test_its_conditions_use_every_operator_and_look_at_everything_there_is_to_see(policy: Policy) -> None:
    tables = [rule for path in policy_tables() for rule in values_under(path, "where")]
    for word in (*OPERATORS, OPTION):
        assert list(values_under(tables, word)), word
    paths = {path for where in tables for path in where}
    assert {path.split(".")[0] for path in paths} == set(_ROOTS)
    assert any("[*]" in path for path in paths)


def test_its_limits_count_every_unit_for_everybody_they_can_count_apart(policy: Policy) -> None:
    limits = [limit for grant in policy.grants for limit in grant.limits]
    limits += [limit for budget in policy.budgets for limit in budget.limits]
    assert {limit.unit for limit in limits} == set(UNITS)
    assert {limit.per for limit in limits} == set(DIMENSIONS)


def policy_tables() -> list[dict[str, Any]]:
    texts = Home(ROOT).policy_files()
    return [tomllib.loads(text) for path, text in texts.items() if path.endswith(".toml") and "tests" not in path]


def test_a_new_home_begins_with_a_shorter_policy_that_loads_as_well(catalog: Catalog) -> None:
    key = PublicKey.parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDen5f6qBbxHEjBX/+6N0/Rv26oRoQSRut+AJSwvd01")
    text = starter_policy([NewPrincipal("claude", "bob")], [NewReviewer("alice", key)], bare=False)
    for shipped in (text, (PACKAGE / "starter" / "policy.toml").read_text(encoding="utf-8")):
        policy = read_policy({"policy.toml": shipped}, catalog.contracts)
        assert check_pins(catalog, policy.pins()) == []
        assert policy.warnings() == ()
        assert (policy.freezes, policy.guard, policy.queue, policy.cases) == ((), None, None, ())
