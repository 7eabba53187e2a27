"""`keyturn token list`: the tokens there are."""

from __future__ import annotations

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, emit, json_option
from keyturn.cli.times import minute

_COLUMNS = (
    Column("ID", "id", whole=True),
    Column("PRINCIPAL", "principal", identifier=True),
    Column("STATE", "state"),
    Column("EXPIRES", lambda row: minute(row["expires_at"]), piped="expires_at", whole=True),
    Column("TRANSPORTS", "transports"),
    Column("SCOPES", lambda row: "all of the principal's" if row["scopes"] is None else row["scopes"]),
    Column("ENTRY", "entry"),
)


@click.command("list", short_help="List every token.")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: AsJson) -> None:
    """List every token, oldest first: whose it is, how long it is good, and whether it was revoked."""
    from keyturn.assembly.administration import list_tokens

    emit(list_tokens(home_of(ctx)), as_json=as_json, columns=_COLUMNS, empty="there are no tokens")
