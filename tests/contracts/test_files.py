"""The files of `tool_schemas/`: what every contract of this repository promises."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from keyturn.contracts import RefusedArguments, catalog_of, disagreements, parse_arguments, read_catalog
from keyturn.model.errors import ConfigurationError
from keyturn.tools.arguments import models
from tests.contracts.files import FOLDER, TOOLS, accepts, document, load

META = load("contract.meta.json")
CATALOG = read_catalog(FOLDER)
GOVERNED = {
    "open_pull_request",
    "update_pull_request",
    "merge_pull_request",
    "revert_pull_request",
    "close_pull_request",
    "rollback_deployment",
    "create_ticket",
    "update_ticket",
}
READ = {"get_deployment", "get_ticket", "get_pull_request"}
SELF = {"get_permissions", "get_action", "list_actions", "cancel_action", "undo_action"}


def test_the_tools_are_those_that_are_promised_and_each_has_a_model() -> None:
    assert set(TOOLS) == GOVERNED | READ | SELF
    assert set(CATALOG.contracts) == set(models()) == set(TOOLS)
    kinds = {tool: contract.kind for tool, contract in CATALOG.contracts.items()}
    assert kinds == dict.fromkeys(GOVERNED, "governed") | dict.fromkeys(READ, "read") | dict.fromkeys(SELF, "self")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_contract_obeys_the_meta_schema(tool: str) -> None:
    Draft202012Validator.check_schema(META)
    problems = [
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(META).iter_errors(document(tool))
    ]
    assert problems == []


@pytest.mark.parametrize("tool", TOOLS)
def test_both_schemas_of_a_contract_are_json_schema(tool: str) -> None:
    Draft202012Validator.check_schema(document(tool)["input"])
    Draft202012Validator.check_schema(document(tool)["output"])


@pytest.mark.parametrize("tool", TOOLS)
def test_examples_are_accepted_by_the_file_and_by_the_model(tool: str) -> None:
    contract, model = CATALOG.contracts[tool], models()[tool]
    for example in document(tool)["examples"]:
        assert accepts(contract.input, example)
        arguments = parse_arguments(contract, model, example)
        assert isinstance(arguments, model)
        assert {name: arguments.plain()[name] for name in example} == example
        assert parse_arguments(contract, model, arguments.plain()) == arguments


@pytest.mark.parametrize("tool", TOOLS)
def test_counterexamples_are_refused_by_the_file_and_by_the_model(tool: str) -> None:
    contract = CATALOG.contracts[tool]
    for case in document(tool)["counterexamples"]:
        assert not accepts(contract.input, case["arguments"]), case["why"]
        refused = parse_arguments(contract, models()[tool], case["arguments"])
        assert isinstance(refused, RefusedArguments), case["why"]
        assert refused.reasons


@pytest.mark.parametrize("tool", TOOLS)
def test_the_model_and_the_file_say_the_same(tool: str) -> None:
    assert disagreements(CATALOG.contracts[tool], models()[tool]) == ()


@pytest.mark.parametrize("tool", TOOLS)
def test_every_output_is_the_one_envelope(tool: str) -> None:
    assert document(tool)["output"] == load("envelope.v1.json")


def test_every_field_of_the_envelope_is_there_and_may_be_null() -> None:
    envelope = load("envelope.v1.json")
    nothing = dict.fromkeys(envelope["properties"])
    assert set(envelope["required"]) == set(nothing)
    assert accepts(envelope, nothing)
    assert not accepts(envelope, {**nothing, "extra": 1})
    assert not accepts(envelope, {**nothing, "status": "done"})
    full: dict[str, Any] = {
        **nothing,
        "status": "pending",
        "terminal": False,
        "reasons": [{"code": "hold", "rule": None, "text": "one review"}],
        "reviews": {"have": 0, "need": 1, "from": ["group:sre"]},
        "result": {"anything": [1]},
    }
    assert accepts(envelope, full)


@pytest.mark.parametrize("tool", TOOLS)
def test_no_input_has_a_composition_at_its_root_for_hosts_refuse_such_tools(tool: str) -> None:
    assert document(tool)["input"].keys().isdisjoint({"oneOf", "anyOf", "allOf", "not", "if", "$ref"})


@pytest.mark.parametrize("tool", sorted(GOVERNED))
def test_governed_tools_tell_the_model_how_to_wait_and_never_to_retry_the_unknown(tool: str) -> None:
    contract = CATALOG.contracts[tool]
    assert "get_action with wait_seconds" in contract.description
    assert "do not repeat this call" in contract.description
    assert "do not retry" in contract.description
    assert contract.annotations["readOnlyHint"] is False
    assert contract.duplicate_window == 600


@pytest.mark.parametrize("tool", sorted(READ | SELF - {"cancel_action", "undo_action"}))
def test_tools_that_read_say_so_and_take_no_duplicates(tool: str) -> None:
    contract = CATALOG.contracts[tool]
    assert contract.annotations["readOnlyHint"] is True
    assert contract.annotations["destructiveHint"] is False
    assert contract.duplicate_window == 0


OPEN = {"type": "object"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("input", "additionalProperties"), True),
        (("input", "properties", "ticket"), {"type": "string"}),
        (("input", "properties", "ticket"), {"type": "string", "maxLength": 9, "pattern": "^a|b$"}),
        (("input", "properties", "ticket"), {"type": "string", "maxLength": 9, "pattern": "a$"}),
        (("input", "properties", "ticket"), {"type": "string", "maxLength": 9, "pattern": "^a\\$"}),
        (("input", "properties", "ticket"), {"type": "string", "maxLength": 9, "format": "password"}),
        (("input", "properties", "ticket"), {"type": "number", "minimum": 0, "maximum": 1}),
        (("input", "properties", "ticket"), {"type": "integer", "minimum": 0}),
        (("input", "properties", "ticket"), {"type": "array", "items": {"type": "boolean"}}),
        (("input", "properties", "ticket"), {"type": "object", "additionalProperties": True, "x-open": True}),
        (("input", "properties", "ticket"), {"$ref": "#/$defs/name"}),
        (("input", "oneOf"), [OPEN, OPEN]),
        (("input", "properties", "reason"), None),
        (("kind",), "magic"),
        (("duplicates",), None),
        (("annotations", "readOnlyHint"), None),
        (("examples",), []),
        (("surprise",), 1),
    ],
)
def test_the_meta_schema_and_the_reader_both_refuse_what_leaves_the_profile(
    path: tuple[str, ...], value: Any
) -> None:
    changed = copy.deepcopy(document("update_ticket"))
    *way, last = path
    place = changed
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    assert not Draft202012Validator(META).is_valid(changed)
    assert reader_problems("update_ticket.v1.json", changed)


def reader_problems(name: str, changed: Any) -> tuple[str, ...]:
    texts = {name: json.dumps(changed), "envelope.v1.json": CATALOG.files["envelope.v1.json"]}
    with pytest.raises(ConfigurationError) as refused:
        catalog_of(texts)
    return refused.value.problems
