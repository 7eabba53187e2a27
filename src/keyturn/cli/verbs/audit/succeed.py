"""`keyturn audit succeed`: say in a new log which closed one it goes on from."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.frame import Exit, home_of
from keyturn.cli.output import AsJson, Column, emit, json_option, note

_COLUMNS = (
    Column("ENTRY", "entry"),
    Column("LOG", "log"),
    Column("GOES ON FROM", "before"),
    Column("ENTRIES", "size"),
)


@click.command(short_help="Say which closed log this one goes on from.")
@click.argument("before", metavar="OLD", type=click.Path(path_type=Path, exists=True))
@json_option
@click.pass_context
def command(ctx: click.Context, /, before: Path, as_json: AsJson) -> None:
    """Say in the log of this home, directly after `keyturn init`, that it goes on from the closed log OLD.

    OLD is the folder of its home, its ledger file or a bundle of it. It is verified first, and must have been closed
    in favour of this log. Needs the log key of this home. Exits 7 when OLD does not verify.
    """
    from keyturn.assembly.ending import NotProvedWhole, go_on
    from keyturn.verifier import in_words

    try:
        done = go_on(home_of(ctx), before)
    except NotProvedWhole as failure:
        for line in in_words(failure.report):
            note(line)
        note("nothing was changed")
        ctx.exit(Exit.VERIFICATION_FAILED)
    value = {"entry": done.entry, "log": done.log, "before": done.before, "size": done.size}
    emit(value, as_json=as_json, columns=_COLUMNS)
    if done.entry is None:
        note("the log said so before")
