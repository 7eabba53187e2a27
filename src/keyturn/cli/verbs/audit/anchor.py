"""`keyturn audit anchor`: brings the newest checkpoint to the anchors now, and says what each has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from keyturn.cli.frame import Exit, home_of
from keyturn.cli.output import AsJson, Column, emit, json_option

_COLUMNS = (
    Column("ANCHOR", "name", identifier=True),
    Column("TYPE", "type"),
    Column("SIZE", "size"),
    Column("SINCE", "at"),
    Column("PROBLEM", "problem"),
)


@click.command("anchor", short_help="Bring the newest checkpoint to the anchors.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@click.pass_context
def command(ctx: click.Context, names: Sequence[str], as_json: AsJson) -> None:
    """Sign what is news, bring the checkpoint to the anchors named, or to all, and say what each has.

    Servers and workers do this by themselves. Exits 1 when an anchor could not be brought up to date.
    """
    from keyturn.assembly.outward import anchor_now

    found = anchor_now(home_of(ctx), names)
    emit([asdict(one) for one in found], as_json=as_json, columns=_COLUMNS)
    if any(one.problem for one in found):
        ctx.exit(Exit.FAILURE)
