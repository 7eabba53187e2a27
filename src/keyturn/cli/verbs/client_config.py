"""`keyturn client-config`: what to paste into an MCP client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.assembly.clients import CLIENTS, bridge_to, snippet_for, start_of
from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, emit_json, json_option, note
from keyturn.cli.verbs.connect import Place
from keyturn.model.errors import Refused

if TYPE_CHECKING:
    from keyturn.assembly.home import Home
    from keyturn.server.bridge.target import Target

ANYBODY = "your assistant"


@click.command(short_help="Print what to paste into an MCP client.")
@click.argument("client", metavar="CLIENT", type=click.Choice(CLIENTS))
@click.option(
    "--connect",
    "target",
    metavar="URL|unix:PATH",
    type=Place(),
    help="Lead it to a Keyturn that listens there; no home is needed.",
)
@click.option(
    "--token-file",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="The token lies in this 0600 file, not in the client's configuration.",
)
@click.option("--principal", metavar="NAME", help="Whose token the client will hold (default: the only principal).")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    client: str,
    target: Target | None,
    token_file: Path | None,
    principal: str | None,
    as_json: AsJson,
) -> None:
    """Print what to paste into CLIENT so that it starts this home's server. It never holds a token.

    CLIENT is claude-code, claude-desktop, vscode, cursor or inspector. With --connect it starts a bridge to a server
    that runs elsewhere instead.
    """
    file = None if token_file is None else token_file.expanduser().absolute()
    if target is not None:
        start = bridge_to(str(target), principal or ANYBODY, file)
    else:
        home = home_of(ctx)
        start = start_of(home, _principal(home, principal), file)
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
    if snippet.then:
        note(snippet.then)


def _principal(home: Home, named: str | None) -> str:
    from keyturn.assembly.proposal import in_force

    known = in_force(home).principals
    if named is None:
        return known[0] if len(known) == 1 else ANYBODY
    if named not in known:
        raise Refused("not_found", f"the policy in force has no principal {named!r}; it has: {', '.join(known)}")
    return named
