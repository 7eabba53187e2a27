"""Reads the folder of cases that `tests` names: strict, every problem under its file and dotted path."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

from keyturn.canon import CanonError, Json, check
from keyturn.model.contract import Contract
from keyturn.model.decision import Request
from keyturn.model.time import EARLIEST, LATEST, parse_timestamp
from keyturn.policy.cases.case import ENDS, VERDICTS, Case, Earlier
from keyturn.policy.cases.fitting import check_fits
from keyturn.policy.domains import Place
from keyturn.policy.limits import UNITS
from keyturn.policy.paths import COUNTED
from keyturn.policy.problems import Problems
from keyturn.policy.series import LONGEST_WINDOW
from keyturn.policy.shown import shown
from keyturn.policy.tables import Table, join
from keyturn.policy.toml_text import read_toml
from keyturn.policy.usage import PENDING

SUFFIX = ".toml"
WHEN = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""The time of a case that says none: noon of a Monday, in UTC."""
AMOUNTS = tuple(unit for unit in UNITS if unit != PENDING)
"""What an earlier use may have taken."""

_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}/?", re.ASCII)
_APART = ("reason", "repeat")  # no condition sees them
_MOST = 5_000
_TIMES = 10_000  # of one earlier use
_MOST_USED = 100_000  # earlier uses of all cases: whoever checks the ledger has to count them
_WORDS = ("principal", "tool", "target", "environment")
_USED = (*_WORDS, "ago", "pending", "ended", "times", "amounts")


@dataclass(slots=True)
class _Seen:
    """What the cases read so far have used up: names, each with its place, and how many earlier uses."""

    names: dict[str, str] = field(default_factory=dict)
    used: int = 0


def tests_folder(document: Table) -> str | None:
    """Return the folder that `tests` names, ending with a slash; None where there is none or it is no folder."""
    name = document.text("tests")
    if name is None:
        return None
    if not _FOLDER.fullmatch(name) or ".." in name:
        document.wrong("tests", f"{shown(name)} is no folder beside policy.toml: write a name such as policy_tests/")
        return None
    return name if name.endswith("/") else f"{name}/"


def tests_of(text: str) -> str | None:
    """Return the folder of cases that a `policy.toml` names; None also of a text that cannot be read."""
    raw = read_toml(text, "policy.toml", Problems())
    return None if raw is None else tests_folder(Table(raw, "", Problems()))


def is_case_file(path: str, folder: str | None) -> bool:
    """Say whether a file of the policy lies in the folder of its cases."""
    return folder is not None and path.startswith(folder) and "/" not in path[len(folder) :] and path.endswith(SUFFIX)


def read_cases(
    document: Table, folder: str | None, files: Mapping[str, str], contracts: Mapping[str, Contract]
) -> tuple[Case, ...]:
    """Read every case of the files in `folder`, in the order of their paths. A folder without any is a problem."""
    if folder is None:
        return ()
    found: list[Case] = []
    seen = _Seen()
    for path in sorted(path for path in files if is_case_file(path, folder)):
        raw = read_toml(files[path], path, document.problems)
        if raw is not None:
            tables = _case_tables(Table(raw, "", document.problems), path)
            found += (case for table in tables if (case := _case(table, path, contracts, seen)))
    if not found and not len(document.problems):
        document.wrong("tests", f"there is no case in {folder}: a policy that names tests has at least one")
    if len(found) > _MOST:
        document.wrong("tests", f"{folder} holds {len(found)} cases; there may be {_MOST}")
    return tuple(found)


def _case_tables(document: Table, path: str) -> tuple[Table, ...]:
    inside = Table(document.raw, f"{path}:", document.problems)
    for key in document.raw:
        if key != "cases":
            document.problems.unknown(f"{path}: {join('', key)}", f"unknown key {shown(key)}", key, ("cases",))
    cases = document.raw.get("cases", [])
    if not isinstance(cases, list):
        document.problems.add(f"{path}: cases", "must be a list of tables: write [[cases]]")
        return ()
    return tuple(Table(item, f"{path}: cases[{i}]", inside.problems) for i, item in enumerate(cases))


def _case(table: Table, path: str, contracts: Mapping[str, Contract], seen: _Seen) -> Case | None:
    before = len(table.problems)
    known = ("name", "principal", "scopes", "tool", "arguments", "target", "environment", "plan", "effects", "time")
    table.only(*known, "diff", "used", "expect", "rule", "code")
    name = table.text("name", required=True) or ""
    if seen.names.setdefault(name, table.place) != table.place:
        table.wrong("name", f"{shown(name)} is the name of {seen.names[name]} already")
    request = _request(table, contracts)
    at = _time(table)
    used = tuple(item for entry in table.tables("used") for item in _earlier(entry, seen))
    expect = _expected(table)
    rule, code = table.text("rule"), table.text("code")
    if request is None or len(table.problems) != before:
        return None
    return Case(
        file=path,
        place=table.place,
        name=name,
        request=request,
        at=at,
        expect=expect,
        used=used,
        rule=rule,
        code=code,
    )


