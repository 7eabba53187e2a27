"""The verbs of `keyturn freeze`."""

from __future__ import annotations

import click

from keyturn.cli.frame import Verbs


@click.group(cls=Verbs, package="keyturn.cli.verbs.freeze")
def command() -> None:
    """See what is frozen, and set a freeze aside."""
