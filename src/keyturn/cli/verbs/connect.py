"""`keyturn connect`: leads a client to a server that runs elsewhere, as a program of its own."""

from __future__ import annotations

import os
import sys

import click

from keyturn.cli.output import note
from keyturn.model.errors import ConfigurationError
from keyturn.server.bridge.target import Target, read_target


class Place(click.ParamType[Target]):
    """Where a server listens: https://HOST:PORT, http:// on this machine, or unix:PATH."""

    name = "target"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Target:
        """Return the target."""
        try:
            return read_target(str(value))
        except ConfigurationError as error:
            self.fail(str(error), param, ctx)


@click.command(name="connect", short_help="Lead an assistant to a Keyturn elsewhere (MCP).")
@click.argument("target", metavar="URL|unix:PATH", type=Place())
@click.option("--token-file", metavar="PATH", help="A file with the token, mode 0600 (default: $KEYTURN_TOKEN).")
def command(target: Target, token_file: str | None) -> None:
    """Serve an assistant over standard input and output by leading it to a Keyturn that listens at URL or PATH.

    It holds the assistant's token and nothing else: no home is needed. Plain http:// is taken for this machine alone.
    The client starts this itself: `keyturn client-config CLIENT --connect URL` prints what to paste.
    """
    # -P keeps the current folder, which may be a project with a json.py of its own, off the module path.
    place = target.url if target.socket is None else str(target)
    arguments = [sys.executable, "-P", "-m", "keyturn.server.bridge", place]
    if token_file is not None:
        arguments += ["--token-file", token_file]
    if sys.stdin.isatty():
        note("this speaks MCP to a client that starts it, not to a person; Ctrl-D ends it. See keyturn client-config")
    os.execv(sys.executable, arguments)
