"""`keyturn status`: a home on one screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.looking import look
from keyturn.cli.output import AsJson, Column, emit, emit_json, json_option, on_terminal
from keyturn.cli.screen import plain
from keyturn.cli.sheet import Line, speak
from keyturn.cli.times import ago, span
from keyturn.model.errors import ConfigurationError

if TYPE_CHECKING:
    from keyturn.assembly.home import Home
    from keyturn.canon import Json
    from keyturn.gateway.overview import Overview

SAME_ACCOUNT = (
    "an assistant that can run commands as {account} can do everything Keyturn can here: "
    "give the home to an account of its own before you rely on it"
)


@click.command(name="status")
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: AsJson) -> None:
    """Show how a home stands.

    Its log, the policy in force, what is open, and what to worry about.
    """
    from keyturn.gateway.overview import overview

    home = home_of(ctx)
    seen = look(ctx, overview)
    value = _value(home, seen)
    if as_json:
        emit_json(value, as_json)
    elif on_terminal():
        speak([*_lines(home, seen, value), *(Line("", f"! {text}", "yellow") for text in _list(value["warnings"]))])
    else:
        emit(value, as_json=False, columns=[Column(name, name) for name in value])


def _value(home: Home, seen: Overview) -> dict[str, Json]:
    from keyturn.assembly.outside import account
    from keyturn.assembly.standing import worker_present
    from keyturn.model.time import format_timestamp

    proposal = _proposal(home, seen)
    return {
        "home": str(home.folder),
        "log": seen.log,
        "size": seen.size,
        "last_entry_at": None if seen.last is None else format_timestamp(seen.last),
        "clock_fault": seen.fault,
        "policy": seen.policy.digest,
        "policy_since": format_timestamp(seen.policy.at),
        "policy_by": seen.policy.by,
        "proposal": proposal,
        "open": dict(seen.open),
        "unknown": list(seen.unknown),
        "worker": worker_present(home),
        "warnings": [*_faults(seen), *seen.warnings, SAME_ACCOUNT.format(account=account())],
    }


def _proposal(home: Home, seen: Overview) -> str:
    """Say how the file on disk stands to the policy in force: "in force", "differs", or why it cannot be read."""
    try:
        return "in force" if home.policy_files() == dict(seen.policy.files) else "differs"
    except ConfigurationError as error:
        return f"unreadable: {'; '.join(error.problems)}"


def _faults(seen: Overview) -> Iterator[str]:
    if seen.fault is not None:
        yield f"governed actions are refused: {seen.fault}"
    if seen.unknown:
        yield f"nobody knows whether these happened: {', '.join(seen.unknown)}; see keyturn action show ID"


def _lines(home: Home, seen: Overview, value: dict[str, Json]) -> Iterator[Line]:
    last = "" if seen.last is None else f", the last {ago(seen.last, seen.now)}"
    by = f"signed by {plain(seen.policy.by)}" if seen.policy.by else "the one the log was founded with"
    yield Line("Home", str(home.folder), "bold")
    yield Line("Log", seen.log)
    yield Line("Entries", f"{seen.size}{last}")
    yield Line("Policy", seen.policy.digest)
    yield Line("", f"in force for {span(seen.policy.at, seen.now)}, {by}")
    if value["proposal"] != "in force":
        yield Line("", f"policy.toml on disk: {value['proposal']}; see keyturn policy check", "yellow")
    yield Line("Open", ", ".join(f"{count} {state}" for state, count in seen.open.items() if count) or "nothing")
    yield Line("Worker", "running" if value["worker"] else "none now; one is started when there is work")


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
