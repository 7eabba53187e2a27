"""What the pages link to is there, and what they give as TOML or JSON is TOML or JSON."""

from __future__ import annotations

import json
import tomllib

import pytest

from tests.docs.pages import ROOT, Page, all_pages

PAGES = all_pages()
DOCS = ROOT / "docs"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_relative_link_leads_to_a_file_and_a_heading_of_it(page: Page) -> None:
    broken = []
    for link in page.links:
        name, _, fragment = link.partition("#")
        target = (page.path.parent / name).resolve() if name else page.path
        inside = target.is_relative_to(ROOT) and target.exists()
        if not inside or (fragment and fragment not in Page(target).anchors):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_of_toml_parses(page: Page) -> None:
    for block in page.blocks:
        if block.language == "toml":
            tomllib.loads(block.text)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_of_json_parses(page: Page) -> None:
    for block in page.blocks:
        if block.language == "json":
            json.loads(block.text)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_says_its_language_or_is_plain_output(page: Page) -> None:
    known = {"", "toml", "json", "sh", "text", "python", "markdown", "ini", "diff"}
    assert {block.language for block in page.blocks} <= known


def test_every_page_of_the_documentation_can_be_reached_from_its_index() -> None:
    index = Page(DOCS / "index.md")
    seen, waiting = set(), [index]
    while waiting:
        page = waiting.pop()
        if page.path in seen:
            continue
        seen.add(page.path)
        names = (link.partition("#")[0] for link in page.links)
        targets = ((page.path.parent / name).resolve() for name in names if name.endswith(".md"))
        waiting += [Page(target) for target in targets if target.is_relative_to(DOCS) and target.is_file()]
    assert {str(page) for page in PAGES if page.path.is_relative_to(DOCS)} == {str(Page(path)) for path in seen}
