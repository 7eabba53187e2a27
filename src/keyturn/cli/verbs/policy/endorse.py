"""`keyturn policy endorse`: sign for a proposed policy, after seeing what it changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, emit_json, json_option, note, say
from keyturn.cli.policy_changes import show_replay, told_standing
from keyturn.cli.screen import safe
from keyturn.cli.signer import signer_of, signer_options

if TYPE_CHECKING:
    from keyturn.assembly.changing import Brief


@click.command(short_help="Show what a proposed policy changes, and sign for it.")
@click.argument("proposal", required=False, metavar="[SEQ|DIGEST]")
@click.option("-m", "--reason", metavar="REASON", help="Why; kept in the ledger. Without it nothing is signed.")
@signer_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    proposal: str | None,
    reason: str | None,
    key: Path | None,
    as_name: str | None,
    as_json: AsJson,
) -> None:
    """Show a proposed policy: its difference, who gains and who loses, and which past requests it decides otherwise.

    With a reason it is then signed, by one of those whom the policy in force asks. Exits 6 when the signature cannot
    count.
    """
    from keyturn.assembly.changing import brief

    home = home_of(ctx)
    found = brief(home, proposal)
    signer = None if reason is None else signer_of(found.force.reviewers, key, as_name)
    if not as_json:
        _show(found)
    entry, signed = None, found.signed
    if signer is not None and reason is not None:
        from keyturn.assembly.changing import endorse

        entry = endorse(home, found.version.policy, reason, signer.name, signer.sign)
        signed = (*signed, signer.name)
    if as_json:
        emit_json(_json(found, entry, signed), as_json)
        return
    if entry is not None:
        say(f"endorsed: {found.version.policy} (entry {entry}, signed by {signed[-1]})")
    note(told_standing(found.standing, found.version.seq, signed))


def _show(found: Brief) -> None:
    version = found.version
    why = f' ("{version.reason}")' if version.reason else ""
    note(f"proposed in entry {version.seq} by {version.by}{why}: {version.policy}")
    click.echo(safe(found.difference, lines=True), nl=False)
    for warning in found.candidate.policy.warnings():
        note(f"warning: {warning}")
    for change in found.changes or ():
        say(safe(" ".join(filter(None, (f"{change.kind}:", change.who, change.text)))))
    if found.replay is not None:
        show_replay(found.replay)


def _json(found: Brief, entry: int | None, signed: tuple[str, ...]) -> dict[str, object]:
    guard = found.standing.guard
    return {
        "policy": found.version.policy,
        "previous": found.force.digest,
        "proposal": found.version.to_json(),
        "difference": found.difference,
        "changes": None if found.changes is None else [change.to_json() for change in found.changes],
        "warnings": list(found.candidate.policy.warnings()),
        "replay": None if found.replay is None else found.replay.to_json(),
        "entry": entry,
        "signed": list(signed),
        "needed": None if guard is None else guard.quorum,
    }
