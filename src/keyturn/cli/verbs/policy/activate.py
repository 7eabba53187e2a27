"""`keyturn policy activate`: put the proposed policy in force, signed."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.acting import act_signer
from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, emit_json, json_option, note, on_terminal, say
from keyturn.cli.screen import safe
from keyturn.cli.signer import signer_options


@click.command()
@click.option("-m", "--reason", metavar="REASON", required=True, help="Why; kept in the ledger.")
@signer_options
@json_option
@click.pass_context
def command(ctx: click.Context, reason: str, key: Path | None, as_name: str | None, as_json: AsJson) -> None:
    """Put policy.toml in force. A reviewer of the policy in force signs; what the new one says does not count yet.

    Exits 6 when the signature is not of somebody the policy in force lists.
    """
    from keyturn.approvals.statement import ACT_NAMESPACE
    from keyturn.assembly.build import read_own_catalog
    from keyturn.assembly.proposal import diff_to_force, in_force
    from keyturn.assembly.standing import open_ledger
    from keyturn.gateway.acts import draft_activation, read_candidate, submit_act

    home = home_of(ctx)
    candidate = read_candidate(home.policy_files(), read_own_catalog(home))
    force = in_force(home)
    signer = act_signer(force.reviewers, key, as_name)
    ledger = open_ledger(home, "keyturn policy activate")
    try:
        draft = draft_activation(ledger, candidate, signer.name, reason)
        if on_terminal() and not as_json:
            click.echo(safe(diff_to_force(force, candidate.files), lines=True), nl=False)
        entry = submit_act(ledger, draft, signer.sign(draft.to_sign, ACT_NAMESPACE))
    finally:
        ledger.close()
    warnings = candidate.policy.warnings()
    if as_json:
        value = {"policy": candidate.policy.digest, "previous": force.digest, "entry": entry.seq, "by": signer.name}
        emit_json({**value, "warnings": list(warnings)}, as_json)
        return
    say(f"in force: {candidate.policy.digest} (entry {entry.seq}, signed by {signer.name})")
    for warning in warnings:
        note(f"warning: {warning}")
