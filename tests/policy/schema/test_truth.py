"""Schemas and readers agree: a schema accepts what a reader accepts, and both refuse what is plainly wrong."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from keyturn.canon import Json
from keyturn.model.errors import ConfigurationError
from keyturn.policy import pin, read_policy
from keyturn.policy.limits import NAMED_WINDOWS, SINGULAR, UNITS, LimitError, read_limit
from keyturn.policy.schema.documents import cases_schema, part_schema, policy_schema
from keyturn.policy.schema.rules import LIMITS
from keyturn.policy.usage import DIMENSIONS
from tests.policy.schema.everything import (
    CASES,
    CONTRACTS,
    PART,
    POLICY,
    TOOLS,
    Step,
    parsed,
    parts,
    places,
    policy_files,
    seen,
    toml,
)

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/policy.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
PAGE_CASES = [block for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) if "[[cases]]" in block]
SCHEMAS = {
    "policy.toml": policy_schema(CONTRACTS),
    "policy.d/part.toml": part_schema(CONTRACTS),
    "policy_tests/all.toml": cases_schema(CONTRACTS),
}
TEXTS = {"policy.toml": POLICY, "policy.d/part.toml": PART, "policy_tests/all.toml": CASES}
# Editors' tools know draft 7 and take a later one for it: both have to see the same.
VALIDATORS = {name: (Draft202012Validator(schema), Draft7Validator(schema)) for name, schema in SCHEMAS.items()}


def refused(name: str, value: Json) -> list[str]:
    """Where the schema of a file refuses it."""
    late, early = ([error.json_path for error in one.iter_errors(value)] for one in VALIDATORS[name])
    assert sorted(late) == sorted(early)
    return late


def problems(name: str, text: str) -> tuple[str, ...]:
    """What the reader says of the policy in which one file is this text."""
    try:
        read_policy({**policy_files(), name: text}, TOOLS)
    except ConfigurationError as error:
        return error.problems
    return ()


# --- what is right --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXTS)
def test_a_policy_that_uses_everything_is_accepted(name: str) -> None:
    assert problems(name, TEXTS[name]) == ()
    assert refused(name, parsed(TEXTS[name])) == []


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_example_of_the_page_is_accepted(number: int) -> None:
    text = BLOCKS[0] + (BLOCKS[number] if number else "")
    assert refused("policy.toml", parsed(pin(text, TOOLS))) == []


def test_the_cases_of_the_page_are_accepted() -> None:
    assert PAGE_CASES
    assert [refused("policy_tests/all.toml", parsed(text)) for text in PAGE_CASES] == [[] for _ in PAGE_CASES]


def repository_files() -> Iterator[tuple[str, Path]]:
    """The repository's own policy: each file with the one whose schema it takes."""
    whole = tomllib.loads((ROOT / "policy.toml").read_text(encoding="utf-8"))
    yield "policy.toml", ROOT / "policy.toml"
    for folder in whole.get("includes", []):
        yield from (("policy.d/part.toml", path) for path in sorted((ROOT / folder).glob("*.toml")))
    if "tests" in whole:
        yield from (("policy_tests/all.toml", path) for path in sorted((ROOT / whole["tests"]).glob("*.toml")))


def test_the_policy_of_the_repository_is_accepted() -> None:
    found = {str(path): refused(name, parsed(path.read_text(encoding="utf-8"))) for name, path in repository_files()}
    assert {path: errors for path, errors in found.items() if errors} == {}


# --- what is wrong --------------------------------------------------------------------------------------------

