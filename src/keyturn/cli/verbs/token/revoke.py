"""`keyturn token revoke`: end a token at once."""

from __future__ import annotations

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, emit_json, json_option, say


@click.command(short_help="End one token, or all of an assistant.")
@click.argument("named", metavar="ID|NAME")
@json_option
@click.pass_context
def command(ctx: click.Context, named: str, as_json: AsJson) -> None:
    """End a token by the beginning of its ID, or all tokens of the assistant NAME.

    Taking authority away needs no signature; your account's name is recorded. It holds for the next call.
    """
    from keyturn.assembly.administration import end_tokens

    ended = end_tokens(home_of(ctx), named)
    if as_json:
        emit_json({"revoked": list(ended)}, as_json)
        return
    for token in ended:
        say(f"revoked {token}")
