"""`keyturn audit close`: end the log, signed; nothing follows."""

from __future__ import annotations

import os
from pathlib import Path

import click

from keyturn.cli.files import write_new
from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, emit, json_option, note
from keyturn.cli.screen import plain
from keyturn.cli.signer import announced, signer_options

_COLUMNS = (
    Column("ENTRY", "entry"),
    Column("LOG", "log"),
    Column("SUCCESSOR", "successor"),
)


@click.command(short_help="End the log, signed; nothing follows.")
@click.option(
    "--successor",
    metavar="HOME|VERIFIER",
    help="The log that goes on in its place: the folder of its home, or its verifier string.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the last checkpoint to this new file, to keep elsewhere.",
)
@signer_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    successor: str | None,
    out: Path | None,
    key: Path | None,
    as_name: str | None,
    as_json: AsJson,
) -> None:
    """End the log of this home for good: no server, worker or verb writes to it from then on.

    Everything that was begun must be over. Needs the log key and a reviewer's signature. The last checkpoint goes to
    every anchor; run the verb again to bring it to those that did not answer.
    """
    from keyturn.assembly.ending import close_log
    from keyturn.model.errors import ConfigurationError

    if out is not None and os.path.lexists(out):
        raise ConfigurationError(f"{out}: exists; name another with --out FILE; nothing was done")
    signer = announced(key, as_name, "close the log for good")
    done = close_log(home_of(ctx), successor, signer)
    if out is not None:
        write_new(out, done.note)
    value = {"entry": done.entry, "log": done.log, "successor": done.successor, "problems": list(done.problems)}
    emit(value, as_json=as_json, columns=_COLUMNS)
    for problem in done.problems:
        note(f"did not get the last checkpoint: {plain(problem)}; run the verb again")
    if done.successor is not None:
        note("now say so in the other home, before anything is done there: keyturn --home NEW audit succeed OLD")