WRONG = {
    "an unknown key of a grant": (
        'tool = "open_pull_request"\ncontract',
        'tol = "x"\ntool = "open_pull_request"\ncontract',
    ),
    "another version": ("version = 1", "version = 2"),
    "a version in quotes": ("version = 1", 'version = "1"'),
    "an unknown unit": ('"20 calls per hour"', '"20 visits per hour"'),
    "a limit without a window": ('"20 calls per hour"', '"20 calls"'),
    "pending with a window": ('"5 pending per owner"', '"5 pending per hour"'),
    "an unknown dimension": ('"5 pending per owner"', '"5 pending per person"'),
    "an unknown class of keys": ('keys = "any"', 'keys = "soft"'),
    "an unknown mode": ('mode = "live"', 'mode = "dry"'),
    "an unknown operator": ("{ exists = false }", "{ exist = false }"),
    "no operator at all": ("{ exists = false }", "{}"),
    "an unknown day": ('["monday", "tuesday"]', '["monday", "tusday"]'),
    "an unknown working day": ('days = ["monday", "friday"]', 'days = ["monday", "freitag"]'),
    "an hour beyond the day": ("{ min = 8, max = 17 }", "{ min = 8, max = 24 }"),
    "a path that conditions do not see": ('"risk.score"', '"risk.scores"'),
    "a root that conditions do not see": ('"risk.score"', '"danger"'),
    "an unknown part of the score": ("first_use = 10", "last_use = 10"),
    "a weight beyond its bounds": ("first_use = 10", "first_use = 1001"),
    "a tool that is none": ("[tools.rollback_deployment]", "[tools.rollback]"),
    "a tool that only reads and costs": ("[tools.rollback_deployment]", "[tools.get_ticket]"),
    "a duration in words": ('"90d"', '"ninety days"'),
    "a duration as a number": ('"90d"', "90"),
    "a pin that is none": ('contract = "v1 sha256:', 'contract = "v1 md5:'),
    "a target without a port": ('"deployments:web/staging"', '"web"'),
    "nobody who approves": ('from = ["carol", "group:sre"]', "from = []"),
    "nobody needed": ("quorum = 1", "quorum = 0"),
    "the same twice": ('["pr:write", "deploy:rollback"]', '["pr:write", "pr:write"]'),
    "a text as a list": ('display = "Bob"', 'display = ["Bob"]'),
    "a moment that is a number": ("from = 2026-01-01T00:00:00Z, ", "from = 2026, "),
    "thresholds that say nothing": ("hold_at = 30\ndeny_at = 80\n", ""),
    "a queue that caps nothing": ("per_principal = 4\nper_owner = 8\ntotal = 16\n", ""),
    "rules that are one table": ("[[forbids]]", "[forbids]"),
    "a name with a space": ("[people.bob]", '[people."bo b"]'),
    "a folder elsewhere": ('includes = ["policy.d/"]', 'includes = ["../policy.d/"]'),
    "a suspension that is none": ('mode = "suspended"', 'mode = "closed"'),
}
WRONG_PARTS = {
    "a section that stands alone": ("[[limits]]", 'tests = "x/"\n\n[[limits]]'),
    "a hold that asks nobody": (re.search(r"approval = .*\n.*\n", PART.partition("hold")[2]) or re.match("", ""), ""),
    "a calendar that is none": ('"weekends.ics"', '"weekends.txt"'),
    "limits that are missing": (re.search(r"limits = .*\n", PART) or re.match("", ""), ""),
}
WRONG_CASES = {
    "an unknown key": ('diff = "--- a"', 'dif = "--- a"'),
    "an unknown verdict": ('expect = "hold"', 'expect = "maybe"'),
    "no verdict": ('expect = "hold"\n', ""),
    "an amount below nothing": ("amounts = { files_changed = 1 }", "amounts = { files_changed = -1 }"),
    "an end that is none": ('ended = "succeeded"', 'ended = "well"'),
    "something but cases": ("[[cases]]", "[[case]]"),
}


def wrong() -> Iterator[Any]:
    for name, changes in zip(TEXTS, (WRONG, WRONG_PARTS, WRONG_CASES), strict=True):
        for what, (before, after) in cast(dict[str, Any], changes).items():
            words = before if isinstance(before, str) else before.group()
            yield pytest.param(name, words, after, id=f"{name}: {what}")


@pytest.mark.parametrize(("name", "before", "after"), list(wrong()))
def test_what_is_wrong_in_itself_both_refuse(name: str, before: str, after: str) -> None:
    assert before
    assert before in TEXTS[name]
    text = TEXTS[name].replace(before, after, 1)
    assert problems(name, text)
    assert refused(name, parsed(text))


# --- limits ---------------------------------------------------------------------------------------------------

_WORDS = st.sampled_from([*UNITS, *SINGULAR, *NAMED_WINDOWS, *DIMENSIONS, "10m", "0h", "per", "1", "20", "x", ""])


@given(st.lists(_WORDS, max_size=7).map(" ".join))
def test_a_limit_that_is_read_is_a_limit_to_the_schema(text: str) -> None:
    pattern = cast(dict[str, str], LIMITS["items"])["pattern"]
    try:
        read_limit(text, "rule")
    except LimitError:
        return
    event("read")
    assert re.search(pattern, text)


