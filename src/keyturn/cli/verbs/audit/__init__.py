"""The verbs of `keyturn audit`."""

from __future__ import annotations

import click

from keyturn.cli.frame import Verbs


@click.group(cls=Verbs, package="keyturn.cli.verbs.audit")
def command() -> None:
    """Read the log, and prove that nobody changed it."""
