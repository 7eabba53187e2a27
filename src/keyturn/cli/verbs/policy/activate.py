"""`keyturn policy activate`: put the proposed policy in force, signed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, emit_json, json_option, note, on_terminal, say
from keyturn.cli.screen import safe
from keyturn.cli.signer import signer_of, signer_options

if TYPE_CHECKING:
    from keyturn.assembly.home import Home


@click.command(short_help="Put policy.toml in force, signed.")
@click.option("-m", "--reason", metavar="REASON", required=True, help="Why; kept in the ledger.")
@click.option("--to", "to", metavar="SEQ|DIGEST", help="Put a policy of the ledger in force, not the file on disk.")
@signer_options
@json_option
@click.pass_context
def command(
    ctx: click.Context, *, reason: str, to: str | None, key: Path | None, as_name: str | None, as_json: AsJson
) -> None:
    """Put policy.toml in force. A reviewer of the policy in force signs; what the new one says does not count yet.

    Its cases must pass, and where the policy in force asks for several signatures (`[policy] approval`), as many
    people must have signed, who activates included. With --to an earlier policy comes back in the same way.
    Exits 6 when a signature is missing, or not of somebody the policy in force lists.
    """
    from keyturn.assembly.changing import earlier
    from keyturn.assembly.proposal import activate, read_proposal

    home = home_of(ctx)
    proposal = read_proposal(home) if to is None else earlier(home, to)
    policy, force = proposal.candidate.policy, proposal.force
    signer = signer_of(force.reviewers, key, as_name)
    if on_terminal() and not as_json:
        click.echo(safe(proposal.difference, lines=True), nl=False)
    entry = activate(home, proposal, reason, signer.name, signer.sign)
    warnings = policy.warnings()
    if as_json:
        value = {"policy": policy.digest, "previous": force.digest, "entry": entry, "by": signer.name}
        emit_json({**value, "warnings": list(warnings)}, as_json)
        return
    say(f"in force: {policy.digest} (entry {entry}, signed by {signer.name})")
    for warning in warnings:
        note(f"warning: {warning}")
    if to is not None and _differs(home, policy.digest):
        note("policy.toml is another one still: keyturn policy show prints what is in force")


def _differs(home: Home, digest: str) -> bool:
    from keyturn.canon import manifest_digest
    from keyturn.model.errors import ConfigurationError

    try:
        return manifest_digest(home.policy_files()) != digest
    except ConfigurationError:
        return True
