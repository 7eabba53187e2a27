"""`keyturn audit prove`: the evidence of one action, for whoever checks it with tools of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.ids import full_id, short_in
from keyturn.cli.looking import look
from keyturn.cli.output import AsJson, Column, emit, json_option, note
from keyturn.cli.withholding import warn_of_unknown

if TYPE_CHECKING:
    from keyturn.gateway.desk import Look

_COLUMNS = (
    Column("FOLDER", "folder"),
    Column("ACTION", "action"),
    Column("FILES", "files"),
)


@click.command(short_help="Write the evidence of one action.")
@click.argument("id_", metavar="ID")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to make (default: ID.evidence).",
)
@click.option(
    "--withhold", metavar="FIELD", multiple=True, help="Leave this payload out, as reason. May be repeated."
)
@json_option
@click.pass_context
def command(ctx: click.Context, /, id_: str, out: Path | None, withhold: tuple[str, ...], as_json: AsJson) -> None:
    """Write what proves one action into a folder: its entries, that each is in the log, payloads, and who agreed.

    The README.txt in it says how openssl, sha256sum and ssh-keygen check all of it.
    """
    from keyturn.assembly.evidence import prove_action

    action, short = look(ctx, lambda view: _named(view, id_))
    warn_of_unknown(home_of(ctx), withhold)
    folder = out or Path(f"{short}.evidence")
    count = prove_action(home_of(ctx), action, folder, frozenset(withhold))
    emit({"folder": str(folder), "action": action, "files": count}, as_json=as_json, columns=_COLUMNS)
    note(f"how to check it: {folder / 'README.txt'}")


def _named(view: Look, given: str) -> tuple[str, str]:
    action = full_id(view, given)
    return action, short_in(view, action)
