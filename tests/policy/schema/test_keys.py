"""The schemas know exactly the keys that the readers know, and hold them to be the same things.

Every key that the real readers ask for, while they read a policy that uses everything, is noted and compared.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator

from keyturn.canon import Json
from keyturn.model.errors import ConfigurationError
from keyturn.policy import read_policy
from keyturn.policy.conditions import OPERATORS, OPTION
from keyturn.policy.documents import _ALONE
from keyturn.policy.paths import _FIXED, PathError, read_path
from keyturn.policy.schema.documents import cases_schema, part_schema, policy_schema
from keyturn.policy.tables import Table
from keyturn.policy.where import _NESTED
from tests.policy.schema.everything import CASES, CONTRACTS, PART, POLICY, TOOLS, parsed, policy_files, toml

POLICY_SCHEMA, PART_SCHEMA, CASES_SCHEMA = policy_schema(CONTRACTS), part_schema(CONTRACTS), cases_schema(CONTRACTS)
NAMED = "principals|people|reviewers|environments|lanes|tools"
FREE = r".*\.(where|arguments|plan|effects|amounts)(\..*)?"


def place_of(place: str) -> str:
    """A dotted path without file, numbers and names: `lanes.NAME.approval`, `grants[].valid`."""
    inside = re.sub(r"\[\d+\]", "[]", re.sub(r"^[\w.]+/[\w.]+: ?", "", place))
    return re.sub(rf"^({NAMED})\.[^.]+", r"\1.NAME", inside)


class Watched(dict[str, object]):
    """A table's content that notes which keys are asked for."""

    asked: set[str]

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> object:
        self.asked.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)


@dataclass
class Notes:
    """What was asked for at each place: keys at all, keys listed as the only ones, and each key as which kind."""

    asked: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    listed: dict[str, set[str]] = field(default_factory=dict)
    kinds: defaultdict[tuple[str, str], list[tuple[str, Any]]] = field(default_factory=lambda: defaultdict(list))


@pytest.fixture(scope="module")
def notes() -> Iterator[Notes]:
    with pytest.MonkeyPatch.context() as patch:
        found = Notes()
        begin, only = Table.__init__, Table.only

        def watched(self: Table, raw: object, place: str, problems: Any) -> None:
            begin(self, raw, place, problems)
            inside = Watched(self.raw)
            inside.asked = found.asked[place_of(place)]
            self.raw = inside

        def listing(self: Table, *known: str) -> None:
            found.listed[place_of(self.place)] = set(known)
            only(self, *known)

        patch.setattr(Table, "__init__", watched)
        patch.setattr(Table, "only", listing)
        for kind in ("text", "texts", "integer", "choice", "duration", "table", "tables", "named", "names"):
            patch.setattr(Table, kind, noting(found, kind))
        read_policy(policy_files(), TOOLS)
        yield found


def noting(found: Notes, kind: str) -> Any:
    real = getattr(Table, kind)

    def note(self: Table, key: str, *known: str, **bounds: Any) -> Any:
        found.kinds[place_of(self.place), key].append((kind, known or bounds))
        return real(self, key, *known, **bounds)

    return note


