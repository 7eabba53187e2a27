"""`keyturn worker`: executes what is approved."""

from __future__ import annotations

import sys

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import note


@click.command(name="worker", short_help="Execute approved actions until told to stop.")
@click.option("--on-demand", is_flag=True, help="End after a while without work, or when another worker is there.")
@click.pass_context
def command(ctx: click.Context, on_demand: bool) -> None:
    """Execute approved actions until told to stop; running ones are finished first.

    `keyturn serve` and `keyturn approve` start one on demand, so that nobody has to run this by hand.
    """
    import logging

    from keyturn.assembly.worker import run_worker

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    if sys.stdin.isatty():
        note("executing what is approved; Ctrl-C ends it")
    run_worker(home_of(ctx), on_demand=on_demand)
