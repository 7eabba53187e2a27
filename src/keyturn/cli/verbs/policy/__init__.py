"""The verbs of `keyturn policy`."""

from __future__ import annotations

import click

from keyturn.cli.frame import Verbs


@click.group(
    cls=Verbs, package="keyturn.cli.verbs.policy", short_help="Check, test, explain, replay and change the policy."
)
def command() -> None:
    """Look at the policy: check a proposal, put it in force, ask what it would say."""
