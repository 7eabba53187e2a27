"""`keyturn status`: a home on one screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit, home_of
from keyturn.cli.output import AsJson, Column, emit, emit_json, json_option, on_terminal
from keyturn.cli.screen import plain
from keyturn.cli.sheet import Line, speak
from keyturn.cli.times import ago, span

if TYPE_CHECKING:
    from keyturn.assembly.survey import Survey
    from keyturn.canon import Json


@click.command(name="status")
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: AsJson) -> None:
    """Show how a home stands.

    Its log, the policy in force, what is open, and what to worry about. Exits 1 when neither server nor worker could
    start here now.
    """
    from keyturn.assembly.survey import survey

    found = survey(home_of(ctx))
    value = _value(found)
    if as_json:
        emit_json(value, as_json)
    elif on_terminal():
        speak([*_lines(found), *_worries(found)])
    else:
        flat = dict(_flat(value))
        emit(flat, as_json=False, columns=[Column(name, name) for name in flat])
    if found.obstacles:
        ctx.exit(Exit.FAILURE)


def _value(found: Survey) -> dict[str, Json]:
    from keyturn.model.time import format_timestamp

    seen = found.seen
    return {
        "home": str(found.home),
        "log": seen.log,
        "size": seen.size,
        "last_entry_at": None if seen.last is None else format_timestamp(seen.last),
        "clock_fault": seen.fault,
        "policy": seen.policy.digest,
        "policy_since": format_timestamp(seen.policy.at),
        "policy_by": seen.policy.by,
        "proposal": found.proposal,
        "open": dict(seen.open),
        "unknown": list(seen.unknown),
        "worker": found.worker,
        "obstacles": list(found.obstacles),
        "warnings": list(found.warnings),
    }


def _flat(value: dict[str, Json]) -> Iterator[tuple[str, Json]]:
    """Give counts a line each, for programs that read lines."""
    for name, field in value.items():
        if isinstance(field, Mapping):
            yield from ((f"{name}.{part}", count) for part, count in field.items())
        else:
            yield name, field


def _worries(found: Survey) -> Iterator[Line]:
    if found.obstacles:
        yield Line("", "! neither server nor worker can start here now:", "red")
    yield from (Line("", f"! {text}", "red") for text in found.obstacles)
    yield from (Line("", f"! {text}", "yellow") for text in found.warnings)


def _lines(found: Survey) -> Iterator[Line]:
    seen = found.seen
    last = "" if seen.last is None else f", the last {ago(seen.last, seen.now)}"
    by = f"signed by {plain(seen.policy.by)}" if seen.policy.by else "the one the log was founded with"
    yield Line("Home", str(found.home), "bold")
    yield Line("Log", seen.log)
    yield Line("Entries", f"{seen.size}{last}")
    yield Line("Policy", seen.policy.digest)
    yield Line("", f"in force for {span(seen.policy.at, seen.now)}, {by}")
    if found.proposal != "in force":
        yield Line("", f"policy.toml on disk: {found.proposal}; see keyturn policy check", "yellow")
    yield Line("Open", ", ".join(f"{count} {state}" for state, count in seen.open.items() if count) or "nothing")
    yield Line("Worker", "running" if found.worker else "none now; one is started when there is work")
