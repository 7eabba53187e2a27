"""`keyturn policy diff`: who gains and who loses what from one policy to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, as_text, emit, emit_json, json_option, note, on_terminal, say
from keyturn.cli.policy_changes import show_replay

if TYPE_CHECKING:
    from keyturn.assembly.reaching import Comparison
    from keyturn.policy.difference import Change

_SENTENCES = (
    Column("KIND", "kind"),
    Column("WHO", "who", identifier=True),
    Column("WHAT", "text"),
    Column("RULES", "rules"),
    Column("SUCH AS", "such"),
    Column("IF", "open"),
)
_COLORS = {"gains": "green", "loses": "red", "changes": None}


@click.command(short_help="Say who gains and who loses what between two policies.")
@click.argument("old")
@click.argument("new", required=False)
@json_option
@click.pass_context
def command(ctx: click.Context, *, old: str, new: str | None, as_json: AsJson) -> None:
    """Compare two policies: who gains and who loses what, which rules differ, which recorded requests.

    OLD and NEW are each `in-force`, a file, a folder with a policy.toml, or an entry or digest that
    `keyturn policy history` lists. Without NEW it is the policy.toml of the home. Nothing is written.
    """
    from keyturn.assembly.reaching import compare_policies

    found = compare_policies(home_of(ctx), old, new)
    if as_json:
        emit_json(_json(found), as_json)
    else:
        _say(found)


def _json(found: Comparison) -> dict[str, object]:
    return {
        "old": found.old,
        "new": found.new,
        "changes": [change.to_json() for change in found.changes],
        "replay": None if found.replay is None else found.replay.to_json(),
    }


def _say(found: Comparison) -> None:
    if on_terminal():
        for change in found.changes:
            say(_sentence(change), style=_COLORS[change.kind])
    else:
        emit([_row(change) for change in found.changes], as_json=False, columns=_SENTENCES)
    if not found.changes:
        note("the policies say the same" + ("" if found.old == found.new else ", in other words"))
    if found.replay is not None:
        if found.replay.changes:
            note("requests in the ledger that would have been decided otherwise:")
        show_replay(found.replay)


def _row(change: Change) -> dict[str, object]:
    return {
        "kind": change.kind,
        "who": change.who,
        "text": change.text,
        "rules": list(change.rules),
        "such": _such(change),
        "open": "; ".join(change.open),
    }


def _sentence(change: Change) -> str:
    if change.kind == "changes":
        return f"  {change.text}"
    such = f", such as {_such(change)}" if change.request else ""
    condition = f", if {'; '.join(change.open)}" if change.open else ""
    return f"{'+' if change.kind == 'gains' else '-'} {change.who} {change.text}{such}{condition}"


def _such(change: Change) -> str:
    request = change.request
    return "" if request is None else f"{request.target} with {as_text(dict(request.arguments))}"
