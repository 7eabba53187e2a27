"""`keyturn audit keys list`: the keys of the log, since when they sign, and where their private halves are."""

from __future__ import annotations

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, emit, json_option

_COLUMNS = (
    Column("KEY", "kid", whole=True),
    Column("DUTY", "duty"),
    Column("SINCE", "since"),
    Column("STATE", "state"),
    Column("PRIVATE HALF", "private"),
)


@click.command("list", short_help="List the keys that sign or signed the log.")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: AsJson) -> None:
    """List the log key and every entry key: since which entry it signs, until when it did, and where it is kept."""
    from keyturn.assembly.keys import list_keys

    emit(list_keys(home_of(ctx)), as_json=as_json, columns=_COLUMNS)
