"""`keyturn client-config`: what to paste into an MCP client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from keyturn.assembly.clients import CLIENTS, snippet_for, start_of
from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, emit_json, json_option, note
from keyturn.model.errors import Refused

if TYPE_CHECKING:
    from keyturn.assembly.home import Home


@click.command(short_help="Print what to paste into an MCP client.")
@click.argument("client", metavar="CLIENT", type=click.Choice(CLIENTS))
@click.option("--principal", metavar="NAME", help="Whose token the client will hold (default: the only principal).")
@json_option
@click.pass_context
def command(ctx: click.Context, client: str, principal: str | None, as_json: AsJson) -> None:
    """Print what to paste into CLIENT so that it starts this home's server. It never holds a token.

    CLIENT is claude-code, claude-desktop, vscode, cursor or inspector.
    """
    home = home_of(ctx)
    start = start_of(home, _principal(home, principal))
    snippet = snippet_for(client, start)
    if start.warning is not None:
        note(f"warning: {start.warning}")
    if as_json:
        value = {"client": client, "place": snippet.place, "paste": snippet.text, "then": snippet.then}
        emit_json(value, as_json)
        return
    click.echo(snippet.text, nl=False)
    note("")
    note(f"Paste it into {snippet.place}.")
    note(snippet.then)


def _principal(home: Home, named: str | None) -> str:
    from keyturn.assembly.proposal import in_force

    known = in_force(home).principals
    if named is None:
        return known[0] if len(known) == 1 else "your assistant"
    if named not in known:
        raise Refused("not_found", f"the policy in force has no principal {named!r}; it has: {', '.join(known)}")
    return named