@given(
    st.integers(1, 10**15),
    st.sampled_from([*UNITS, *SINGULAR]),
    st.sampled_from([*NAMED_WINDOWS, "10m", "90s"]),
    st.sampled_from(DIMENSIONS),
)
def test_every_form_of_a_limit_is_one_to_both(count: int, unit: str, window: str, whom: str) -> None:
    text = f"{count} {unit}{'' if unit == 'pending' else f' per {window}'} per {whom}"
    assert read_limit(text, "rule").per == whom
    assert re.search(cast(dict[str, str], LIMITS["items"])["pattern"], text)


# --- anything -------------------------------------------------------------------------------------------------


def _drop(inside: Any, step: Step, _: Any) -> None:
    del inside[step]


def _put(inside: Any, step: Step, value: Any) -> None:
    inside[step] = copy.deepcopy(value)


def _beside(inside: Any, step: Step, value: Any) -> None:
    if isinstance(inside, list):
        inside.append(copy.deepcopy(value))
    else:
        inside[f"{step}s"] = copy.deepcopy(value)


CHANGES: tuple[Callable[[Any, Step, Any], None], ...] = (_drop, _put, _beside)
MOMENT = datetime(2026, 11, 23, 9, tzinfo=UTC)
ODD: tuple[Any, ...] = (
    *(
        0,
        1,
        2,
        17,
        2**53 - 1,
        -1,
        1.5,
        True,
        False,
        "",
        "x",
        "claude",
        "alice",
        "group:sre",
        "production",
        "red",
        "30m",
    ),
    *(
        "monday",
        "live",
        "shadow",
        "deny",
        "any",
        "docs/**",
        "forge:shop/**",
        "5 calls per day",
        "2026-12-24",
        20261224,
    ),
    *(MOMENT, date(2026, 12, 24), [], {}, ["x"], ["claude"], ["production"], ["group:sre"], [1, 2], {"x": 1}),
    *({"exists": True}, {"not": "x"}, {"min": 1}, {"some": "assistants"}, {"glob": ["a", "b"], "ignore_case": True}),
    *({"equals": "x"}, {"in": ["x"]}, {"every": {"glob": "x"}}, {"quorum": 1, "from": ["carol"]}, {"until": MOMENT}),
    *({"paths": 1}, {"arguments": {"draft": True}}, {"plan": {"files[*].path": "x"}}, {"time": {"hour": 9}}, "UTC"),
)


@cache
def _whole(name: str) -> tuple[dict[str, Any], tuple[tuple[Step, ...], ...]]:
    whole = tomllib.loads(TEXTS[name])
    return whole, tuple(places(whole))


@st.composite
def changed(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A file of the policy that uses everything, with a few things left out, put in, or put in another's place."""
    name = draw(st.sampled_from(sorted(TEXTS)))
    whole, known = _whole(name)
    value = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        *way, step = draw(st.sampled_from(known))
        inside = value
        try:
            for part in way:
                inside = inside[part]  # type: ignore[index]  # a path of the text before it was changed
            draw(st.sampled_from(CHANGES))(inside, step, draw(st.sampled_from(ODD)))
        except (KeyError, IndexError, TypeError):
            continue
    return name, value


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changed())
def test_whatever_the_reader_accepts_the_schema_accepts(case: tuple[str, dict[str, Any]]) -> None:
    name, value = case
    if problems(name, toml(value)):
        event("refused")
        return
    event("accepted")
    assert refused(name, seen(value)) == []


# --- what they are made of ------------------------------------------------------------------------------------

KNOWN = {
    *("title", "description", "default", "examples", "type", "enum", "const", "anyOf", "format", "pattern"),
    *("minLength", "maxLength", "minimum", "maximum", "items", "minItems", "maxItems", "uniqueItems", "properties"),
    *(
        "patternProperties",
        "additionalProperties",
        "required",
        "minProperties",
        "maxProperties",
        "if",
        "then",
        "else",
    ),
    *("not", "$ref", "$defs", "$schema"),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_only_words_are_used_that_mean_the_same_to_older_tools(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    Draft7Validator.check_schema(SCHEMAS[name])
    for part in parts(SCHEMAS[name]):
        assert part.keys() <= KNOWN
        assert "$ref" not in part or len(part) == 1


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_key_says_what_it_means(name: str) -> None:
    for part in parts(SCHEMAS[name]):
        for key, inner in part.get("properties", {}).items():
            assert inner == {"const": "hold"} or inner.get("description"), key
            assert "](" not in inner.get("description", "")
