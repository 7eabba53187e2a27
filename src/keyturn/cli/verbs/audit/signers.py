"""`keyturn audit signers`: whose keys may sign, as ssh-keygen reads it, and what was signed."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.frame import home_of
from keyturn.cli.ids import full_id
from keyturn.cli.looking import look
from keyturn.cli.output import note
from keyturn.model.errors import Refused


@click.command(short_help="List whose keys may sign, for ssh-keygen.")
@click.argument("id_", metavar="[ID]", required=False)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to make for an action's.",
)
@click.pass_context
def command(ctx: click.Context, /, id_: str | None, out: Path | None) -> None:
    """Print the reviewers and their keys in the policy in force, as an allowed-signers file of OpenSSH.

    Of an action ID: those that its request lists; with --out DIR also each statement that somebody signed and its
    signature, so that `ssh-keygen -Y verify -n keyturn.review.v1 -I NAME -f signers -s N-NAME.review.sig <
    N-NAME.review` checks it.
    """
    from keyturn.assembly.evidence import signers_at, write_folder
    from keyturn.evidence.signers import BOTH, allowed_signers, signed_files, signers_of
    from keyturn.gateway.finding import find_entries

    if id_ is None:
        if out is not None:
            raise click.UsageError("--out DIR is for the statements of an action: give its ID")
        click.echo(allowed_signers(signers_at(home_of(ctx)), BOTH), nl=False)
        return
    story = look(ctx, lambda view: find_entries(view, full_id(view, id_)))
    signers = signers_of(story)
    if not signers:
        raise Refused("not_found", f"nobody was asked to review {id_}: its request lists no reviewers")
    if out is None:
        click.echo(signers, nl=False)
        return
    files = list(signed_files(story))
    write_folder(out, [("signers", signers.encode("utf-8")), *files])
    for name, _ in files[::2]:
        note(_hint(out, name))


def _hint(folder: Path, name: str) -> str:
    from keyturn.evidence.signers import namespace_of, person_of

    who, space = person_of(name), namespace_of(name)
    return f"ssh-keygen -Y verify -f {folder}/signers -I {who} -n {space} -s {folder}/{name}.sig < {folder}/{name}"
