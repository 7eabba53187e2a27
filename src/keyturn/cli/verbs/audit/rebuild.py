"""`keyturn audit rebuild`: make again what is derived from the log: the table for listings, or the head record."""

from __future__ import annotations

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, emit_json, json_option, say


@click.command(short_help="Make again what is derived from the log.")
@click.option(
    "--head", is_flag=True, help="Make the record of the newest entry again instead, when it is missing or damaged."
)
@json_option
@click.pass_context
def command(ctx: click.Context, /, head: bool, as_json: AsJson) -> None:
    """Make the table `lookup` again from the entries: the one listings look in, which decides nothing.

    Servers and workers may go on meanwhile. Nothing is changed when an entry is not as it was written. With --head,
    whatever was cut off at the end is not noticed any more afterwards: first make sure that nothing was, with
    `keyturn audit verify` and receipts or a backup.
    """
    from keyturn.assembly.administration import rebuild_lookup, remake_head

    if head:
        entries = remake_head(home_of(ctx))
        if as_json:
            emit_json({"entries": entries}, as_json)
        else:
            say(f"the ledger is taken to end after {entries} entries")
        return
    rows = rebuild_lookup(home_of(ctx))
    if as_json:
        emit_json({"rows": rows}, as_json)
    else:
        say(f"{rows} rows, one for each entry")
