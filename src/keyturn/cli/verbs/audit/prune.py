"""`keyturn audit prune`: delete the payloads that have had their time, signed; every entry and proof stays."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from keyturn.cli.frame import home_of
from keyturn.cli.moments import moment_of
from keyturn.cli.output import AsJson, Column, emit, json_option, note
from keyturn.cli.screen import plain
from keyturn.cli.signer import announced, signer_options
from keyturn.cli.sweeping import tell_files

_COLUMNS = (
    Column("ENVIRONMENT", "environment"),
    Column("BEFORE", "before"),
    Column("PAYLOADS", "payloads"),
    Column("PRUNED BY", "entry"),
)


@click.command(short_help="Delete payloads that have had their time, signed.")
@click.option(
    "--before",
    metavar="SEQ|TIME",
    help="Prune what is before this entry or time (default: what [retention] in keyturn.toml gives no more time).",
)
@click.option("--environment", metavar="NAME", help="Only what belongs to this environment.")
@click.option(
    "--basis", metavar="WORDS", default="retention", show_default=True, help="On what ground; recorded and signed."
)
@signer_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    before: str | None,
    environment: str | None,
    basis: str,
    key: Path | None,
    as_name: str | None,
    as_json: AsJson,
) -> None:
    """Delete the payloads of all entries that are older than they are kept, and record that.

    Entries, signatures, chain, tree and proofs stay as they are, and so do the texts of policies and contracts and
    the notes of anchors. What an action needs that is not over is refused, or left for the next time. The file of the
    log is written anew, and nobody else can write meanwhile: choose a quiet hour.
    """
    from keyturn.assembly.pruning import prune_payloads
    from keyturn.gateway.pruning import Wish

    signer = announced(key, as_name, f"prune payloads on the ground of {plain(basis)}")
    wish = Wish(before=_bound(before), environment=environment, basis=basis)
    done = prune_payloads(home_of(ctx), wish, signer)
    rows = [
        {"environment": one.environment, "before": one.before, "payloads": one.payloads, "entry": one.entry}
        for one in done.taken
    ]
    emit(rows, as_json=as_json, columns=_COLUMNS)
    if not rows:
        note("nothing is left to prune there")
    tell_files(ctx, done.cleaned, again=not rows)


def _bound(before: str | None) -> int | datetime | None:
    if before is not None and before.isascii() and before.isdigit() and len(before) <= 15:
        return int(before)
    return moment_of(before)
