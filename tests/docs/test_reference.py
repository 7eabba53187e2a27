"""What the reference pages say of keys, and the schemas beside them, are what the code declares."""

from __future__ import annotations

import json
import re

import pytest
from jsonschema import Draft202012Validator

from keyturn.assembly.schemas import FILES, schemas, written
from tests.docs.reference import FOLDER, filled, tables

PAGES = sorted(path.name for path in FOLDER.glob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_of_keys_are_up_to_date(page: str) -> None:
    text = (FOLDER / page).read_text(encoding="utf-8")
    assert text == filled(text), "python -m tests.docs.reference writes them"


@pytest.mark.parametrize("about", FILES)
def test_the_schemas_are_up_to_date(about: str) -> None:
    held = (FOLDER / FILES[about]).read_text(encoding="utf-8")
    assert held == written(schemas()[about]), "python -m tests.docs.reference writes them"
    Draft202012Validator.check_schema(json.loads(held))


def test_every_table_there_is_stands_on_one_page() -> None:
    shown = [name for page in PAGES for name in re.findall(r"<!-- keys: ([\w-]+) -->", (FOLDER / page).read_text())]
    anchors = {"anchors-file", "anchors-git", "anchors-witness", "anchors-rfc3161"}  # in one table
    alike = {"tickets-github", *anchors}  # told with others on the page
    assert sorted(shown) == sorted(set(tables()) - alike)
