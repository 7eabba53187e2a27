"""`keyturn limit list`: what is left of the limits."""

from __future__ import annotations

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, emit, json_option
from keyturn.cli.times import minute

_COLUMNS = (
    Column("PRINCIPAL", "principal", identifier=True),
    Column("RULE", "rule"),
    Column("UNIT", "unit"),
    Column("USED", "used"),
    Column("ALLOWED", "allowed"),
    Column("WINDOW", "window"),
    Column("PER", lambda row: row["per"] if row["key"] in (None, row["principal"]) else f"{row['per']} {row['key']}"),
    Column("RESETS", lambda row: minute(row["resets_at"]), piped="resets_at", whole=True),
)


@click.command("list", short_help="List what is used of the limits.")
@click.option("--principal", metavar="NAME", help="Only the limits that bind this assistant.")
@json_option
@click.pass_context
def command(ctx: click.Context, principal: str | None, as_json: AsJson) -> None:
    """List the limits of the policy in force: what is used, what is allowed, and when the oldest use leaves."""
    from keyturn.assembly.administration import list_limits

    emit(list_limits(home_of(ctx), principal), as_json=as_json, columns=_COLUMNS, empty="no limits bind anybody")
