"""What verbs that delete payloads say of the files that held them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit
from keyturn.cli.output import note

if TYPE_CHECKING:
    from keyturn.assembly.erasing import Cleaned


def tell_files(ctx: click.Context, cleaned: Cleaned, *, again: bool) -> None:
    """Say what became of the files; `again` when nothing was left to delete. Exits 1 where they were not swept."""
    if again and not cleaned.problem:
        note("the files were swept again")
    for path in cleaned.left:
        note(f"still in {path}, which is no part of the log: delete it yourself")
    note("backups and exports made before keep what they have")
    if cleaned.problem:
        note(cleaned.problem)
        ctx.exit(Exit.FAILURE)
