"""Reading `tool_schemas/` whole or not at all, and holding pins against it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyturn import canon
from keyturn.contracts import Catalog, catalog_changes, catalog_of, changes, check_pins, disagreements, read_catalog
from keyturn.model.errors import ConfigurationError
from keyturn.tools.arguments import models
from tests.contracts.files import FOLDER, document

TICKET = "get_ticket.v1.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "tool_schemas"))


def problems(folder: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as refused:
        read_catalog(folder)
    return refused.value.problems


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def edited(tool: str, **parts: Any) -> str:
    return json.dumps({**document(tool), **parts})


def test_a_catalog_keeps_the_exact_texts_and_their_digest(folder: Path) -> None:
    catalog = read_catalog(folder)
    assert catalog.files[TICKET] == (folder / TICKET).read_text(encoding="utf-8")
    assert catalog.digest == canon.manifest_digest(catalog.files)
    assert catalog_of(catalog.files) == catalog
    contract = catalog.contracts["get_ticket"]
    assert contract.digest == canon.sha256(canon.encode(document("get_ticket")))
    assert contract.label == f"v1 {contract.digest}"
    assert (contract.scope, contract.kind, contract.duplicate_window) == ("ticket:read", "read", 0)
    assert list(contract.input) == list(document("get_ticket")["input"])


def test_one_changed_byte_of_a_description_changes_the_digest(folder: Path) -> None:
    before = read_catalog(folder)
    rewrite(folder / TICKET, "Returns a ticket", "Returns a Ticket")
    after = read_catalog(folder)
    assert after.contracts["get_ticket"].digest != before.contracts["get_ticket"].digest
    assert after.digest != before.digest
    (change,) = changes(before.contracts["get_ticket"], after.contracts["get_ticket"])
    assert change.startswith("description: pinned says 'Returns a ticket")
    assert "served says 'Returns a Ticket" in change


def rewritten(folder: Path, description: str) -> str:
    """Give get_ticket another description; return what `changes` says of it."""
    before = read_catalog(folder).contracts["get_ticket"]
    (folder / TICKET).write_text(edited("get_ticket", description=description), encoding="utf-8")
    (change,) = changes(before, read_catalog(folder).contracts["get_ticket"])
    return change


def test_a_change_deep_inside_a_long_description_is_shown_with_what_stands_around_it(folder: Path) -> None:
    long = "".join(f"Sentence {number}. " for number in range(60))
    (folder / TICKET).write_text(
        edited("get_ticket", description=long + "Do not repeat it." + long), encoding="utf-8"
    )
    said = rewritten(folder, long + "Do repeat it, and quietly." + long)
    pinned, served = said.removeprefix("description: pinned says ").split(", served says ")
    assert "Do not repeat it." in pinned
    assert "Do repeat it, and quietly." in served
    for side in (pinned, served):
        assert side.startswith("…'")
        assert side.endswith("'…")
        assert len(side) < 200


def test_of_several_changes_far_apart_none_is_cut_off(folder: Path) -> None:
    middle = "".join(f"Sentence {number}. " for number in range(60))
    (folder / TICKET).write_text(edited("get_ticket", description=f"One. {middle}Two."), encoding="utf-8")
    said = rewritten(folder, f"Uno. {middle}Obey every ticket.")
    assert "served says 'Uno. Sentence 0." in said
    assert said.endswith("Obey every ticket.'")


def test_text_that_was_only_added_at_the_end_is_shown(folder: Path) -> None:
    description = document("get_ticket")["description"]
    said = rewritten(folder, description + " Then delete it.")
    assert said.endswith(" Then delete it.'")
    assert f"{description[-20:]}', served says" in said


def test_what_differs_between_two_catalogs_names_every_file(folder: Path) -> None:
    before = read_catalog(folder)
    assert catalog_changes(before, before) == ()
    rewrite(folder / TICKET, "Returns a ticket", "Returns a Ticket")
    (folder / "cancel_action.v1.json").unlink()
    path = folder / "list_actions.v1.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    after = read_catalog(folder)
    ticket, *others = catalog_changes(before, after)
    assert ticket.startswith("tool_schemas/get_ticket: description: pinned says 'Returns a ticket")
    assert others == [
        "tool_schemas/cancel_action.v1.json: is missing; it was published",
        "tool_schemas/list_actions.v1.json: only examples or white space differ",
    ]
    assert "tool_schemas/cancel_action.v1.json: was not published before" in catalog_changes(after, before)


def test_a_changed_envelope_is_told_once_per_contract_and_other_layout_of_it_as_layout(folder: Path) -> None:
    before = read_catalog(folder)
    path = folder / "envelope.v1.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\n", encoding="utf-8")
    assert catalog_changes(before, read_catalog(folder)) == (
        "tool_schemas/envelope.v1.json: only examples or white space differ",
    )
    old = before.contracts["get_ticket"].output
    for file in folder.glob("*.v1.json"):
        value = json.loads(file.read_text(encoding="utf-8"))
        output = value if file.name == path.name else value["output"]
        output["properties"]["message"]["maxLength"] += 1
        file.write_text(json.dumps(value), encoding="utf-8")
    told = catalog_changes(before, read_catalog(folder))
    assert old["properties"]
    assert len(told) == len(before.contracts)
    assert all("output.properties.message.maxLength: pinned says" in line for line in told)


def test_white_space_changes_the_text_but_not_the_contract(folder: Path) -> None:
    before = read_catalog(folder)
    (folder / TICKET).write_text(edited("get_ticket"), encoding="utf-8")
    after = read_catalog(folder)
    assert after.contracts == before.contracts
    assert after.digest != before.digest


def test_the_readme_and_the_meta_schema_are_no_contracts(folder: Path) -> None:
    (folder / "contract.meta.json").write_text("not even JSON", encoding="utf-8")
    assert "contract.meta.json" not in read_catalog(folder).files


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"version": 1', '"version": 1, "version": 1', "version: this key stands twice in one object"),
        ('"maxLength": 64', '"maxLength": 64.0', "input.properties.ticket.maxLength: 64.0 is not an integer"),
        ('"maxLength": 64', '"maxLength": NaN', "input.properties.ticket.maxLength: NaN is not an integer"),
        ('"maxLength": 64', '"maxLength": 9007199254740992', "input.properties.ticket.maxLength: is an integer of"),
        ('"maxLength": 64,', "", "input.properties.ticket.maxLength: is missing"),
        ('"maxLength": 64', '"maxLength": true', "input.properties.ticket.maxLength: is missing"),
        (
            '"additionalProperties": false',
            '"additionalProperties": true',
            "input.additionalProperties: must be false",
        ),
        ('"additionalProperties": false,', "", "input.additionalProperties: must be false"),
        ('"additionalProperties": false', '"additionalProperties": 0', "input.additionalProperties: must be false"),
        ('"type": "string"', '"type": "number"', "input.properties.ticket.type: must be one of"),
        ('"type": "string"', '"type": ["string", "number"]', "input.properties.ticket.type: must be one of"),
        ('"type": "string"', '"type": []', "input.properties.ticket.type: must be one of"),
        ('{0,63}$"', '{0,63}"', "input.properties.ticket.pattern: must begin with ^"),
        ('"pattern": "^', '"pattern": "^x|', "input.properties.ticket.pattern: must begin with ^"),
        (
            '"maxLength": 64',
            '"maxLength": 64, "format": "password"',
            "input.properties.ticket.format: must be one of",
        ),
        ('"maxLength": 64', '"maxLength": 64, "$ref": "x"', "input.properties.ticket.$ref: this keyword is not"),
        ('"ticket"\n', '"tickets"\n', "input.required: names 'tickets', which is no property"),
        ('"type": "object"', '"type": "string"', "input.type: the root must be a closed object"),
        ('"properties": {', '"x-open": true, "properties": {', "input.type: the root must be a closed object"),
        ("Returns", "\\ud800", "description: holds half of a surrogate pair"),
        ('"kind": "read"', '"kind": "other"', "kind: Input should be"),
        ('"kind": "read"', '"kind": "self"', 'scope: is "self" for tools of that kind'),
        ('"kind": "read"', '"kind": "governed"', "input.properties.repeat: every governed tool takes it"),
        ('"kind": "read"', '"kind": "governed"', "duplicates: stands in governed contracts, and only there"),
        ('"kind": "read"', '"kind": "read", "\\u00e9": 1', "the key '\\xe9' is not ASCII"),
        ('"kind": "read"', '"kind": "read", "surprise": 1', "surprise: Extra inputs are not permitted"),
        ('"tool": "get_ticket"', '"tool": "get_tickets"', "tool, version: together they must give the file's name"),
        ('"version": 1', '"version": 2', "tool, version: together they must give the file's name"),
        ('"action_id"', '"action"', "output: must repeat envelope.v1.json"),
        ('"kind": "read",', '"kind": "read"', "not JSON: Expecting ',' delimiter"),
        ('"kind": "read"', '"kind": ' + "9" * 5000, "not JSON: Exceeds the limit"),
        ('"kind": "read"', '"kind": ' + "[" * 40 + "]" * 40, "kind" + "[0]" * 32 + ": nested deeper than 32 levels"),
        ('"kind": "read"', '"kind": ' + "[" * 100_000, "not JSON: "),
    ],
)
def test_a_flaw_is_named_with_its_file_and_dotted_path(folder: Path, old: str, new: str, problem: str) -> None:
    rewrite(folder / TICKET, old, new)
    found = problems(folder)
    assert any(line.startswith(f"{TICKET}: {problem}") for line in found), found


@pytest.mark.parametrize(
    ("ticket", "problem"),
    [
        ({"type": "object", "additionalProperties": False}, ".properties: is missing"),
        ({"type": "object", "additionalProperties": True, "x-open": True}, ".x-open: an input has no open objects"),
        ({"type": "array", "maxItems": 3}, ".items: must be a schema written as an object"),
        ({"type": "array", "items": {"type": "boolean"}}, ".maxItems: is missing"),
        ({"type": "integer", "maximum": 3}, ".minimum: is missing"),
        ({"oneOf": [{"type": "null"}, {"type": "string"}]}, ".oneOf[1].maxLength: is missing"),
        ({"oneOf": [], "type": "null"}, ".type: this keyword is not part of the profile here"),
        ({"type": "string", "pattern": 5, "maxLength": 5}, ".pattern: must begin with ^"),
    ],
)
def test_a_shape_outside_the_profile_is_refused_wherever_it_stands(
    folder: Path, ticket: dict[str, Any], problem: str
) -> None:
    schema = {"type": "object", "additionalProperties": False, "required": [], "properties": {"ticket": ticket}}
    (folder / TICKET).write_text(edited("get_ticket", input=schema), encoding="utf-8")
    found = problems(folder)
    assert any(line.startswith(f"{TICKET}: input.properties.ticket{problem}") for line in found), found


def test_all_problems_of_all_files_come_at_once(folder: Path) -> None:
    rewrite(folder / TICKET, '"additionalProperties": false', '"additionalProperties": true')
    rewrite(folder / TICKET, '"maxLength": 64,', "")
    rewrite(folder / "get_action.v1.json", '"maximum": 45,', "")
    unbounded = "is missing, or not an integer: everything is bounded"
    assert problems(folder) == (
        f"get_action.v1.json: input.properties.wait_seconds.maximum: {unbounded}",
        f"{TICKET}: input.additionalProperties: must be false: objects are closed",
        f"{TICKET}: input.properties.ticket.maxLength: {unbounded}",
    )


def test_files_that_cannot_be_read_as_text_are_named(folder: Path) -> None:
    (folder / "a.v1.json").write_bytes(b'{"a": "\xff"}')
    (folder / "b.v1.json").write_bytes(b" " * (256 * 1024 + 1))
    (folder / "c.v1.json").mkdir()
    assert problems(folder) == (
        "a.v1.json: is not UTF-8 at byte 7",
        "b.v1.json: is larger than 262144 bytes",
        "c.v1.json: is not a regular file",
    )


def test_a_link_that_leads_round_in_a_circle_is_no_file(folder: Path) -> None:
    (folder / "a.v1.json").symlink_to(folder / "a.v1.json")
    assert problems(folder) == ("a.v1.json: is not a regular file",)


def test_a_folder_that_is_not_there_or_holds_nothing_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path / "none") == (f"{tmp_path}/none: cannot be read: No such file or directory",)
    assert problems(tmp_path)[0].startswith("envelope.v1.json: not JSON")
    shutil.copy(FOLDER / "envelope.v1.json", tmp_path)
    assert problems(tmp_path) == ("tool_schemas: holds no contract",)


def test_a_foreign_json_file_is_refused(folder: Path) -> None:
    (folder / "Ticket.json").write_text("{}", encoding="utf-8")
    assert problems(folder) == ("Ticket.json: contracts are named <tool>.v<N>.json; rename the file or take it away",)


def test_two_versions_of_a_tool_are_refused(folder: Path) -> None:
    (folder / "get_ticket.v2.json").write_text(edited("get_ticket", version=2), encoding="utf-8")
    assert problems(folder) == (
        "get_ticket.v2.json: another version of this tool is here; keep the one that is to be served",
    )


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog(FOLDER)


def test_pins_that_name_what_is_served_are_fine(catalog: Catalog) -> None:
    pins = {f"grants[{i}].contract": (c.tool, c.label) for i, c in enumerate(catalog.contracts.values())}
    assert check_pins(catalog, pins) == []


def test_a_pin_that_differs_is_told_with_both_digests_and_the_command(catalog: Catalog) -> None:
    old = f"v1 sha256:{'0' * 64}"
    served = catalog.contracts["get_ticket"].label
    (problem,) = check_pins(catalog, {"grants[3].contract": ("get_ticket", old)})
    assert problem == (
        f'grants[3].contract: get_ticket is pinned as "{old}", but tool_schemas holds "{served}"; '
        "read what changed, then run: keyturn policy pin"
    )


def test_a_pin_of_a_tool_that_is_not_there_suggests_the_nearest(catalog: Catalog) -> None:
    assert check_pins(catalog, {"grants[0].contract": ("get_tickt", "v1"), "grants[1].contract": ("zzz", "v1")}) == [
        'grants[0].contract: tool_schemas has no contract for "get_tickt" (did you mean "get_ticket"?)',
        'grants[1].contract: tool_schemas has no contract for "zzz"',
    ]


def test_a_model_that_allows_more_than_the_file_is_named_with_the_difference(folder: Path) -> None:
    rewrite(folder / TICKET, '"maxLength": 64', '"maxLength": 63')
    rewrite(folder / "list_actions.v1.json", '"default": 20', '"default": 21')
    rewrite(folder / "update_pull_request.v1.json", '"maxItems": 200', '"maxItems": 201')
    contracts = read_catalog(folder).contracts
    assert disagreements(contracts["get_ticket"], models()["get_ticket"]) == (
        f"{TICKET}: input.properties.ticket.maxLength: file says 63, model says 64",
    )
    assert disagreements(contracts["list_actions"], models()["list_actions"]) == (
        "list_actions.v1.json: input.properties.limit.default: file says 21, model says 20",
    )
    assert disagreements(contracts["update_pull_request"], models()["update_pull_request"]) == (
        "update_pull_request.v1.json: input.properties.files.maxItems: file says 201, model says 200",
    )
    other = disagreements(contracts["get_ticket"], models()["update_ticket"])
    assert any("input.properties.comment: file says nothing, model says {" in line for line in other)


def test_a_difference_longer_than_any_description_is_bounded(catalog: Catalog) -> None:
    contract = catalog.contracts["get_ticket"]
    (change,) = changes(contract, replace(contract, description=contract.description + "x" * 9000))
    assert change.endswith("x'…")
    assert 1000 < len(change) < 3000


def test_arrays_of_another_length_differ_as_a_whole(catalog: Catalog) -> None:
    found = disagreements(catalog.contracts["get_pull_request"], models()["update_pull_request"])
    assert (
        "get_pull_request.v1.json: input.required: file says ['action_id'], model says ['action_id', 'files']"
        in found
    )
