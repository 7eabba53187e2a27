"""`keyturn serve`: serves an assistant over stdio, as a program of its own."""

from __future__ import annotations

import os
import sys

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import note


@click.command(name="serve")
@click.option("--token-file", metavar="PATH", help="A file with the token, mode 0600 (default: $KEYTURN_TOKEN).")
@click.pass_context
def command(ctx: click.Context, token_file: str | None) -> None:
    """Serve an assistant over standard input and output (MCP).

    The client starts this itself: `keyturn client-config` prints what to paste into its configuration.
    """
    # -P keeps the current folder, which may be a project with a json.py of its own, off the module path.
    arguments = [sys.executable, "-P", "-m", "keyturn.server", "--home", str(home_of(ctx).folder)]
    if token_file is not None:
        arguments += ["--token-file", token_file]
    if sys.stdin.isatty():
        note("this speaks MCP to a client that starts it, not to a person; Ctrl-D ends it. See keyturn client-config")
    os.execv(sys.executable, arguments)
