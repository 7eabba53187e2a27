"""`keyturn worker`: executes what is approved."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import note

if TYPE_CHECKING:
    from keyturn.telemetry.speech import Form


def _address(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    from keyturn.model.errors import ConfigurationError
    from keyturn.telemetry.listener import read_address

    try:
        if text is not None:
            read_address(text)
    except ConfigurationError as error:
        raise click.BadParameter(str(error)) from error
    return text


_METRICS = "Serve metrics for Prometheus here, at /metrics."


@click.command(name="worker", short_help="Execute approved actions until told to stop.")
@click.option("--on-demand", is_flag=True, help="End after a while without work, or when another worker is there.")
@click.option("--log", type=click.Choice(["text", "json"]), default="text", help="How lines on stderr are written.")
@click.option("--metrics", metavar="HOST:PORT", callback=_address, help=_METRICS)
@click.pass_context
def command(ctx: click.Context, on_demand: bool, log: Form, metrics: str | None) -> None:
    """Execute approved actions until told to stop; running ones are finished first.

    `keyturn serve` and `keyturn approve` start one on demand, so that nobody has to run this by hand.
    """
    from keyturn.assembly.worker import run_worker
    from keyturn.telemetry.speech import set_up

    set_up(log, "keyturn worker", stamped=True)
    if sys.stdin.isatty():
        note("executing what is approved; Ctrl-C ends it")
    run_worker(home_of(ctx), on_demand=on_demand, metrics=metrics)
