"""`keyturn limit list`: what is left of the limits."""

from __future__ import annotations

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, Row, emit, json_option, on_terminal
from keyturn.cli.times import minute


def _per(row: Row) -> str:
    return str(row["per"] if row["key"] in (None, row["principal"]) else f"{row['per']} {row['key']}")


def _counted(row: Row) -> str:
    window = f" in {row['window']}" if row["window"] else ""
    return f"{row['unit']}{window} per {_per(row)}"


_COLUMNS = (
    Column("PRINCIPAL", "principal", identifier=True),
    Column("RULE", "rule"),
    Column("UNIT", "unit"),
    Column("USED", "used"),
    Column("ALLOWED", "allowed"),
    Column("WINDOW", "window"),
    Column("PER", _per),
    Column("RESETS", "resets_at"),
)
_SCREEN = (
    Column("PRINCIPAL", "principal", identifier=True),
    Column("RULE", "rule"),
    Column("USED", lambda row: f"{row['used']} of {row['allowed']}", whole=True),
    Column("OF", _counted),
    Column("RESETS", lambda row: minute(row["resets_at"]), whole=True),
)
"""The same for the width of a terminal: what is counted, in how long and for whom, stands in one column."""


@click.command("list", short_help="List what is used of the limits.")
@click.option("--principal", metavar="NAME", help="Only the limits that bind this assistant.")
@json_option
@click.pass_context
def command(ctx: click.Context, principal: str | None, as_json: AsJson) -> None:
    """List the limits of the policy in force: what is used, what is allowed, and when the oldest use leaves."""
    from keyturn.assembly.administration import list_limits

    columns = _SCREEN if on_terminal() else _COLUMNS
    emit(list_limits(home_of(ctx), principal), as_json=as_json, columns=columns, empty="no limits bind anybody")
