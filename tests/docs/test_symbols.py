"""What the pages name in the code is there: symbols as `room.module:name`, files, tests as `file::test`."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Page, all_pages

PAGES = all_pages()
PACKAGE = ROOT / "src" / "keyturn"
ROOMS = {
    path.stem
    for path in PACKAGE.iterdir()
    if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").is_file())
}

_SYMBOL = re.compile(r"([a-z_]+(?:\.[a-z_]+)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
_TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
_FILE = re.compile(r"(?:src|tests|docs|tool_schemas)/[\w./-]+")


def module_file(dotted: str) -> Path | None:
    plain = PACKAGE.joinpath(*dotted.split("."))
    candidates = (plain.with_suffix(".py"), plain / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return what a module defines: `name`, and `Class.member` for methods and fields."""
    return frozenset(_names(ast.parse(path.read_text(encoding="utf-8")).body))


def _names(body: list[ast.stmt]) -> set[str]:
    found: set[str] = set()
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name, body=inner):
                found |= {name, *(f"{name}.{member}" for member in _names(inner))}
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.Assign(targets=targets):
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def symbols_of(page: Page) -> list[tuple[str, str]]:
    matches = (_SYMBOL.fullmatch(text) for text in page.quoted)
    return [(m[1], m[2]) for m in matches if m and m[1].split(".")[0] in ROOMS]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_symbol_that_a_page_names_exists(page: Page) -> None:
    missing = []
    for module, name in symbols_of(page):
        path = module_file(module)
        if path is None or name not in names_in(path):
            missing.append(f"{module}:{name}")
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_test_that_a_page_names_exists(page: Page) -> None:
    missing = []
    for text in page.quoted:
        if match := _TEST.fullmatch(text):
            path = ROOT / match[1]
            known = names_in(path) if path.is_file() else frozenset()
            if not any(name.split(".")[-1] == match[2] for name in known):
                missing.append(text)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_file_of_the_repository_that_a_page_names_exists(page: Page) -> None:
    named = {text for text in page.quoted if _FILE.fullmatch(text)}
    assert sorted(text for text in named if not (ROOT / text).exists()) == []


def test_the_way_of_one_action_goes_through_every_room() -> None:
    way = Page(ROOT / "docs" / "explanation" / "the-way-of-one-action.md")
    visited = {module.split(".")[0] for module, _ in symbols_of(way)}
    # `curve` is asked by keys alone, and `demo` is a story about the way, not a part of it
    assert ROOMS - {"curve", "demo"} <= visited


def test_the_page_of_rooms_says_what_the_rooms_say_of_themselves() -> None:
    page = Page(ROOT / "docs" / "explanation" / "rooms.md")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page.text, re.MULTILINE))
    said = {}
    for room in ROOMS:
        path = module_file(room)
        assert path is not None
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        said[room] = docstring.split("\n\n")[0].replace("\n", " ")
    assert rows == said


def test_a_symbol_that_is_not_there_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`gateway.submit:no_such_name` and `gateway.submit:decide`, not `group:sre`.\n")
    assert symbols_of(Page(page)) == [("gateway.submit", "no_such_name"), ("gateway.submit", "decide")]
    path = module_file("gateway.submit")
    assert path is not None
    assert "decide" in names_in(path)
    assert "no_such_name" not in names_in(path)
