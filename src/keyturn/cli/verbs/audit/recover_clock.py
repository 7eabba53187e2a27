"""`keyturn audit recover-clock`: sign that the wall clock is right although it jumped."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import AsJson, Column, emit, json_option
from keyturn.cli.signer import announced, signer_options

_COLUMNS = (
    Column("ENTRY", "entry"),
    Column("BY", "by", identifier=True),
)


@click.command(short_help="Sign that the clock is right although it jumped.")
@click.option("-m", "--reason", metavar="REASON", required=True, help="Why; it is recorded and signed.")
@signer_options
@json_option
@click.pass_context
def command(ctx: click.Context, /, reason: str, key: Path | None, as_name: str | None, as_json: AsJson) -> None:
    """Sign that the wall clock is right now, although it jumped: governed actions go on from there.

    Look at the clock first (date, timedatectl). What has expired in the log stays expired, and its time does not go
    back: set back an hour, the clock is an hour behind the log from then on. Exits 6 when the clock is believed.
    """
    from keyturn.assembly.outside import moment
    from keyturn.assembly.restoring import recover_clock
    from keyturn.model.time import format_timestamp

    signer = announced(key, as_name, f"the clock says {format_timestamp(moment().wall)}; it is right")
    entry, by = recover_clock(home_of(ctx), reason=reason, signer=signer)
    emit({"entry": entry, "by": by}, as_json=as_json, columns=_COLUMNS)
