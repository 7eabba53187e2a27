"""The verbs of `keyturn connector`."""

from __future__ import annotations

import click

from keyturn.cli.frame import Verbs


@click.group(cls=Verbs, package="keyturn.cli.verbs.connector")
def command() -> None:
    """See the systems acted on, and ask them who we are."""
