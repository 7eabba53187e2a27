"""`keyturn policy history`: every policy there was, and what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, emit, emit_json, json_option, note
from keyturn.cli.policy_changes import told_standing
from keyturn.cli.times import minute
from keyturn.model.time import format_timestamp

if TYPE_CHECKING:
    from keyturn.cli.output import Row
    from keyturn.gateway.policy_changes import Standing, Version

COLUMNS = (
    Column("ENTRY", "entry"),
    Column("WHEN", lambda row: minute(row["at"]), piped="at", whole=True),
    Column(
        "POLICY", lambda row: row["policy"].removeprefix("sha256:")[:12], piped="policy", identifier=True, whole=True
    ),
    Column("STATE", "state"),
    Column("BY", "by"),
    Column("ENDORSED", "endorsed"),
    Column("REASON", "reason"),
)


@click.command(short_help="List every policy there was, and what is proposed.")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: AsJson) -> None:
    """List every policy that was in force or proposed, the oldest first, with who signed for it and why.

    To go back to one: keyturn policy activate --to SEQ|DIGEST -m REASON.
    """
    from keyturn.assembly.changing import history_of

    versions, standing = history_of(home_of(ctx))
    states = _states(versions, standing)
    if as_json:
        listed = [{**version.to_json(), "state": states[version.seq]} for version in versions]
        emit_json({"versions": listed, "guard": _guard(standing)}, as_json)
        return
    emit([_row(version, states[version.seq]) for version in versions], as_json=False, columns=COLUMNS)
    for proposal in standing.proposals:
        asked = standing.guard.reviewers if standing.guard else ()
        signed = tuple(name for name in proposal.endorsed if name in asked)
        note(f"entry {proposal.seq}: {told_standing(standing, proposal.seq, signed)}")


def _states(versions: tuple[Version, ...], standing: Standing) -> dict[int, str]:
    last = max((version.seq for version in versions if version.kind == "activated"), default=-1)
    waiting = {proposal.seq for proposal in standing.proposals}
    states = {}
    for version in versions:
        past = "earlier" if version.kind == "activated" else "closed"
        states[version.seq] = "in force" if version.seq == last else "waits" if version.seq in waiting else past
    return states


def _row(version: Version, state: str) -> Row:
    return {
        "entry": version.seq,
        "at": format_timestamp(version.at),
        "policy": version.policy,
        "state": state,
        "by": version.by or "-",
        "endorsed": ", ".join(item.by for item in version.endorsed) or "-",
        "reason": version.reason or "",
    }


def _guard(standing: Standing) -> dict[str, object] | None:
    guard = standing.guard
    if guard is None:
        return None
    return {"quorum": guard.quorum, "from": list(guard.sources), "reviewers": list(guard.reviewers)}
