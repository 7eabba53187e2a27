"""The page shows the table that is tested, and nothing in the table is what must never be."""

from __future__ import annotations

import re

from tests.faults.matrix.table import BEGIN, END, PAGE, page_with, read, written


def test_the_page_shows_what_is_tested() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page
    assert END in page
    assert page == page_with(read().text), "run: python -m tests.faults.matrix.table"


def test_the_table_is_written_as_it_is_read() -> None:
    table = read()
    shown = written(table.cells)
    assert shown.lower() == table.text.lower()


def test_the_page_counts_the_cells_as_they_are() -> None:
    cells = list(read().cells.values())
    unknown = sum(cell.startswith("? ") and cell[2:].isdigit() for cell in cells)
    part = sum("part" in cell for cell in cells)
    later = sum(cell.startswith("? ") for cell in cells) - unknown
    text = PAGE.read_text(encoding="utf-8")
    assert f"{len(cells)} cells: {len(cells) - unknown - part - later} are settled at once" in text
    assert f"{later} once the system can be asked again" in text
    assert f"{unknown} stay unknown" in text
    assert f"{part} are there in part" in text


def test_nothing_is_there_twice_but_what_the_network_doubled_and_the_ledger_says_so() -> None:
    for (write, _, fault), cell in read().cells.items():
        assert re.fullmatch(r"(\? )?(done 1|not done 0|stale 0|part 1)|\? [01]|part 2", cell), cell
        assert cell != "part 2" or (write == "create a ticket" and fault.startswith("arrives twice")), write
