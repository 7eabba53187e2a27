"""`keyturn audit checkpoint`: a signed note of the log's size and root, to keep elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import note


@click.command("checkpoint", short_help="Sign size and root of the log, to keep elsewhere.")
@click.option("--out", type=click.Path(path_type=Path), help="Write it to this new file instead of printing it.")
@click.pass_context
def command(ctx: click.Context, /, *, out: Path | None) -> None:
    """Sign a checkpoint of the log as it is now, and print it: a note of C2SP's form.

    Whoever keeps it can prove later that nothing before it was changed or cut off, with
    `keyturn audit verify --against`. Without the log key at hand the newest checkpoint there is gets printed.
    """
    from keyturn.assembly.outward import checkpoint_now
    from keyturn.model.errors import ConfigurationError

    kept = checkpoint_now(home_of(ctx))
    if out is None:
        click.echo(kept.note.decode("utf-8"), nl=False)
        return
    try:
        with out.open("xb") as file:
            file.write(kept.note)
    except OSError as error:
        raise ConfigurationError(f"{out}: {error.strerror}") from error
    note(f"{out}: the checkpoint of {kept.checkpoint.size} entries")
