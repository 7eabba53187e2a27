"""The page of races shows the table that the tests are held to, and each of them is in it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.races.table import ROWS, rendered

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "explanation" / "races.md"


def test_the_page_shows_the_table() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    shown = [line for line in lines if line.startswith("|")]
    assert shown == list(rendered())


def test_each_row_has_its_test_and_each_test_its_row() -> None:
    there = {
        name
        for path in HERE.glob("test_*.py")
        if path.name != "test_page.py"
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {row.test for row in ROWS} == there
