"""`keyturn policy propose`: put a policy before those who must sign for it."""

from __future__ import annotations

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, emit_json, json_option, note, say
from keyturn.cli.policy_changes import told_standing


@click.command(short_help="Put policy.toml before those who must endorse it.")
@click.option("-m", "--reason", metavar="REASON", required=True, help="Why; kept in the ledger.")
@click.option("--to", "to", metavar="SEQ|DIGEST", help="Propose a policy of the ledger, not the file on disk.")
@json_option
@click.pass_context
def command(ctx: click.Context, reason: str, to: str | None, as_json: AsJson) -> None:
    """Record policy.toml, with its cases, for the people whose signatures the policy in force asks for.

    That needs no signature of its own, and puts nothing in force. Its cases must pass.
    """
    from keyturn.assembly.changing import earlier, propose, standing_of
    from keyturn.assembly.proposal import read_proposal

    home = home_of(ctx)
    candidate = (read_proposal(home) if to is None else earlier(home, to)).candidate
    entry = propose(home, candidate, reason)
    digest = candidate.policy.digest
    standing = standing_of(home)
    if as_json:
        needed = None if standing.guard is None else standing.guard.quorum
        emit_json({"policy": digest, "entry": entry, "signatures": 0, "needed": needed}, as_json)
        return
    say(f"proposed: {digest} (entry {entry})")
    note(told_standing(standing, entry, ()))
    if standing.guard is not None:
        note(f"to endorse it: keyturn policy endorse {entry} -m REASON")
