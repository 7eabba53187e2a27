"""`keyturn resume`: end a suspension, signed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, emit, json_option, note, on_terminal, say
from keyturn.cli.scopes import scope_of, scope_options
from keyturn.cli.screen import plain
from keyturn.cli.signer import signer_of, signer_options

if TYPE_CHECKING:
    from keyturn.assembly.suspending import Resumption

_COLUMNS = (
    Column("SCOPE", "scope", identifier=True),
    Column("ENTRY", "entry"),
    Column("BY", "by", identifier=True),
)


@click.command(short_help="Let what was suspended go on, signed.")
@scope_options
@click.option("-m", "--reason", metavar="REASON", required=True, help="Why; it is recorded and signed.")
@signer_options
@json_option
@click.pass_context
def command(ctx: click.Context, /, reason: str, key: Path | None, as_name: str | None, as_json: AsJson) -> None:
    """Let an assistant, a tool, an environment or everything go on that was suspended.

    A reviewer of the policy in force signs. What was cancelled stays cancelled. Exits 5 for what is not suspended.
    """
    from keyturn.assembly.suspending import resume

    def signer(resumption: Resumption) -> tuple[str, Callable[[bytes, str], bytes]]:
        chosen, there = signer_of(resumption.reviewers, key, as_name), resumption.suspension
        set_at = f"{there.mode} since entry {there.seq} by {plain(there.by)}"
        note(f"resume {there.scope}, {set_at}, in the name of {plain(chosen.name)}")
        return chosen.name, chosen.sign

    scope = scope_of(ctx)
    entry, by = resume(home_of(ctx), scope, reason=reason, signer=signer)
    if on_terminal() and not as_json:
        say(f"✓ {scope} may go on (entry {entry}, signed by {plain(by)})")
    else:
        emit({"scope": scope.subject, "entry": entry, "by": by}, as_json=as_json, columns=_COLUMNS)
