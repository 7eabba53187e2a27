"""`keyturn schema`: what editors need to complete and check a home's files."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.output import AsJson, emit_json, json_option, note
from keyturn.model.errors import ConfigurationError

_ABOUT = ("policy", "part", "cases", "wiring")


@click.command(short_help="Print the JSON Schema of policy.toml or keyturn.toml.")
@click.argument("about", metavar="[policy|part|cases|wiring]", type=click.Choice(_ABOUT), default="policy")
@click.option(
    "--into", metavar="FOLDER", type=click.Path(path_type=Path), help="Write all four as files into this folder."
)
@json_option
def command(*, about: str, into: Path | None, as_json: AsJson) -> None:
    """Print the JSON Schema of policy.toml, of a file that it includes, of its cases, or of keyturn.toml.

    Editors complete and check such files by it: `#:schema ./policy.schema.json` in the first line of a file names its
    schema to those that use Taplo. No home is needed.
    """
    from keyturn.assembly.schemas import schemas, write_schemas, written

    if into is None and as_json:
        emit_json(schemas()[about], as_json)
        return
    if into is None:
        click.echo(written(schemas()[about]), nl=False)
        return
    try:
        made = write_schemas(into)
    except OSError as error:
        raise ConfigurationError(f"{error.filename or into}: {error.strerror}") from error
    if as_json:
        emit_json({"written": [str(path) for path in made]}, as_json)
        return
    for path in made:
        click.echo(path)
    note(f"name one in the first line of a file beside them: #:schema ./{made[0].name}")
