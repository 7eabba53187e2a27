"""`keyturn audit backup`: a consistent, verified copy of the log in one file."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.frame import Exit, home_of
from keyturn.cli.output import AsJson, Column, emit, json_option, note

_COLUMNS = (
    Column("FILE", "file"),
    Column("VERDICT", "verdict"),
    Column("SIZE", "size"),
    Column("LEAF", "leaf"),
)


@click.command(short_help="Copy the log to a file, and verify the copy.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@json_option
@click.pass_context
def command(ctx: click.Context, /, file: Path, as_json: AsJson) -> None:
    """Copy the log to the new file FILE, newest entries included, and verify the copy. Servers may go on meanwhile.

    Keep what it prints with the copy or apart from it: size and last leaf say what a restore would have to reach. The
    home's keys are not in it. Exits 7 when the copy does not verify; it is kept as evidence then.
    """
    from keyturn.assembly.restoring import NotProvedWhole, back_up
    from keyturn.verifier import in_words

    home = home_of(ctx)
    try:
        done = back_up(home, file)
    except NotProvedWhole as failure:
        for line in in_words(failure.report):
            note(line)
        ctx.exit(Exit.VERIFICATION_FAILED)
    value = {"file": str(file), "verdict": done.report.verdict, "size": done.end.size, "leaf": done.end.leaf}
    emit(value, as_json=as_json, columns=_COLUMNS)
    note("not in it, so keep copies of: state/keys (private: whoever has them can write this log), policy.toml,")
    note("keyturn.toml, tool_schemas/, and the systems acted on")
