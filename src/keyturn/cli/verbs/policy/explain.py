"""`keyturn policy explain`: what the policy says to one call, and why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keyturn.cli.files import read_bytes
from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, emit, emit_json, json_option, note, on_terminal, say
from keyturn.model.errors import Refused
from keyturn.model.time import EARLIEST, LATEST, format_timestamp

if TYPE_CHECKING:
    from keyturn.assembly.questions import Explanations
    from keyturn.gateway.explaining import Explained

_COLORS = {"permit": "green", "hold": "yellow", "shadow": "cyan", "deny": "red"}
_RULES = (
    Column("VERDICT", "verdict"),
    Column("KIND", lambda row: row["kind"] if row["mode"] == "live" else f"{row['kind']} (shadow)"),
    Column("RULE", "rule"),
    Column("PLACE", "place"),
    Column("WHY", "text"),
)


@click.command(short_help="Say what would become of a call, and why.")
@click.argument("tool")
@click.option("--as", "principal", metavar="PRINCIPAL", required=True, help="Which assistant would call it.")
@click.option(
    "--arguments",
    metavar="JSON|@FILE",
    default="{}",
    help="The arguments of the call, as an object (@- reads standard input).",
)
@click.option("--target", metavar="T", help="Plan nothing and judge this target, such as deployments:web/production.")
@click.option("--environment", metavar="E", help="The environment an argument would select.")
@click.option(
    "--at", "times", metavar="TIME", multiple=True, help="At another time: 2026-12-24T18:00:00Z (repeatable)."
)
@click.option("--in-force", "as_in_force", is_flag=True, help="Ask the policy in force, not the file.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    tool: str,
    principal: str,
    arguments: str,
    target: str | None,
    environment: str | None,
    times: tuple[str, ...],
    as_in_force: bool,
    as_json: AsJson,
) -> None:
    """Say what would become of a call of TOOL, with every rule and why it speaks or does not.

    The call is planned for real, by reads alone, unless a target is given; nothing is recorded.
    """
    from keyturn.assembly.questions import explain
    from keyturn.gateway.explaining import Question

    question = Question(
        principal=principal,
        tool=tool,
        arguments=_arguments(arguments),
        target=target,
        environment=environment,
    )
    at = tuple(_time(text) for text in times)
    found = explain(home_of(ctx), question, at, in_force=as_in_force)
    if as_json:
        emit_json(_json(found), as_json)
        return
    for text in found.asked.notes:
        note(f"note: {text}")
    for answer in found.answers:
        _say(found, answer)


def _arguments(text: str) -> Mapping[str, Any]:
    from keyturn import canon
    from keyturn.contracts.arguments import MAX_ARGUMENTS

    data = read_bytes(Path(text[1:]), MAX_ARGUMENTS) if text.startswith("@") else os.fsencode(text)
    try:
        value = canon.parse(data)
    except canon.CanonError as error:
        raise click.BadParameter(f"is no JSON as calls have it: {error}", param_hint="--arguments") from error
    if not isinstance(value, Mapping):
        raise click.BadParameter("must be a JSON object", param_hint="--arguments")
    return value


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused("usage", f"--at: {text!r} is not a time like 2026-12-24T18:00:00Z") from error
    if not EARLIEST <= at.year <= LATEST:
        raise Refused("usage", f"--at: {text!r} lies outside the years {EARLIEST} to {LATEST}")
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _json(found: Explanations) -> dict[str, object]:
    request = found.asked.request
    return {
        "policy": found.policy,
        "principal": request.principal,
        "tool": request.tool,
        "target": request.target,
        "notes": list(found.asked.notes),
        "answers": [_answer(answer, found.environment) for answer in found.answers],
    }


def _answer(answer: Explained, environment: str | None) -> dict[str, object]:
    decision = answer.explanation.decision
    return {
        "at": format_timestamp(answer.at),
        "decision": _word(answer),
        "environment": decision.environment or environment,
        "rules": list(decision.rules),
        "reasons": [reason.to_json() for reason in decision.reasons],
        "trace": [trace.to_json() for trace in answer.explanation.rules],
    }


def _word(answer: Explained) -> str:
    return type(answer.explanation.decision).__name__.lower()


def _say(found: Explanations, answer: Explained) -> None:
    decision, request = answer.explanation.decision, found.asked.request
    where = f"{request.target} ({decision.environment or found.environment or 'no environment'})"
    rules = [trace.to_json() for trace in answer.explanation.rules]
    if not on_terminal():
        first = {"verdict": _word(answer), "kind": "decision", "mode": "live", "rule": where, "place": ""}
        why = "; ".join(reason.text for reason in decision.reasons)
        emit([{**first, "text": f"at {format_timestamp(answer.at)}: {why}"}, *rules], as_json=False, columns=_RULES)
        return
    say(f"{_word(answer).upper()}  {request.principal} calls {request.tool} on {where}", style=_COLORS[_word(answer)])
    say(f"at {format_timestamp(answer.at)}", style="dim")
    for reason in decision.reasons:
        say(f"  {reason.text}" + (f"   [{reason.rule}]" if reason.rule else ""))
    say()
    emit([rule for rule in rules if rule["verdict"] != "unrelated"], as_json=False, columns=_RULES)
    unrelated = sum(rule["verdict"] == "unrelated" for rule in rules)
    say(f"and {unrelated} rules about other calls", style="dim")
