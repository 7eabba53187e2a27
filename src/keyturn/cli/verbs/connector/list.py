"""`keyturn connector list`: which systems `keyturn.toml` declares."""

from __future__ import annotations

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, emit, json_option, note

_COLUMNS = (
    Column("PORT", "port"),
    Column("NAME", "name", identifier=True),
    Column("KIND", "kind"),
    Column("LOCATION", "location", identifier=True),
    Column("ACCOUNT", "account", identifier=True),
)


@click.command("list", short_help="List the systems that are declared.")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: AsJson) -> None:
    """List what keyturn.toml declares: where each system is, and as whom it is used, where that is known.

    Asks no system, reads no credential and runs no program for one.
    """
    from keyturn.assembly.connectors import declared

    found = declared(home_of(ctx))
    emit([one.to_json() for one in found], as_json=as_json, columns=_COLUMNS, empty="keyturn.toml declares no system")
    for problem in (problem for one in found for problem in one.problems):
        note(f"keyturn: {problem}")
