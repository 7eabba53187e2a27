"""`keyturn audit rebuild`: make the table that listings use again from the log."""

from __future__ import annotations

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, emit_json, json_option, say


@click.command()
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: AsJson) -> None:
    """Make the table `lookup` again from the entries: the one listings look in, which decides nothing.

    Servers and workers may go on meanwhile. Nothing is changed when an entry is not as it was written.
    """
    from keyturn.assembly.administration import rebuild_lookup

    rows = rebuild_lookup(home_of(ctx))
    if as_json:
        emit_json({"rows": rows}, as_json)
    else:
        say(f"{rows} rows, one for each entry")
