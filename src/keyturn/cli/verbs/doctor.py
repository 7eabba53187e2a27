"""`keyturn doctor`: whether a home and its machine are well, on one screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit, home_of
from keyturn.cli.output import AsJson, Column, emit, json_option, note, on_terminal
from keyturn.cli.sheet import Line, speak

if TYPE_CHECKING:
    from keyturn.assembly.doctor import Finding

_SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}
_COLUMNS = (
    Column("LEVEL", "level"),
    Column("CHECK", "check"),
    Column("TOLD", "told"),
    Column("FOLLOWS", "follows"),
    Column("MEND", "mend"),
)


@click.command(name="doctor", short_help="Look whether all is well, and what mends it.")
@click.option("-v", "--verbose", is_flag=True, help="Spell out what is well, too.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, verbose: bool, as_json: AsJson) -> None:
    """Look at everything a home stands on, and say what follows and what mends it.

    On a terminal what is well takes one line a group; in a pipe each check has a line. Nothing is changed, and no
    system is more than read. Exits 1 when a check fails; warnings exit 0.
    """
    from keyturn.assembly.doctor import examine

    found = list(examine(home_of(ctx)))
    if on_terminal() and not as_json:
        speak([line for finding in found for line in _lines(finding)] if verbose else list(_grouped(found)))
        note("")
        note(_summary(found))
    else:
        emit([finding.to_json() for finding in found], as_json=as_json, columns=_COLUMNS)
    if any(finding.level == "fail" for finding in found):
        ctx.exit(Exit.FAILURE)


def _grouped(found: list[Finding]) -> Iterator[Line]:
    """Yield a line for what is well in each group, and below it whatever is not."""
    from keyturn.assembly.doctor import GROUPS

    for group, checks in GROUPS.items():
        of_group = [finding for finding in found if finding.check in checks]
        if well := Counter(finding.check for finding in of_group if finding.level == "ok"):
            yield Line(group, f"✓ {', '.join(_times(check, count) for check, count in well.items())}")
        yield from (line for finding in of_group if finding.level != "ok" for line in _lines(finding))


def _times(check: str, count: int) -> str:
    return check if count == 1 else f"{count} {check}s"


def _lines(finding: Finding) -> Iterator[Line]:
    sign, style = _SIGNS[finding.level]
    yield Line(finding.check, f"{sign} {finding.told}", style if finding.level != "ok" else None)
    if finding.follows:
        yield Line("", f"  so {finding.follows}")
    if finding.mend:
        yield Line("", f"  → {finding.mend}", "cyan")


def _summary(found: list[Finding]) -> str:
    counts = {level: sum(finding.level == level for finding in found) for level in _SIGNS}
    return f"{counts['ok']} well, {counts['warn']} to know, {counts['fail']} to mend"
