"""`keyturn serve`: serves an assistant over stdio, or many over HTTP, as a program of its own."""

from __future__ import annotations

import os
import sys

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import note


@click.command(name="serve", short_help="Serve an assistant over stdio, or many over HTTP (MCP).")
@click.option("--token-file", metavar="PATH", help="A file with the token, mode 0600 (default: $KEYTURN_TOKEN).")
@click.option(
    "--http", metavar="HOST:PORT", help="Serve over HTTP on this address, at /mcp; tokens come with requests."
)
@click.option("--socket", metavar="PATH", help="Serve over HTTP on this socket file, for its group (mode 0660).")
@click.option("--log", type=click.Choice(["text", "json"]), default="text", help="How lines on stderr are written.")
@click.option(
    "--metrics", metavar="HOST:PORT", help="Serve metrics for Prometheus here, at /metrics (over HTTP only)."
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    token_file: str | None,
    http: str | None,
    socket: str | None,
    log: str,
    metrics: str | None,
) -> None:
    """Serve an assistant over standard input and output (MCP).

    The client starts this itself: `keyturn client-config` prints what to paste into its configuration. With --http or
    --socket, serve many assistants over HTTP, execute what is approved, and on SIGTERM finish what runs.
    """
    if token_file is not None and (http or socket):
        raise click.UsageError("--token-file is for stdio; over HTTP each request brings its own token.")
    if metrics is not None and not (http or socket):
        raise click.UsageError("--metrics is for --http and --socket; over stdio a server comes and goes.")
    # -P keeps the current folder, which may be a project with a json.py of its own, off the module path.
    arguments = [sys.executable, "-P", "-m", "keyturn.server", "--home", str(home_of(ctx).folder)]
    given = (("--token-file", token_file), ("--http", http), ("--socket", socket), ("--metrics", metrics))
    for option, value in (*given, ("--log", None if log == "text" else log)):
        if value is not None:
            arguments += [option, value]
    if http is None and socket is None and sys.stdin.isatty():
        note("this speaks MCP to a client that starts it, not to a person; Ctrl-D ends it. See keyturn client-config")
    os.execv(sys.executable, arguments)
