"""`keyturn action resolve`: an operator's signed word on an outcome nobody could read back."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.ids import full_id
from keyturn.cli.output import AsJson, Column, emit, json_option, note, on_terminal, say
from keyturn.cli.screen import plain
from keyturn.cli.signer import Signer, signer_of, signer_options

if TYPE_CHECKING:
    from keyturn.gateway.desk import Desk
    from keyturn.log.entry import Entry

_COLUMNS = (
    Column("ID", "action_id", identifier=True),
    Column("STATUS", "status"),
    Column("BY", "by", identifier=True),
    Column("ENTRY", "entry"),
)


@click.command(name="resolve")
@click.argument("id_", metavar="ID")
@click.option("--succeeded/--failed", "happened", default=None, help="Whether the effect happened.")
@click.option("-m", "--reason", required=True, help="How you know; it is recorded and signed.")
@signer_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    id_: str,
    happened: bool | None,
    reason: str,
    key: Path | None,
    as_name: str | None,
    as_json: AsJson,
) -> None:
    """Settle an unknown outcome by signature.

    Look at the system itself first. Your word is final: repeats are answered with it, and limits are given back if
    it failed.
    """
    from keyturn.assembly.standing import open_desk

    if happened is None:
        raise click.UsageError("say which: --succeeded or --failed")
    desk = open_desk(home_of(ctx), "keyturn action resolve")
    with closing(desk.ledger):
        force = desk.ledger.look(lambda view: view.state.policy)
        signer = signer_of(force.reviewers if force else {}, key, as_name)
        entry = _resolve(desk, id_, happened, reason, signer)
    status = entry.text("outcome")
    if on_terminal() and not as_json:
        say(f"✓ {id_}: settled as {status} by {plain(signer.name)}, entry {entry.seq}")
    else:
        row = {"action_id": entry.action, "status": status, "by": signer.name, "entry": entry.seq}
        emit(row, as_json=as_json, columns=_COLUMNS)


def _resolve(desk: Desk, given: str, happened: bool, reason: str, signer: Signer) -> Entry:
    from keyturn.approvals.statement import ACT_NAMESPACE
    from keyturn.gateway.acts import draft_resolution, submit_act

    action_id = desk.ledger.look(lambda view: full_id(view, given))
    draft = draft_resolution(desk, action_id, happened=happened, reason=reason, by=signer.name)
    note(f"resolve {action_id} as {'succeeded' if happened else 'failed'}, in the name of {plain(signer.name)}")
    return submit_act(desk.ledger, draft, signer.sign(draft.to_sign, ACT_NAMESPACE))
