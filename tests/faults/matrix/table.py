"""The table of the matrix: by write and fault, what the ledger says and how often the effect is there.

It stands in `expected.md`, one part for each write, and is what the page shows. A cell reads as `bench.Ended`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

EXPECTED = Path(__file__).with_name("expected.md")
PAGE = Path(__file__).parents[3] / "docs/explanation/fault-matrix.md"
BEGIN, END = "<!-- the matrix begins -->\n", "<!-- the matrix ends -->\n"

Cell = tuple[str, str, str]
"""A write, one of its requests, and a fault."""


@dataclass(frozen=True, slots=True)
class Table:
    """The cells of one table; `text` is the table as it stands in the page."""

    text: str
    cells: Mapping[Cell, str]


def read() -> Table:
    """Read what is expected."""
    text = EXPECTED.read_text(encoding="utf-8")
    cells: dict[Cell, str] = {}
    write, requests = "", list[str]()
    for line in text.splitlines():
        row = [part.strip() for part in line.strip("|").split("|")]
        if line.startswith("### "):
            write, requests = line.removeprefix("### ").lower(), []
        elif line.startswith("|") and not requests:
            requests = row[1:]
        elif line.startswith("|") and not row[0].startswith("---"):
            for request, cell in zip(requests, row[1:], strict=True):
                key = write, request, row[0]
                assert key not in cells, key
                cells[key] = cell
    return Table(text, cells)


def written(cells: Mapping[Cell, str]) -> str:
    """Write cells as tables."""
    parts = []
    for write in dict.fromkeys(write for write, _, _ in cells):
        own = [cell for cell in cells if cell[0] == write]
        requests, faults = dict.fromkeys(r for _, r, _ in own), dict.fromkeys(f for _, _, f in own)
        rows = [["the request …", *requests], *([f, *(cells[write, r, f] for r in requests)] for f in faults)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines = ["| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |" for row in rows]
        lines.insert(1, "| " + " | ".join("-" * w for w in widths) + " |")
        parts.append("\n".join([f"### {write[0].upper()}{write[1:]}", "", *lines]))
    return "\n\n".join(parts) + "\n"


def page_with(text: str) -> str:
    """Return the page with these tables in it."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":  # after a change of what is expected: put it into the page
    PAGE.write_text(page_with(read().text), encoding="utf-8")
