"""The verbs of `keyturn limit`."""

from __future__ import annotations

import click

from keyturn.cli.frame import Verbs


@click.group(cls=Verbs, package="keyturn.cli.verbs.limit")
def command() -> None:
    """See what is left of the limits."""
