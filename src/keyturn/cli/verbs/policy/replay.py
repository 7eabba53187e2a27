"""`keyturn policy replay`: what a policy would have said to the requests in the ledger."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, emit_json, json_option, note
from keyturn.cli.policy_changes import show_replay

if TYPE_CHECKING:
    from keyturn.gateway.replaying import Replay


@click.command(short_help="Decide past requests once more, by another policy.")
@click.option("--text", metavar="SEQ|DIGEST", help="Use a policy of the ledger, not the file on disk.")
@json_option
@click.pass_context
def command(ctx: click.Context, text: str | None, as_json: AsJson) -> None:
    """Decide every request and read in the ledger by policy.toml, with what was used before it at that time.

    Shows those that would have been decided otherwise. Refused calls keep no arguments and cannot be replayed.
    Nothing is written.
    """
    from keyturn.assembly.changing import replay_all

    policy, found = replay_all(home_of(ctx), text)
    if as_json:
        emit_json({"policy": policy.digest, **found.to_json()}, as_json)
        return
    show_replay(found)
    _note_directions(found)


def _note_directions(found: Replay) -> None:
    counts = Counter(change.direction for change in found.changes)
    if counts:
        note(", ".join(f"{count} {direction}" for direction, count in sorted(counts.items())))
