"""`keyturn action execute`: a person signs that an action which nobody executes by itself is to be executed now."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.ids import full_id
from keyturn.cli.output import AsJson, Column, emit, json_option, on_terminal, say
from keyturn.cli.running import runs_or_waits
from keyturn.cli.screen import plain
from keyturn.cli.sheet import Line, grouped, speak
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


@click.command(name="execute")
@click.argument("id_", metavar="ID")
@click.option("--digest", default="", metavar="PREFIX", help="Sign only if the digest begins so (12 digits).")
@signer_options
@json_option
@click.pass_context
def command(
    ctx: click.Context, *, id_: str, digest: str, key: Path | None, as_name: str | None, as_json: AsJson
) -> None:
    """Execute an action that waits for a person's hand.

    Grants with execute = "manual" let nobody execute what they allow before a reviewer of the policy has signed for
    it. You sign its digest: for exactly this request, once. It runs at once then.
    """
    from keyturn.assembly.standing import open_desk, worker_starter

    home = home_of(ctx)
    desk = open_desk(home, "keyturn action execute")
    with closing(desk.ledger):
        force = desk.ledger.look(lambda view: view.state.policy)
        signer = signer_of(force.reviewers if force else {}, key, as_name)
        entry = _release(desk, id_, digest, signer)
    worker_starter(home)()
    if on_terminal() and not as_json:
        text = f"✓ {id_}: {plain(signer.name)} signed for its execution, entry {entry.seq}; "
        say(f"{text}{runs_or_waits(home, str(entry.action), id_)}", style="green")
    else:
        row = {"action_id": entry.action, "status": "approved", "by": signer.name, "entry": entry.seq}
        emit(row, as_json=as_json, columns=_COLUMNS)


def _release(desk: Desk, given: str, digest: str, signer: Signer) -> Entry:
    from keyturn.approvals.statement import ACT_NAMESPACE
    from keyturn.gateway.acts import submit_act
    from keyturn.gateway.finding import find_state
    from keyturn.gateway.payloads import read_summary
    from keyturn.gateway.releasing import draft_release

    action_id = desk.ledger.look(lambda view: full_id(view, given))
    draft = draft_release(desk, action_id, by=signer.name, digest_prefix=digest)
    action, summary = desk.ledger.look(
        lambda view: (
            found := find_state(view, action_id)[0],
            read_summary(view, view.entry(found.seq)),
        )
    )
    lines = [
        Line("Execute", summary),
        Line("", f"{plain(action.tool)} on {plain(action.target)}, for {plain(action.principal)}"),
        Line("Digest", grouped(draft.statement.digest)),
        Line("Signed by", plain(signer.name)),
    ]
    speak(lines, err=True)
    return submit_act(desk.ledger, draft, signer.sign(draft.to_sign, ACT_NAMESPACE))
