"""`keyturn audit keys rotate`: another entry key in the place of the present one, signed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from keyturn.cli.frame import home_of
from keyturn.cli.key_changes import tell
from keyturn.cli.output import AsJson, json_option, note
from keyturn.cli.screen import plain
from keyturn.cli.signer import signer_of, signer_options


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

    def signer(people: Mapping[str, Sequence[str]]) -> tuple[str, Callable[[bytes, str], bytes]]:
        chosen = signer_of(people, key, as_name)
        note(f"change the entry key, in the name of {plain(chosen.name)}")
        return chosen.name, chosen.sign

    tell(rotate_key(home_of(ctx), signer), as_json)
