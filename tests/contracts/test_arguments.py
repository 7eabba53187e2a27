"""Arguments of one call: what is refused, and how it is told."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.contracts import RefusedArguments, parse_arguments, read_catalog
from keyturn.model.decision import Reason
from keyturn.tools.arguments import models
from keyturn.tools.arguments.files import FileContent
from keyturn.tools.arguments.open_pull_request import Arguments as OpenPullRequest
from keyturn.tools.arguments.update_ticket import Arguments as UpdateTicket
from tests.contracts.files import FOLDER, TOOLS, accepts, document

CONTRACTS = read_catalog(FOLDER).contracts
PULL = {"repository": "shop", "base": "main", "title": "Say hello", "files": [{"path": "a", "content": "x"}]}


def parse(tool: str, raw: object) -> Any:
    return parse_arguments(CONTRACTS[tool], models()[tool], raw)


def refusal(tool: str, raw: object) -> list[tuple[str, str]]:
    refused = parse(tool, raw)
    assert isinstance(refused, RefusedArguments)
    return [(reason.code, reason.text) for reason in refused.reasons]


def test_left_out_arguments_take_their_defaults() -> None:
    arguments = parse("open_pull_request", PULL)
    assert isinstance(arguments, OpenPullRequest)
    assert (arguments.draft, arguments.body, arguments.reason, arguments.repeat) == (True, "", "", False)
    assert arguments.plain() == {**PULL, "draft": True, "body": "", "reason": "", "repeat": False}


def test_a_file_knows_its_bytes() -> None:
    text = FileContent(path="a", content="é")
    packed = FileContent(path="a", content="AP8=", encoding="base64")
    assert (text.data(), packed.data()) == ("é".encode(), b"\x00\xff")


@pytest.mark.parametrize("content", ["AP8", "AP8=\n", "A P8=", "é", "A-_="])
def test_base64_that_does_not_decode_is_refused(content: str) -> None:
    raw = {**PULL, "files": [{"path": "a", "content": content, "encoding": "base64"}]}
    assert refusal("open_pull_request", raw) == [
        ("argument_invalid", "files[0]: content is not padded standard base64")
    ]


def test_problems_name_their_place_and_what_is_expected_all_at_once() -> None:
    raw = {
        "repository": "shop\n",
        "base": 5,
        "titel": "x",
        "draft": 1,
        "body": None,
        "files": [{"path": "a", "edits": [{"old": "", "new": "y"}], "content": "z"}, {"path": "b"}, 7],
    }
    assert sorted(refusal("open_pull_request", raw)) == sorted(
        [
            (
                "argument_invalid",
                "repository: must match ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$ from the first to the last character",
            ),
            ("argument_invalid", "base: Input should be a valid string"),
            ("argument_missing", "title: is missing; open_pull_request needs it"),
            ("argument_invalid", "body: Input should be a valid string"),
            ("argument_invalid", "files[0].edits[0].old: String should have at least 1 character"),
            ("argument_unknown", "files[0].content: is not known here"),
            ("argument_invalid", "files[1]: a file has a path and one of content, edits and delete"),
            ("argument_invalid", "files[2]: a file has a path and one of content, edits and delete"),
            ("argument_invalid", "draft: Input should be a valid boolean"),
            ("argument_unknown", 'titel: open_pull_request has no such argument (did you mean "title"?)'),
        ]
    )


def test_null_is_not_a_way_to_leave_an_argument_out() -> None:
    assert refusal("rollback_deployment", {"deployment": "web", "to": "previous", "environment": None}) == [
        ("argument_invalid", "environment: null says nothing here; leave the argument out")
    ]


def test_an_update_of_a_ticket_says_something() -> None:
    assert refusal("update_ticket", {"ticket": "OPS-1"}) == [
        ("argument_invalid", "arguments: give status, comment or both")
    ]
    assert isinstance(parse("update_ticket", {"ticket": "OPS-1", "status": "done"}), UpdateTicket)


def test_unknown_arguments_are_told_what_there_is() -> None:
    assert refusal("get_ticket", {"ticket": "OPS-1", "zzz": 1}) == [
        ("argument_unknown", "zzz: get_ticket has no such argument; it takes ticket, tracker")
    ]
    assert refusal("get_permissions", {"zzz": 1}) == [
        ("argument_unknown", "zzz: get_permissions has no such argument; it takes none")
    ]


def test_neither_long_values_nor_long_or_hostile_names_come_back() -> None:
    told = refusal("get_ticket", {"ticket": "s3cret" * 40, "\x1b[2J" + "n" * 100: 1})
    text = " ".join(text for _, text in told)
    assert "s3cret" not in text
    assert "n" * 41 not in text
    assert "\x1b" not in text
    assert "\\u{1b}[2J" in text


def test_a_name_in_brackets_cannot_hide_as_the_tag_of_a_shape() -> None:
    ((code, text),) = refusal("get_ticket", {"ticket": "OPS-1", "(content)": 1})
    assert (code, text) == (
        "argument_unknown",
        "(content): get_ticket has no such argument; it takes ticket, tracker",
    )


def test_at_most_twenty_problems_are_told_and_the_rest_counted() -> None:
    told = refusal("open_pull_request", {**PULL, "files": [{"path": "/", "content": ""}] * 25})
    assert len(told) == 21
    assert told[-1] == ("argument_invalid", "and 5 more problems")


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (None, "arguments: must be an object"),
        ([], "arguments: must be an object"),
        ({"ticket": 1.0}, "ticket: float is not part of the profile"),
        ({"ticket": 2**53}, "ticket: integer outside"),
        ({"ticket": "\ud800"}, "ticket: lone surrogate at character 0"),
        ({"ticket": "a\0"}, "ticket: holds a NUL character"),
        ({"a\0": 1}, "(name): holds a NUL character"),
        ({"ticket": [{"x": ("", "\0")}]}, "ticket[0].x[1]: holds a NUL character"),
        ({"é" * 300: 1}, "key '\\u{e9}"),
        ({5: 1}, "key 5 is not an ASCII string"),
        ({"ticket": b""}, "ticket: bytes is not part of the profile"),
    ],
)
def test_what_is_not_plain_json_is_refused_before_anything_else(raw: object, problem: str) -> None:
    ((code, text),) = refusal("get_ticket", raw)
    assert code == "arguments_malformed"
    assert text.startswith(problem)
    assert len(text) < 2000


def test_nesting_is_bounded() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    told = refusal("get_ticket", {"ticket": deep})
    assert told == [("arguments_malformed", f"ticket{'[0]' * 15}: nested deeper than 16 levels")]
    while isinstance(deep, list):  # taken apart by hand: freeing it in one go would recurse
        deep = deep.pop()


def test_the_size_of_all_arguments_is_bounded() -> None:
    big = {**PULL, "files": [{"path": f"f{i}", "content": "x" * 1_048_000} for i in range(9)]}
    assert refusal("open_pull_request", big)[0][0] == "arguments_too_large"
    fits = {**PULL, "files": [{"path": f"f{i}", "content": "x" * 1_048_000} for i in range(7)]}
    assert isinstance(parse("open_pull_request", fits), OpenPullRequest)


def test_a_refusal_is_a_value_with_reasons() -> None:
    refused = parse("get_ticket", {})
    assert refused == RefusedArguments((Reason("argument_missing", "ticket: is missing; get_ticket needs it"),))


TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "\n", "-", "..", "a/../b", "/a", "a\n", "A-1", "base64", "pending", "previous", "\u202e"]
    ),
    st.builds(lambda size: "x" * size, st.sampled_from([64, 65, 100, 101, 200, 201, 400, 401, 2000, 2001, 10_001])),
    st.builds(lambda size: "y" * size, st.sampled_from([20_000, 20_001, 100_000, 100_001])),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 105), st.just(1.0), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["path", "content", "edits", "delete", "old", "new", "zz"]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["reason", "repeat", "status", "environment", "delete", "content", "encoding", "executable", "zz"]
)


def containers(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [part for item in inner for part in containers(item)]
    return [value, *found] if isinstance(value, dict | list) else found


def mutate(draw: st.DrawFn, raw: Any) -> None:
    place = draw(st.sampled_from(containers(raw)))
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    action = draw(st.sampled_from(["replace", "drop", "rename", "add", "lengthen", "repeat"]))
    if action == "add" or not keys:
        if isinstance(place, dict):
            place[draw(NAMES)] = draw(VALUES)
        else:
            place.append(draw(VALUES))
        return
    key = draw(st.sampled_from(keys))
    if action == "replace":
        place[key] = draw(VALUES)
    elif action == "drop":
        del place[key]
    elif action == "rename" and isinstance(place, dict):
        place[draw(NAMES)] = place.pop(key)
    elif action == "lengthen" and isinstance(place[key], str):
        place[key] += draw(TEXTS)
    elif action == "repeat" and isinstance(place[key], list):
        place[key] = place[key] * draw(st.sampled_from([0, 2, 101, 201]))


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, Any]:
    tool = draw(st.sampled_from(TOOLS))
    raw = copy.deepcopy(draw(st.sampled_from(document(tool)["examples"])))
    for _ in range(draw(st.integers(1, 2))):
        mutate(draw, raw)
    return tool, raw


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_the_model_never_accepts_what_the_file_refuses(case: tuple[str, Any]) -> None:
    tool, raw = case
    if not isinstance(parse(tool, raw), RefusedArguments):
        assert accepts(CONTRACTS[tool].input, raw)


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_the_model_refuses_more_than_the_file_only_where_a_schema_has_no_words(case: tuple[str, Any]) -> None:
    tool, raw = case
    outcome = parse(tool, raw)
    if accepts(CONTRACTS[tool].input, raw) and isinstance(outcome, RefusedArguments):
        for reason in outcome.reasons:
            assert reason.code == "arguments_malformed" or "base64" in reason.text
