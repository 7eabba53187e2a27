"""Writes the contracts' pins into a policy text and leaves every other byte as it is."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from keyturn.model.contract import Contract
from keyturn.model.errors import ConfigurationError
from keyturn.policy.documents import FILE
from keyturn.policy.problems import Problems
from keyturn.policy.toml_text import read_toml

_HEADER = re.compile(r"[ \t]*\[")
_GRANT = re.compile(r"[ \t]*\[\[[ \t]*grants[ \t]*\]\]")
_TOOL = re.compile(r"""(?P<indent>[ \t]*)tool[ \t]*=""")
_PIN = re.compile(r"""(?P<key>[ \t]*contract[ \t]*=[ \t]*)(?P<value>"[^"\n]*"|'[^'\n]*')""")
_PIECE = re.compile(
    r'''"""(?:[^\\]|\\[\s\S])*?"""(?!")|\'\'\'[\s\S]*?\'\'\'(?!\')|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|[\[\]{}\n]'''
)


@dataclass(frozen=True, slots=True)
class _Statement:
    """One header or `key = value` with all its lines; `start` is where it stands in the text."""

    start: int
    text: str


def pin(text: str, catalog: Mapping[str, Contract], name: str = FILE) -> str:
    """Return the policy text with each grant's `contract` set to the label of its tool in `catalog`.

    `name` is the path of the file. A missing line is put after the grant's `tool`. Grants of tools that are not in
    the catalog are left alone.
    Raises `ConfigurationError` for text that is not TOML, or whose grants are not written as `[[grants]]` tables.
    """
    problems = Problems()
    before = read_toml(text, name, problems)
    problems.settle()
    edits = [edit for grant in _grants(text) for edit in _edits(grant, catalog)]
    pinned = text
    for start, end, words in sorted(edits, reverse=True):
        pinned = pinned[:start] + words + pinned[end:]
    if before is None or not _only_pins_differ(before, pinned, catalog):
        place = "grants" if name == FILE else f"{name}: grants"
        raise ConfigurationError(
            f"{place}: the pins cannot be written here: give each grant as [[grants]] with `tool` and `contract` "
            "on lines of their own"
        )
    return pinned


def _grants(text: str) -> Iterator[list[_Statement]]:
    """Yield the statements of each `[[grants]]` table, up to the next header."""
    current: list[_Statement] | None = None
    for statement in _statements(text):
        if not _HEADER.match(statement.text):
            if current is not None:
                current.append(statement)
            continue
        if current is not None:
            yield current
        current = [] if _GRANT.match(statement.text) else None
    if current is not None:
        yield current


def _statements(text: str) -> Iterator[_Statement]:
    """Cut the text at the line ends that are inside no string, array or inline table."""
    start = depth = 0
    for piece in _PIECE.finditer(text):
        mark = piece.group()
        if mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
        elif mark == "\n" and depth == 0:
            yield _Statement(start, text[start : piece.end()])
            start = piece.end()
    yield _Statement(start, text[start:])


def _edits(grant: list[_Statement], catalog: Mapping[str, Contract]) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, new words) for one grant."""
    tool = next((statement for statement in grant if _TOOL.match(statement.text)), None)
    if tool is None:
        return
    contract = catalog.get(str(tomllib.loads(tool.text).get("tool")))
    if contract is None:
        return
    written = json.dumps(contract.label)
    for statement in grant:
        match = _PIN.match(statement.text)
        if match is not None:
            yield statement.start + match.start("value"), statement.start + match.end("value"), written
            return
    indent = _TOOL.match(tool.text)
    line = f"{indent['indent'] if indent else ''}contract = {written}"
    end = tool.start + len(tool.text)
    newline = "\r\n" if tool.text.endswith("\r\n") else "\n"
    yield (end, end, line + newline) if tool.text.endswith("\n") else (end, end, newline + line)


def _only_pins_differ(before: Mapping[str, object], pinned: str, catalog: Mapping[str, Contract]) -> bool:
    """Parse the result: it must say what the old text said, with the right pins and nothing else."""
    try:
        after = tomllib.loads(pinned)
    except tomllib.TOMLDecodeError:
        return False
    grants = before.get("grants", [])
    expected = [_pinned(grant, catalog) for grant in grants] if isinstance(grants, list) else grants
    return after == ({**before, "grants": expected} if "grants" in before else before)


def _pinned(grant: object, catalog: Mapping[str, Contract]) -> object:
    if not isinstance(grant, dict):
        return grant
    contract = catalog.get(str(grant.get("tool")))
    return grant if contract is None else {**grant, "contract": contract.label}
