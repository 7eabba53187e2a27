"""`keyturn connector check`: who we are in each system, what we may do there, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit, home_of
from keyturn.cli.output import AsJson, Column, emit, json_option, note, on_terminal, say
from keyturn.cli.sheet import Line, speak

if TYPE_CHECKING:
    from keyturn.assembly.connectors import Checked
    from keyturn.canon import Json
    from keyturn.connectors.checking import Finding

_SIGNS = {"ok": ("✓", None), "note": ("!", "yellow"), "wrong": ("✗", "red")}
_COLUMNS = (
    Column("LEVEL", "level"),
    Column("PORT", "port"),
    Column("NAME", "name", identifier=True),
    Column("TEXT", "text"),
    Column("ADVICE", "advice"),
)


@click.command("check", short_help="Ask systems who we are there and what is missing.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@click.pass_context
def command(ctx: click.Context, names: Sequence[str], as_json: AsJson) -> None:
    """Ask each system, or those named, who we are there and what we may do; say what is missing and what mends it.

    A NAME is as in keyturn.toml, shop or forge.shop. Credentials are read, and programs for them run; the systems are
    only read. Exits 1 when something is wrong.
    """
    import anyio

    from keyturn.assembly.connectors import check

    checked = anyio.run(check, home_of(ctx), names)
    found = [finding for one in checked for finding in one.findings]
    if on_terminal() and not as_json:
        _speak(checked)
        note(_summary(found))
    else:
        emit([row for one in checked for row in _rows(one)], as_json=as_json, columns=_COLUMNS)
    if not checked:
        note("keyturn.toml declares no system")
    if any(finding.level == "wrong" for finding in found):
        ctx.exit(Exit.FAILURE)


def _rows(checked: Checked) -> Iterator[dict[str, Json]]:
    for finding in checked.findings:
        yield {
            "port": checked.declared.port,
            "name": checked.declared.name,
            "level": finding.level,
            "text": finding.text,
            "advice": finding.advice,
        }


def _speak(checked: Sequence[Checked]) -> None:
    for one in checked:
        say(" ".join(filter(None, (one.declared.place, one.declared.kind, one.declared.location))), style="bold")
        speak([line for finding in one.findings for line in _lines(finding)])
        say()


def _lines(finding: Finding) -> Iterator[Line]:
    sign, style = _SIGNS[finding.level]
    yield Line("", f"{sign} {finding.text}", style)
    if finding.advice:
        yield Line("", f"  → {finding.advice}", "cyan")


def _summary(found: Sequence[Finding]) -> str:
    counts = {level: sum(finding.level == level for finding in found) for level in _SIGNS}
    return f"{counts['ok']} well, {counts['note']} to know, {counts['wrong']} to mend"
