"""The verbs of `keyturn witness`."""

from __future__ import annotations

import click

from keyturn.cli.frame import Verbs


@click.group(cls=Verbs, package="keyturn.cli.verbs.witness")
def command() -> None:
    """Watch others' logs, and cosign that they only grew."""
