"""Tells those who wait that the server is about to leave, so that they answer with what there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Leaving:
    """Whether the server has begun to leave; from then on nobody waits for anything that takes long."""

    def __init__(self) -> None:
        self.begun = False
        self._waits: set[anyio.CancelScope] = set()

    def begin(self) -> None:
        """End every wait that can be ended, and all that are still to come."""
        self.begun = True
        for scope in self._waits:
            scope.cancel()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A block that is left early, at its end, when the server begins to leave."""
        with anyio.CancelScope() as scope:
            if self.begun:
                scope.cancel()
            self._waits.add(scope)
            try:
                yield
            finally:
                self._waits.discard(scope)
