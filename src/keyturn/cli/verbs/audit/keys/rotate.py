"""`keyturn audit keys rotate`: another entry key in the place of the present one, signed."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.frame import home_of
from keyturn.cli.key_changes import tell
from keyturn.cli.output import AsJson, json_option
from keyturn.cli.signer import announced, signer_options


@click.command(short_help="Change the entry key, signed.")
@signer_options
@json_option
@click.pass_context
def command(ctx: click.Context, /, key: Path | None, as_name: str | None, as_json: AsJson) -> None:
    """Make a new entry key and end the present one, while servers and workers run: they take the new one up at once.

    Needs the log key, and a reviewer's signature. The old private key is gone afterwards: whoever finds a copy of it
    can write nothing more, nor change what was written before the change.
    """
    from keyturn.assembly.keys import rotate_key

    signer = announced(key, as_name, "change the entry key")
    tell(rotate_key(home_of(ctx), signer), as_json)
