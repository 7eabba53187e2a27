"""`keyturn action export`: a request in one file, for reviewing it on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.files import write_new
from keyturn.cli.ids import full_id, short_in
from keyturn.cli.looking import look
from keyturn.cli.output import note

if TYPE_CHECKING:
    from keyturn.gateway.desk import Look


@click.command(name="export")
@click.argument("id_", metavar="ID")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write here (default: ID.request.json in the current folder; - for standard output).",
)
@click.pass_context
def command(ctx: click.Context, /, id_: str, output: Path | None) -> None:
    """Write a request to a file.

    It takes the signed entry, all it commits to, and the salts, so that another machine can check it.

    The file holds everything the assistant asked for: treat it as you treat the ledger.
    """
    data, short = look(ctx, lambda view: _export(view, id_))
    path = output or Path(f"{short}.request.json")
    write_new(path, data)
    note(f"wrote {path}; on the other machine: keyturn review {path} --approve|--deny -m REASON")


def _export(view: Look, given: str) -> tuple[bytes, str]:
    from keyturn.gateway.detached import export_request

    action_id = full_id(view, given)
    return export_request(view, action_id), short_in(view, action_id)
