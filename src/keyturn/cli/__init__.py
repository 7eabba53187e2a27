"""One file per verb; it only speaks."""

from __future__ import annotations

import click

from keyturn.cli.frame import Global, Verbs, errors_spoken


@click.group(
    cls=Verbs,
    package="keyturn.cli.verbs",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--home", metavar="DIR", help="The home to use (default: $KEYTURN_HOME, else the current folder).")
@click.pass_context
def keyturn(ctx: click.Context, home: str | None) -> None:
    """Act on production under two keys: approve what assistants ask, and prove what happened."""
    ctx.obj = Global(home)


def main() -> None:
    """Run the command line."""
    with errors_spoken():
        keyturn(prog_name="keyturn")
