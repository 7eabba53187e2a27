"""`keyturn audit keys revoke`: end an entry key that somebody else may have, signed."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.frame import home_of
from keyturn.cli.key_changes import tell
from keyturn.cli.output import AsJson, json_option
from keyturn.cli.screen import plain
from keyturn.cli.signer import announced, signer_options


@click.command(short_help="End a key that somebody else may have, signed.")
@click.argument("named", metavar="KEY")
@click.option("--compromised", is_flag=True, required=True, help="Say that somebody else may have it.")
@signer_options
@json_option
@click.pass_context
def command(
    ctx: click.Context, *, named: str, compromised: bool, key: Path | None, as_name: str | None, as_json: AsJson
) -> None:
    """End the entry key whose id begins with KEY, and put a new one in its place.

    Whoever has it can sign nothing more. What was written since it got into other hands is as it was: look at the
    entries, and hold the log against checkpoints and receipts kept elsewhere (`keyturn audit verify --against`).
    """
    from keyturn.assembly.keys import revoke_key

    signer = announced(key, as_name, f"end the entry key {plain(named)} as compromised")
    tell(revoke_key(home_of(ctx), named, signer), as_json)
