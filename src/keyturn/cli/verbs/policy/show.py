"""`keyturn policy show`: the policy in force."""

from __future__ import annotations

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, emit_json, json_option, note
from keyturn.cli.screen import safe
from keyturn.model.errors import Refused
from keyturn.model.time import format_timestamp


@click.command(short_help="Print the policy in force.")
@click.argument("path", default="policy.toml", required=False)
@json_option
@click.pass_context
def command(ctx: click.Context, path: str, as_json: AsJson) -> None:
    """Print the policy in force, as the ledger holds it: the file on disk is only a proposal.

    PATH names another of its files, such as one of its cases.
    """
    from keyturn.assembly.proposal import in_force

    force = in_force(home_of(ctx))
    if path not in force.files:
        raise Refused("not_found", f"the policy in force has no file {path!r}; it has: {', '.join(force.files)}")
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
    click.echo(safe(force.files[path], lines=True), nl=False)
    who = f"activated by {force.by}" if force.by else "the log was founded with it"
    why = f' ("{force.reason}")' if force.reason else ""
    note(f"in force since {format_timestamp(force.at)}, entry {force.seq}: {who}{why}; {force.digest}")
    others = [name for name in force.files if name != path]
    if others:
        note(f"it has other files, each to be named after `show`: {', '.join(others)}")
