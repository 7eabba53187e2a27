"""`keyturn version`: which program this is."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from keyturn.cli.output import AsJson, emit_json, json_option, say

FORMAT = "keyturn-ledger/v1"


@click.command(short_help="Print the versions of program and format.")
@json_option
def command(as_json: AsJson) -> None:
    """Print the version of Keyturn, and of the ledger format it reads and writes."""
    version, python = metadata.version("keyturn"), platform.python_version()
    if as_json:
        emit_json({"version": version, "format": FORMAT, "python": python}, as_json)
    else:
        say(f"keyturn {version} (ledger format {FORMAT}, Python {python})")
