"""The verbs of `keyturn audit keys`."""

from __future__ import annotations

import click

from keyturn.cli.frame import Verbs


@click.group("keys", cls=Verbs, package="keyturn.cli.verbs.audit.keys")
def command() -> None:
    """List and change the keys that sign the log."""
