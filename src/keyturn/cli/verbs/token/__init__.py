"""The verbs of `keyturn token`."""

from __future__ import annotations

import click

from keyturn.cli.frame import Verbs


@click.group(cls=Verbs, package="keyturn.cli.verbs.token")
def command() -> None:
    """Make, list and revoke the tokens of assistants."""
