"""`keyturn policy pin`: consent to the contracts in tool_schemas/."""

from __future__ import annotations

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, Row, emit, emit_json, json_option, note, on_terminal, say

_PIPED = ("place", "rule", "tool", "before", "after", "differences")


@click.command(short_help="Consent to the contracts in tool_schemas/.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@json_option
@click.pass_context
def command(ctx: click.Context, dry_run: bool, as_json: AsJson) -> None:
    """Write into each grant of policy.toml which contract it is about, and show what changed in them.

    Nothing else in the file is touched, and nothing is in force before `keyturn policy activate`.
    """
    from keyturn.assembly.proposal import pin_proposal

    found = pin_proposal(home_of(ctx), write=not dry_run)
    rows = [{name: getattr(item, name) for name in item.__slots__} for item in found]
    if as_json:
        emit_json({"changed": bool(rows) and not dry_run, "pins": rows}, as_json)
        return
    if on_terminal():
        for row in rows:
            _say(row)
    else:
        piped = [{**row, "differences": "; ".join(row["differences"] or ())} for row in rows]
        emit(piped, as_json=False, columns=[Column(name, name) for name in _PIPED])
    changed = "would change" if dry_run else "changed"
    note(
        f"{len(rows)} pin{'' if len(rows) == 1 else 's'} {changed} in policy.toml"
        if rows
        else "every pin is as it should be; nothing changed"
    )
    if rows and not dry_run:
        note("to put it in force: keyturn policy activate -m REASON")


def _say(row: Row) -> None:
    say(f'{row["place"]} "{row["rule"]}" ({row["tool"]})', style="bold")
    say(f"  was {row['before'] or 'not pinned'}")
    say(f"  is  {row['after']}")
    for difference in row["differences"] or ():
        say(f"    {difference}")
    if row["differences"] is None and row["before"]:
        say("    the old contract is not at hand: compare it in your version control")
    if row["differences"] == ():
        say("    only examples changed")
