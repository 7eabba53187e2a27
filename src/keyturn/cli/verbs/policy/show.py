"""`keyturn policy show`: the policy in force."""

from __future__ import annotations

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, emit_json, json_option, note
from keyturn.cli.screen import safe
from keyturn.model.time import format_timestamp


@click.command(short_help="Print the policy in force.")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: AsJson) -> None:
    """Print the policy in force, as the ledger holds it: the file on disk is only a proposal."""
    from keyturn.assembly.proposal import in_force

    force = in_force(home_of(ctx))
    if as_json:
        value = {
            "policy": force.digest,
            "entry": force.seq,
            "at": format_timestamp(force.at),
            "by": force.by,
            "reason": force.reason,
            "reviewers": {name: list(lines) for name, lines in force.reviewers.items()},
            "files": dict(force.files),
        }
        emit_json(value, as_json)
        return
    for text in force.files.values():
        click.echo(safe(text, lines=True), nl=False)
    who = f"activated by {force.by}" if force.by else "the log was founded with it"
    why = f' ("{force.reason}")' if force.reason else ""
    note(f"in force since {format_timestamp(force.at)}, entry {force.seq}: {who}{why}; {force.digest}")
