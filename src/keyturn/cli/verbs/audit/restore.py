"""`keyturn audit restore`: put a copy in the place of the log, signed, with what is lost named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit, home_of
from keyturn.cli.output import AsJson, Column, emit, json_option, note
from keyturn.cli.signer import announced, signer_options

if TYPE_CHECKING:
    from keyturn.assembly.restoring import Restored

_COLUMNS = (
    Column("ENTRY", "entry"),
    Column("BY", "by", identifier=True),
    Column("SIZE", "size"),
    Column("MISSING", lambda row: row["missing"] and f"{row['missing']['size']}:{row['missing']['leaf']}"),
    Column("KEPT", "kept"),
)


@click.command(short_help="Put a copy in the place of the log, signed.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-m", "--reason", metavar="REASON", required=True, help="Why; it is recorded and signed.")
@click.option(
    "--expect",
    metavar="SIZE:LEAF|RECEIPT",
    help="The newest entry you know of, from a later backup or in a file with a receipt, if this home has forgotten.",
)
@signer_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    file: Path,
    reason: str,
    expect: str | None,
    key: Path | None,
    as_name: str | None,
    as_json: AsJson,
) -> None:
    """Verify FILE whole, put it in the place of the log, and record what is lost, signed by a reviewer.

    End the servers and workers of this home first. The log that is there is kept in state/replaced-…, never deleted.
    Afterwards approved actions need new reviews, and permitted ones that had not begun have to be asked for again.
    Exits 7 when FILE does not verify; nothing is changed then.
    """
    from keyturn.assembly.restoring import NotProvedWhole, restore
    from keyturn.verifier import in_words

    signer = announced(key, as_name, f"restore {file}")
    try:
        done = restore(home_of(ctx), file, expected=expect, reason=reason, signer=signer)
    except NotProvedWhole as failure:
        for line in in_words(failure.report):
            note(line)
        note("nothing was changed")
        ctx.exit(Exit.VERIFICATION_FAILED)
    emit(_row(done), as_json=as_json, columns=_COLUMNS)
    if done.missing is None:
        note("nothing is known to be missing; approved actions need new reviews all the same")
    else:
        note(f"lost is what came after the copy, of {done.missing.size} entries; approved actions need new reviews")


def _row(done: Restored) -> dict[str, object]:
    lost = None if done.missing is None else {"size": done.missing.size, "leaf": done.missing.leaf}
    kept = None if done.kept is None else str(done.kept)
    return {"entry": done.entry, "by": done.by, "size": done.size, "missing": lost, "kept": kept}
