"""`keyturn policy who-can`: who can call a tool in an environment, with a request that shows it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of, program_of
from keyturn.cli.output import AsJson, Column, emit, emit_json, json_option, note
from keyturn.model.time import format_timestamp

if TYPE_CHECKING:
    from keyturn.assembly.reaching import Abilities
    from keyturn.policy.reach.who_can import Ability

_ROWS = (
    Column("ANSWER", "answer"),
    Column("PRINCIPAL", "principal", identifier=True),
    Column("DECISION", "decision"),
    Column("RULES", "rules"),
    Column("TARGET", "target", identifier=True),
    Column("ARGUMENTS", "arguments"),
    Column("WHY", "why"),
)


@click.command(short_help="Say who can call a tool in an environment.")
@click.argument("tool")
@click.option("--environment", metavar="E", required=True, help="Where.")
@click.option("--without-approval", is_flag=True, help="Count only what runs without anybody's review.")
@click.option("--in-force", "as_in_force", is_flag=True, help="Ask the policy in force, not the file.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    tool: str,
    environment: str,
    without_approval: bool,
    as_in_force: bool,
    as_json: AsJson,
) -> None:
    """Say who can call TOOL in an environment: yes, no, or depends.

    A yes comes with a call that the policy lets through; no means that there is none; depends names what the text
    alone does not settle: plans, risk, times, patterns, freezes.
    """
    from keyturn.assembly.reaching import who_can

    found = who_can(home_of(ctx), tool, environment, without_approval=without_approval, in_force=as_in_force)
    explained = [_explain(found, one, program_of(ctx)) for one in found.found]
    if as_json:
        asked = {"tool": tool, "environment": environment, "without_approval": without_approval}
        emit_json(_json(found, explained, asked), as_json)
        return
    emit([_row(one) for one in found.found], as_json=False, columns=_ROWS, empty="the policy has no principals")
    _note(found, f"{tool} in {environment}{' without a review' if without_approval else ''}")
    for first in list(filter(None, explained))[:1]:
        note(f"to see why: {first}")


def _json(found: Abilities, explained: Sequence[str | None], asked: Mapping[str, object]) -> dict[str, object]:
    principals = zip(found.found, explained, strict=True)
    return {
        "policy": found.policy,
        **asked,
        "at": format_timestamp(found.at),
        "answer": found.answer,
        "principals": [{**one.to_json(), "explain": command} for one, command in principals],
    }


def _row(one: Ability) -> dict[str, object]:
    request = one.request
    hands = ", executed by hand" if one.manual else ""
    return {
        "answer": one.answer,
        "principal": one.principal,
        "decision": one.decision and f"{one.decision}{hands}",
        "rules": list(one.rules),
        "target": request.target if request else None,
        "arguments": dict(request.arguments) if request else None,
        "why": "; ".join(one.open),
    }


def _note(found: Abilities, call: str) -> None:
    can = [one.principal for one in found.found if one.answer == "yes"]
    may = [one.principal for one in found.found if one.answer == "depends"]
    nobody = "nobody for certain" if may else "nobody"
    note(f"who can call {call}: {', '.join(can) or nobody}")
    if may:
        note(f"it depends for: {', '.join(may)}")


def _explain(found: Abilities, one: Ability, program: Sequence[str]) -> str | None:
    """Return the command that explains a yes, by the policy and in the home that was asked."""
    if one.answer != "yes" or one.request is None:
        return None
    arguments = json.dumps(dict(one.request.arguments))
    words = [*program, "policy", "explain", one.request.tool, "--as", one.principal]
    words += ["--target", one.request.target or "", "--arguments", arguments]
    return shlex.join([*words, *(["--in-force"] if found.in_force else [])])
