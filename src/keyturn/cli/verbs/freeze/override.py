"""`keyturn freeze override`: set a freeze aside for a while, signed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.moments import ahead, moment_option
from keyturn.cli.output import AsJson, Column, emit, json_option, note, on_terminal, say
from keyturn.cli.screen import plain
from keyturn.cli.signer import signer_of, signer_options

if TYPE_CHECKING:
    from keyturn.assembly.freezing import Overriding

_COLUMNS = (
    Column("FREEZE", "freeze", identifier=True),
    Column("UNTIL", "until"),
    Column("ENTRY", "entry"),
    Column("BY", "by", identifier=True),
)


@click.command("override", short_help="Set a freeze aside for a while, signed.")
@click.argument("freeze")
@moment_option("--until", "When it counts again; at most 7 days ahead.")
@click.option("--for", "lasting", metavar="DURATION", help="For how long instead, such as 90m.")
@click.option("-m", "--reason", metavar="REASON", required=True, help="Why; it is recorded and signed.")
@signer_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    freeze: str,
    until: datetime | None,
    lasting: str | None,
    reason: str,
    key: Path | None,
    as_name: str | None,
    as_json: AsJson,
) -> None:
    """Let what FREEZE of the policy in force stops go on until a time, whatever its calendar says.

    A reviewer signs whom the freeze lets do so (its `override`; all of them where it names nobody). A later override
    takes the place of this one, so a shorter one ends it. An activation of a policy ends all overrides.
    """
    from keyturn.assembly.freezing import override
    from keyturn.model.time import format_timestamp

    if (until is None) == (lasting is None):
        raise click.UsageError("give either --until or --for")
    end = until or ahead(lasting or "")

    def signer(overriding: Overriding) -> tuple[str, Callable[[bytes, str], bytes]]:
        chosen, state = signer_of(overriding.reviewers, key, as_name), overriding.state
        note(f"set {plain(freeze)} aside, which is {state.state}, in the name of {plain(chosen.name)}")
        return chosen.name, chosen.sign

    entry, by = override(home_of(ctx), freeze, until=end, reason=reason, signer=signer)
    stamp = format_timestamp(end)
    if on_terminal() and not as_json:
        say(f"✓ {plain(freeze)} is set aside until {stamp} (entry {entry}, signed by {plain(by)})")
    else:
        emit({"freeze": freeze, "until": stamp, "entry": entry, "by": by}, as_json=as_json, columns=_COLUMNS)
