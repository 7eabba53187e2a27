"""`keyturn witness init`: makes a witness, with a key and a memory of its own."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.output import AsJson, Column, emit, json_option, note, on_terminal, say

_COLUMNS = (Column("FOLDER", "folder"), Column("VERIFIER", "verifier"))


@click.command("init", short_help="Make a witness.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Its name in signatures, such as witness.example.com/keyturn.")
@click.option("--log", "logs", multiple=True, required=True, help="Verifier string of a log to watch (repeatable).")
@json_option
def command(*, folder: Path, name: str, logs: tuple[str, ...], as_json: AsJson) -> None:
    """Make a witness in a new folder, and print the verifier key by which others believe it.

    Its memory must live as long as its key: a witness that lost it could cosign two ledgers that contradict.
    """
    from keyturn.assembly.witness import make_witness

    made = make_witness(folder, name, logs)
    if on_terminal() and not as_json:
        say(made.verifier)
        note(f"give this key to the owners of the logs; then: keyturn witness serve {made.folder} --http HOST:PORT")
    else:
        emit({"folder": str(made.folder), "verifier": made.verifier}, as_json=as_json, columns=_COLUMNS)
