"""`keyturn witness show`: what a witness saw last of every log."""

from __future__ import annotations

import base64
from pathlib import Path

import click

from keyturn.cli.output import AsJson, Column, emit, json_option

_COLUMNS = (Column("LOG", "origin", identifier=True), Column("SIZE", "size"), Column("ROOT", "root"))


@click.command("show", short_help="Show what a witness saw last.")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def command(*, folder: Path, as_json: AsJson) -> None:
    """Show size and root of the latest checkpoint that the witness cosigned, of every log."""
    from keyturn.assembly.witness import open_witness

    rows = [
        {"origin": one.origin, "size": one.size, "root": base64.b64encode(one.root).decode("ascii")}
        for one in open_witness(folder).store.latest()
    ]
    emit(rows, as_json=as_json, columns=_COLUMNS, empty="it has cosigned nothing yet")
