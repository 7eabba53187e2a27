"""`keyturn demo`: the whole way of an action, told on a fresh home."""

from __future__ import annotations

import os
import sys

import click


@click.command(
    name="demo", context_settings={"ignore_unknown_options": True}, add_help_option=False, short_help="See it work."
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def command(options: tuple[str, ...]) -> None:
    """See the whole way of an action on a fresh home, in under 20 seconds.

    Options: --keep DIR, --json, and --forge URL --repository OWNER/NAME for a pull request on a forge.
    """
    os.execv(sys.executable, [sys.executable, "-m", "keyturn.demo", *options])