def tables(schema: Mapping[str, Json], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every table of a schema that has keys of its own, by its place, with the schemas of its keys."""
    properties = schema.get("properties")
    if re.fullmatch(FREE, place):
        return
    if isinstance(properties, dict) and not re.fullmatch("tools", place):
        yield place, properties
    below: dict[str, Any] = dict(properties) if isinstance(properties, dict) else {}
    for name, inner in below.items():
        yield from tables(inner, place_of(f"{place}.{name}" if place else name))
    for inner in cast(dict[str, Any], schema.get("patternProperties", {})).values():
        yield from tables(inner, f"{place}.NAME")
    if isinstance(items := schema.get("items"), dict):
        yield from tables(items, f"{place}[]")


DECLARED = {**dict(tables(CASES_SCHEMA)), **dict(tables(POLICY_SCHEMA))}


def test_there_are_tables_to_compare() -> None:
    assert {
        "",
        "grants[].approval.escalate[]",
        "tools.NAME",
        "degrade.on_incident",
        "cases[].used[]",
    } <= DECLARED.keys()
    assert len(DECLARED) > 30


def test_the_schemas_have_a_table_wherever_the_readers_read_one(notes: Notes) -> None:
    read = {place for place in notes.asked if not re.fullmatch(FREE, place)} - {
        section for section in notes.asked if re.fullmatch(NAMED, section)
    }
    assert read == DECLARED.keys()
    assert notes.listed.keys() == DECLARED.keys()


@pytest.mark.parametrize("place", sorted(DECLARED))
def test_each_table_has_the_keys_that_its_reader_reads_and_no_others(notes: Notes, place: str) -> None:
    known = set(DECLARED[place])
    assert notes.listed[place] == known
    assert notes.asked[place] - {"cases"} == known


def test_a_file_of_cases_holds_nothing_but_cases() -> None:
    assert (set(cast(dict[str, Json], CASES_SCHEMA["properties"])), CASES_SCHEMA["additionalProperties"]) == (
        {"cases"},
        False,
    )


def test_an_included_file_has_all_sections_but_those_that_stand_alone() -> None:
    whole, part = (cast(dict[str, Json], schema["properties"]) for schema in (POLICY_SCHEMA, PART_SCHEMA))
    assert part == {name: shape for name, shape in whole.items() if name not in _ALONE}
    assert "required" not in PART_SCHEMA


TYPES = {
    "text": "string",
    "duration": "string",
    "choice": "string",
    "integer": "integer",
    "texts": "array",
    "names": "array",
    "tables": "array",
    "table": "object",
    "named": "object",
}


@pytest.mark.parametrize("place", sorted(DECLARED))
def test_each_key_is_what_its_reader_takes_it_for(notes: Notes, place: str) -> None:
    for key, schema in DECLARED[place].items():
        for kind, said in notes.kinds[place, key]:
            forms = [form for form in (schema, *schema.get("anyOf", ())) if form.get("type") == TYPES[kind]]
            assert forms, (place, key, kind)
            _same(forms[0], kind, said)


def _same(schema: dict[str, Any], kind: str, said: Any) -> None:
    match kind:
        case "integer":
            assert (schema["minimum"], schema["maximum"]) == (said["low"], said.get("high", 2**53 - 1))
        case "choice":
            assert set(schema["enum"]) == set(said)
            assert schema.get("default", said[0]) == said[0]
        case "duration":
            assert "pattern" in schema
        case "texts" | "names" if said.get("required") and "required" in said:
            assert schema["minItems"] == 1


def required_of(place: str) -> set[str]:
    """The keys that a schema demands at a place."""
    whole = [*_with_required(CASES_SCHEMA), *_with_required(POLICY_SCHEMA)]
    return next((set(required) for found, required in whole if found == place), set())


def _with_required(schema: Mapping[str, Json], place: str = "") -> Iterator[tuple[str, list[str]]]:
    if "required" in schema:
        yield place, cast(list[str], schema["required"])
    for name, inner in cast(dict[str, Any], schema.get("properties", {})).items():
        yield from _with_required(inner, place_of(f"{place}.{name}" if place else name))
    for inner in cast(dict[str, Any], schema.get("patternProperties", {})).values():
        yield from _with_required(inner, f"{place}.NAME")
    if isinstance(items := schema.get("items"), dict):
        yield from _with_required(items, f"{place}[]")


def used(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a text with the place of its table."""
    if isinstance(value, list):
        for item in value:
            yield from used(item, f"{place}[]")
    if not isinstance(value, dict) or re.fullmatch(FREE, place):
        return
    for key, inner in value.items():
        yield place, key
        yield from used(inner, place_of(f"{place}.{key}" if place else key))


def test_the_policy_of_this_test_uses_every_key_there_is() -> None:
    found = {pair for text in (POLICY, PART, CASES) for pair in used(parsed(text))}
    missing = {(place, key) for place, keys in DECLARED.items() for key in keys} - found
    assert missing == set()


def required_in(schema: Mapping[str, Json], place: str = "") -> Iterator[tuple[str, str]]:
    """Every key that a schema demands, with the place of its table."""
    holding = cast(dict[str, Any], schema.get("then", {}))
    yield from ((place, key) for part in (schema, holding) for key in cast(list[str], part.get("required", [])))
    for name, inner in cast(dict[str, Any], schema.get("properties", {})).items():
        yield from required_in(inner, place_of(f"{place}.{name}" if place else name))
    for inner in cast(dict[str, Any], schema.get("patternProperties", {})).values():
        yield from required_in(inner, f"{place}.NAME")
    if isinstance(items := schema.get("items"), dict):
        yield from required_in(items, f"{place}[]")


@pytest.mark.parametrize(
    ("name", "schema"),
    [("policy.toml", POLICY_SCHEMA), ("policy.d/part.toml", PART_SCHEMA), ("policy_tests/all.toml", CASES_SCHEMA)],
)
def test_a_schema_demands_the_keys_without_which_the_reader_refuses(name: str, schema: dict[str, Json]) -> None:
    whole = policy_files()
    missing = set()
    for place, key, text in without_one(tomllib.loads(whole[name])):
        try:
            read_policy({**whole, name: text}, TOOLS)
        except ConfigurationError as error:
            missing |= {(place, key) for line in error.problems if re.search(rf"[. ]?{key}: is missing", line)}
        else:
            assert Draft202012Validator(schema).is_valid(parsed(text)), (place, key)
    assert missing == {
        (place, key) for place, key in required_in(schema) if (place, key) in set(used(parsed(whole[name])))
    }


def without_one(whole: dict[str, Any], inside: Any = None, place: str = "") -> Iterator[tuple[str, str, str]]:
    """The text without one key of one table, for every key there is."""
    inside = whole if inside is None else inside
    if isinstance(inside, list):
        for item in inside:
            yield from without_one(whole, item, f"{place}[]")
    if not isinstance(inside, dict) or re.fullmatch(FREE, place):
        return
    for key in list(inside):
        kept = dict(inside)
        del inside[key]
        yield place, key, toml(whole)
        inside.clear()
        inside.update(kept)
        yield from without_one(whole, inside[key], place_of(f"{place}.{key}" if place else key))


# --- conditions -----------------------------------------------------------------------------------------------

WHERE = cast(dict[str, Any], DECLARED["grants[]"]["where"])


def test_conditions_may_ask_for_every_path_there_is_and_only_for_such() -> None:
    assert WHERE["properties"].keys() >= {*_FIXED, "time.zone", *_NESTED}
    asked = WHERE["properties"].keys() - {*_NESTED, "time.zone"}
    assert all(_readable(path) for path in asked)


@pytest.mark.parametrize("root", sorted(set(_NESTED) - {"arguments", "plan"}))
def test_nested_conditions_are_the_flat_ones(root: str) -> None:
    flat = {path.removeprefix(f"{root}.") for path in WHERE["properties"] if path.startswith(f"{root}.")}
    assert set(WHERE["properties"][root]["properties"]) == flat
    assert WHERE["properties"][root]["additionalProperties"] is False


def _readable(path: str) -> bool:
    for contract in CONTRACTS:
        try:
            read_path(path, contract, ("production",), tuple(TOOLS), UTC)
        except PathError:
            continue
        return True
    return False


def test_every_test_has_every_operator_and_no_other() -> None:
    definitions = cast(dict[str, Any], POLICY_SCHEMA["$defs"])
    assert {"test", "weekday", "hour", "date"} <= definitions.keys()
    for name, definition in definitions.items():
        table = definition["anyOf"][-1]
        assert set(table["properties"]) == {*OPERATORS, OPTION}, name
        assert table["additionalProperties"] is False