def _expected(table: Table) -> str:
    if "expect" not in table.raw:
        table.wrong("expect", f"is missing: say {', '.join(VERDICTS[:-1])} or {VERDICTS[-1]}")
        return VERDICTS[0]
    return table.choice("expect", *VERDICTS)


def _request(table: Table, contracts: Mapping[str, Contract]) -> Request | None:
    principal, tool = table.text("principal", required=True), table.text("tool", required=True)
    target = table.text("target", required=True)
    contract = contracts.get(tool or "")
    if tool is not None and contract is None:
        table.problems.unknown(table.at("tool"), f"there is no tool {shown(tool)}", tool, contracts)
    if principal is None or contract is None or target is None:
        return None
    return Request(
        principal=principal,
        token_scopes=frozenset(table.texts("scopes")) if "scopes" in table.raw else None,
        tool=contract.tool,
        arguments=_arguments(table, contract),
        target=target,
        environment=table.text("environment"),
        view=_view(table),
        effects={**dict.fromkeys(COUNTED, 0), **_amounts(table, "effects", COUNTED), "calls": 1},
        diff=_diff(table),
    )


def _diff(table: Table) -> str:
    """Return the diff of the plan, which is looked through for credentials."""
    diff = table.raw.get("diff", "")
    if not isinstance(diff, str):
        table.wrong("diff", f"must be a unified diff, not {shown(diff)}")
        return ""
    return diff


def _arguments(table: Table, contract: Contract) -> dict[str, Json]:
    """Return the arguments as a call would have them: those given, and the contract's defaults for the others."""
    properties = cast(Mapping[str, Mapping[str, Json]], contract.input.get("properties", {}))
    shapes = {name: shape for name, shape in properties.items() if name not in _APART}
    given, whole = _plain(table, "arguments"), Place.of(contract.input)
    for name in given:
        if name not in shapes:
            text = f"{contract.tool} has no argument {shown(name)} that a condition could see"
            table.problems.unknown(f"{table.at('arguments')}.{name}", text, name, shapes)
        elif (place := whole.property(name)) is not None:
            check_fits(given[name], place, f"{table.at('arguments')}.{name}", table.problems)
    defaults = {name: shape["default"] for name, shape in shapes.items() if "default" in shape}
    return {**defaults, **given}


def _plain(table: Table, key: str) -> dict[str, Json]:
    """Return a table of values as arguments and plans have them: texts, integers, truth values, lists, tables."""
    section = table.table(key)
    if section is None:
        return {}
    try:
        check(dict(section.raw), table.at(key))
    except CanonError as error:
        place, _, why = str(error).rpartition(": ")
        table.problems.add(place, why)
        return {}
    return cast(dict[str, Json], dict(section.raw))


def _amounts(table: Table, key: str, units: Sequence[str]) -> dict[str, int]:
    section = table.table(key)
    if section is None:
        return {}
    for unit in section.raw:
        if unit == PENDING:
            section.wrong(PENDING, "is no amount: say pending = true beside it")
        elif unit not in units:
            section.problems.unknown(section.at(unit), f"{shown(unit)} is not counted here", unit, units)
    return {name: section.integer(name, low=0, high=2**31, default=0) or 0 for name in section.raw if name in units}


def _view(table: Table) -> dict[str, Json]:
    """Return what a plan shows; what it counts is an effect, and read from there."""
    view = _plain(table, "plan")
    for name in COUNTED:
        if name in view:
            table.problems.add(f"{table.at('plan')}.{name}", f"is counted: write effects = {{ {name} = … }}")
    return view


def _time(table: Table) -> datetime:
    value = table.raw.get("time")
    if value is None:
        return WHEN
    when: datetime | None = value if isinstance(value, datetime) else None
    with suppress(ValueError):
        when = when or parse_timestamp(value if isinstance(value, str) else "")
    if when is None or when.tzinfo is None:
        table.wrong("time", f"must be a time with its offset, such as 2026-01-05T12:00:00Z, not {shown(value)}")
    elif not EARLIEST <= when.year <= LATEST:
        table.wrong("time", f"lies outside the years {EARLIEST} to {LATEST}")
    else:
        return when.astimezone(UTC)
    return WHEN


def _earlier(table: Table, seen: _Seen) -> list[Earlier]:
    table.only(*_USED)
    ago = table.duration("ago", longest=LONGEST_WINDOW, default=timedelta(minutes=1))
    times = table.integer("times", low=1, high=_TIMES, default=1) or 1
    if seen.used <= _MOST_USED < seen.used + times:  # told once
        table.wrong("times", f"all cases together may have {_MOST_USED} earlier uses")
    seen.used += times
    pending = table.raw.get("pending", False)
    if not isinstance(pending, bool):
        table.wrong("pending", f"must be true or false, not {shown(pending)}")
    words = {word: table.text(word) for word in _WORDS}
    use = Earlier(
        amounts={"calls": 1, **_amounts(table, "amounts", AMOUNTS)},
        ago=ago or timedelta(),
        pending=pending is True,
        ended=table.choice("ended", *ENDS),
        **words,
    )
    return [use] * times if seen.used <= _MOST_USED else []
