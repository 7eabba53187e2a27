"""Draws how far long work is, on standard error, where a person watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

LONG = 5_000  # entries; fewer are gone through before anybody wonders


@contextmanager
def bar(doing: str) -> Iterator[Callable[[int, int], None] | None]:
    """Yield what is told entries done and entries in all, and draws that once there are many; None off a terminal.

    `doing` is one word for the work, such as "verifying".
    """
    if not sys.stderr.isatty():
        yield None
        return
    drawn: list[Callable[[int, int], None]] = []
    with ExitStack() as stack:

        def tell(done: int, total: int) -> None:
            if total >= LONG and not drawn:
                drawn.append(stack.enter_context(_drawn(doing, total)))
            for draw in drawn:
                draw(done, total)

        yield tell


@contextmanager
def _drawn(doing: str, total: int) -> Iterator[Callable[[int, int], None]]:
    # Imported here: without a terminal nobody waits for it.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=total)
        yield lambda done, whole: shown.update(task, completed=done, total=whole)
