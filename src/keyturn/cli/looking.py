"""Looking at a home's ledger: once, or again whenever something was written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

import click

from keyturn.cli.frame import home_of
from keyturn.cli.output import note

if TYPE_CHECKING:
    from keyturn.gateway.desk import Look

R = TypeVar("R")

ASK_EVERY = 0.1  # seconds between questions to the watcher: one PRAGMA each, no lock
LOOK_AGAIN = 1.0  # seconds after which time alone may have changed what is shown


def look(ctx: click.Context, job: Callable[[Look], R]) -> R:
    """Run `job` on a consistent view of the home's ledger. Needs no keys and takes no lock."""
    from keyturn.assembly.standing import open_reader

    with closing(open_reader(home_of(ctx), f"keyturn {ctx.info_name}")) as reader:
        return reader.look(job)


def keep_looking(ctx: click.Context, job: Callable[[Look], R], seconds: float | None = None) -> Iterator[R]:
    """Yield what `job` sees: at once, whenever the ledger grows, and now and then; for `seconds`, or for ever.

    After the first look a ledger that cannot be read at the moment is told of once, and looked at again.
    """
    from keyturn.assembly.standing import open_reader, watch
    from keyturn.ledger.errors import LedgerUnavailable

    home = home_of(ctx)
    with closing(open_reader(home, f"keyturn {ctx.info_name}")) as reader, closing(watch(home)) as watcher:
        end = None if seconds is None else time.monotonic() + seconds
        watcher.changed()  # before the first look, so that nothing is written unseen between the two
        seen = time.monotonic()
        yield reader.look(job)
        trouble = ""
        while end is None or time.monotonic() < end:
            time.sleep(ASK_EVERY)
            try:
                if not (watcher.changed() or time.monotonic() - seen > LOOK_AGAIN):
                    continue
                seen = time.monotonic()
                found = reader.look(job)
            except LedgerUnavailable as error:
                if trouble != str(error):
                    note(f"keyturn: {error}; looking again")
                trouble = str(error)
                continue
            trouble = ""
            yield found
