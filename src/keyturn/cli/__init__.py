"""One file per verb; it only speaks."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from keyturn.cli.frame import Global, Root, errors_spoken


@click.group(
    cls=Root,
    package="keyturn.cli.verbs",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--home", metavar="DIR", help="The home to use (default: $KEYTURN_HOME, else the current folder).")
@click.option("--no-input", is_flag=True, help="Never ask anything; fail instead.")
@click.pass_context
def keyturn(ctx: click.Context, home: str | None, no_input: bool) -> None:
    """Act on production under two keys: approve what assistants ask, and prove what happened."""
    ctx.obj = Global(home, no_input)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with one of `frame.Exit`."""
    with errors_spoken():
        # Not click's standalone mode: it knows neither our errors nor our exit codes.
        code = keyturn.main(args=arguments, prog_name="keyturn", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
