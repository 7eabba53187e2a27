"""`keyturn audit erase`: delete payloads and their salts, signed; every proof stays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.ids import full_id
from keyturn.cli.looking import look
from keyturn.cli.output import AsJson, Column, emit, json_option, note
from keyturn.cli.screen import plain
from keyturn.cli.signer import announced, signer_options
from keyturn.cli.sweeping import tell_files

if TYPE_CHECKING:
    from keyturn.gateway.desk import Look

_COLUMNS = (
    Column("ENTRY", "entry"),
    Column("FIELD", "field"),
    Column("ERASED BY", "erased_by"),
)


@click.command(short_help="Delete payloads, signed; proofs stay.")
@click.argument("named", metavar="ID|ENTRY")
@click.option(
    "--field", "fields", metavar="NAME", multiple=True, required=True, help="A payload, such as reason (repeatable)."
)
@click.option("--basis", metavar="WORDS", required=True, help="On what ground; it is recorded and signed.")
@signer_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    named: str,
    fields: tuple[str, ...],
    basis: str,
    key: Path | None,
    as_name: str | None,
    as_json: AsJson,
) -> None:
    """Delete payloads of the action ID that is over, or of the entry at the place ENTRY, and record that.

    Bytes and salts go from the log's files, and are in no export made later; entries, chain and proofs stay as they
    are. One signature is asked for each payload. Backups and exports made before keep what they have; these are for
    you to delete. The file of the log is written anew meanwhile, and nobody else can write: choose a quiet hour.
    """
    from keyturn.assembly.erasing import erase_payloads

    signer = announced(key, as_name, f"erase {plain(', '.join(fields))} of {plain(named)}")
    meant = look(ctx, lambda view: _meant(view, named))
    done = erase_payloads(home_of(ctx), meant, fields, basis=basis, signer=signer)
    rows = [
        {"entry": seq, "field": field, "erased_by": by}
        for (seq, field), by in zip(done.what, done.entries, strict=True)
    ]
    emit(rows, as_json=as_json, columns=_COLUMNS)
    if not rows:
        note("all of it was erased before; old ledgers below state/ could be searched for it only then")
    tell_files(ctx, done.cleaned, again=not rows)


def _meant(view: Look, named: str) -> str:
    """Return a place in the log as it is, and else the whole id."""
    place = named.isascii() and named.isdigit() and int(named) < view.head.size
    return named if place else full_id(view, named)
