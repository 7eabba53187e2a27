"""The prepared description refuses garbage and nothing that is valid; recorded requests are judged by it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bed import documents
from tests.bed.asking import ask
from tests.bed.forge import Forge
from tests.bed.node import EMULATE, OPENAPI, PRISM, entry, missing
from tests.bed.prism import Prism, all_valid, github_document, operation, prism
from tests.bed.recorder import Exchange

ABSENT = missing(EMULATE, PRISM, OPENAPI)
pytestmark = pytest.mark.skipif(ABSENT is not None, reason=ABSENT or "")

HEADERS = {"content-type": "application/json", "accept": documents.MEDIA_TYPE}
GARBAGE = (b'{"garbage": [{"x": 1}]}', b'"garbage"', b'[{"garbage": 1}]', b"17", b"")
JSON_BODIES = [(method, path) for method, path in documents.GITHUB if method not in ("GET", "DELETE")]


def refused(prism: Prism, method: str, path: str, body: bytes) -> list[str]:
    return prism.refusals(method, re.sub(r"\{[^}]*\}", "1", path), body, HEADERS, shown=path)


def exchange(method: str, target: str, body: Any = None) -> Exchange:
    path, _, query = target.partition("?")
    sent = b"" if body is None else json.dumps(body).encode()
    return Exchange(method, path, query, tuple(HEADERS.items()), sent, "", "")


@pytest.mark.parametrize(("method", "path"), JSON_BODIES)
def test_garbage_is_refused_by_each_operation_we_use(github_prism: Prism, method: str, path: str) -> None:
    assert [body for body in GARBAGE if not refused(github_prism, method, path, body)] == []


def test_the_operations_that_take_bodies_are_those_that_are_probed(github_prism: Prism) -> None:
    assert sorted(JSON_BODIES) == sorted(documents.bodies(github_prism.document))


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Prism]:
    with prism(github_document(None), tmp_path) as running:
        yield running


def test_garbage_is_refused_by_all_342_operations_of_the_prepared_description(whole: Prism) -> None:
    operations = documents.bodies(whole.document)
    accepted = [(m, p) for m, p in operations if not refused(whole, m, p, GARBAGE[0])]
    assert (len(operations), accepted) == (342, [])


def test_the_description_as_it_is_accepts_garbage(tmp_path: Path) -> None:
    """Why it is prepared; and that the probe can tell."""
    stock = documents.read(entry(OPENAPI))
    documents._keep(stock, documents.GITHUB)
    file = tmp_path / "stock.json"
    file.write_text(json.dumps(documents._pruned(stock)))
    with prism(file, tmp_path) as running:
        plain = HEADERS | {"accept": "application/json"}
        accepted = {
            (method, path)
            for method, path in JSON_BODIES
            if not running.refusals(method, re.sub(r"\{[^}]*\}", "1", path), GARBAGE[0], plain)
        }
        plainly = running.refusals("POST", "/repos/o/r/issues", b'{"title": "t"}', plain)
        as_we_ask = running.refusals("POST", "/repos/o/r/issues", b'{"title": "t"}', HEADERS)
    assert plainly == []
    assert "Unable to find content for application/vnd.github+json" in as_we_ask[0]
    assert ("POST", "/repos/{owner}/{repo}/issues") in accepted
    assert ("PUT", "/repos/{owner}/{repo}/pulls/{pull_number}/merge") in accepted


def test_githubs_own_examples_are_accepted(github_prism: Prism) -> None:
    """What the preparation must not do: refuse what is valid."""
    document, tried = github_prism.document, 0
    for method, path in JSON_BODIES:
        content = document["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]
        for example in content.get("examples", {}).values():
            shown = documents._found(document, example["$ref"]) if "$ref" in example else example
            tried += 1
            assert refused(github_prism, method, path, json.dumps(shown["value"]).encode()) == []
    assert tried >= len(JSON_BODIES)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (exchange("POST", "/repos/o/r/pulls", {"title": "t", "head": "h"}), "required property 'base'"),
        (exchange("POST", "/repos/o/r/pulls", {"title": "t", "head": "h", "base": "b", "drafty": True}), "drafty"),
        (exchange("POST", "/repos/o/r/git/refs", {"ref": "refs/heads/x", "sha": 1}), "sha must be string"),
        (exchange("GET", "/repos/o/r/pulls?state=shut"), "state must be equal to one of"),
        (exchange("GET", "/repos/o/r/pulls?stat=open"), "no query parameter stat"),
        (exchange("GET", "/repos/o/r/nothing"), "no operation"),
        (exchange("PUT", "/repos/o/r/pulls/one/merge", {"sha": "a"}), "integer"),
        (exchange("PUT", "/repos/o/r/pulls/1/merge", {"merge_method": "octopus"}), "allowed values"),
        (exchange("PATCH", "/repos/o/r/issues/1", {"state": "shut"}), "allowed values"),
    ],
)
def test_a_request_that_is_not_valid_is_told(github_prism: Prism, wrong: Exchange, said: str) -> None:
    assert any(said in objection for objection in github_prism.objections(wrong)), github_prism.objections(wrong)


def test_slashes_of_refs_and_paths_are_no_objection(github_prism: Prism) -> None:
    all_valid(
        github_prism,
        [
            exchange("GET", "/repos/o/r/git/ref/heads/keyturn/a-1"),
            exchange("GET", "/repos/o/r/git/ref/heads%2Fkeyturn%2Fa-1"),
            exchange("PATCH", "/repos/o/r/git/refs/heads/main", {"sha": "0" * 40, "force": False}),
            exchange("DELETE", "/repos/o/r/git/refs/heads/keyturn/a-1"),
            exchange("GET", "/repos/o/r/contents/src/a%20b.py?ref=main"),
            exchange("GET", "/repos/o/r/compare/main...feat/x"),
            exchange("GET", "/repos/o/r/commits/feat/x/check-runs?per_page=100"),
        ],
    )
    found = operation(github_prism.document, "GET", "/repos/o/r/commits/feat/x/check-runs")
    assert found == ("/repos/{owner}/{repo}/commits/{ref}/check-runs", "/repos/o/r/commits/feat%2Fx/check-runs")


def test_requests_that_were_written_down_are_checked(github: Forge, github_prism: Prism) -> None:
    shop = github.repository()
    shop.branch("idea")
    root, carol = f"{github.url}/repos/{shop.full_name}", github.emulator.tokens["carol"]
    wished = {"title": "t", "head": "idea", "base": "main", "body": "b", "draft": True}
    assert ask("POST", f"{root}/pulls", carol, wished, accept=documents.MEDIA_TYPE).status_code == 201
    assert ask("GET", f"{root}/git/ref/heads/main", carol, accept=documents.MEDIA_TYPE).status_code == 200
    all_valid(github_prism, github.seen.exchanges)
    ask("POST", f"{root}/issues", carol, {"title": "t", "colour": "red"})
    with pytest.raises(AssertionError, match="colour"):
        all_valid(github_prism, github.seen.exchanges)
