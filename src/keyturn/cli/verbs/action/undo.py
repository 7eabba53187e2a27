"""`keyturn action undo`: a person asks, by signature, to take back what an action did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit, home_of
from keyturn.cli.ids import full_id, short_in
from keyturn.cli.output import AsJson, Column, emit, json_option, on_terminal, say
from keyturn.cli.running import runs_or_waits
from keyturn.cli.screen import plain
from keyturn.cli.sheet import Line, grouped, speak
from keyturn.cli.signer import Signer, signer_of, signer_options

if TYPE_CHECKING:
    from keyturn.assembly.home import Home
    from keyturn.gateway.core import Gateway
    from keyturn.gateway.envelope import Answer
    from keyturn.gateway.undoing import UndoDraft

_COLUMNS = (
    Column("ID", "action_id", identifier=True),
    Column("STATUS", "status"),
    Column("WHAT", "plan_summary"),
    Column("MESSAGE", "message"),
)


@click.command(name="undo")
@click.argument("id_", metavar="ID")
@click.option("-m", "--reason", required=True, help="Why; it is recorded, and reviewers read it.")
@signer_options
@json_option
@click.pass_context
def command(
    ctx: click.Context, *, id_: str, reason: str, key: Path | None, as_name: str | None, as_json: AsJson
) -> None:
    """Ask to take back what an action did.

    The call that undoes it is asked for in the name of the same assistant: under its grants and limits, with the
    reviews these ask for. You sign that you asked, so you cannot review it.
    """
    from keyturn.assembly.build import open_gateway
    from keyturn.assembly.standing import worker_starter

    home = home_of(ctx)
    with closing(open_gateway(home, "keyturn action undo", commands=False)) as gate:
        force = gate.ledger.look(lambda view: view.state.policy)
        signer = signer_of(force.reviewers if force else {}, key, as_name)
        answer = _undo(gate, id_, reason, signer)
        short = gate.ledger.look(lambda view: short_in(view, str(answer.envelope["action_id"])))
    if answer.envelope["status"] == "approved":
        worker_starter(home)()
    _tell(home, answer, short, as_json)
    ctx.exit(Exit.OK)


def _undo(gate: Gateway, given: str, reason: str, signer: Signer) -> Answer:
    import anyio

    from keyturn.approvals.statement import ACT_NAMESPACE
    from keyturn.gateway.envelope import Answer
    from keyturn.gateway.undoing import draft_undo, submit_undo

    action_id = gate.ledger.look(lambda view: full_id(view, given))

    async def draft() -> UndoDraft | Answer:
        return await draft_undo(gate, action_id, reason=reason, by=signer.name)

    drafted = anyio.run(draft)
    if isinstance(drafted, Answer):
        return drafted
    speak(list(_what_is_signed(drafted, signer)), err=True)
    return anyio.run(submit_undo, gate, drafted, signer.sign(drafted.to_sign, ACT_NAMESPACE))


def _what_is_signed(draft: UndoDraft, signer: Signer) -> Iterator[Line]:
    call, plan = draft.call, draft.plan
    yield Line("Undo", plan.summary)
    yield Line("", f"{plain(call.contract.tool)} on {plain(plan.target)}, for {plain(call.caller.principal)}")
    yield Line("", "others have to review it" if draft.held else "the policy lets it run without a review")
    yield Line("Digest", grouped(draft.statement.digest))
    yield Line("Asked by", plain(signer.name))


def _tell(home: Home, answer: Answer, short: str, as_json: AsJson) -> None:
    envelope = answer.envelope
    if as_json or not on_terminal():
        emit(dict(envelope), as_json=as_json, columns=_COLUMNS)
        return
    again = "it was asked for already; " if envelope["repeated"] else ""
    match envelope["status"]:
        case "pending":
            say(f"✓ {short}: {again}it waits for reviews: keyturn action show {short}", style="green")
        case "approved" | "running":
            standing = runs_or_waits(home, str(envelope["action_id"]), short)
            say(f"✓ {short}: {again}{standing}", style="green")
        case status:
            say(f"✓ {short}: {again}{status}: keyturn action show {short}")
