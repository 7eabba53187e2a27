"""The emulator behind one proxy: faults outermost, then GitHub's manners; what our connector is pointed at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bed.emulator import Emulator, Repository
from tests.bed.faults import FaultProxy, Proxied
from tests.bed.manners import Manners
from tests.bed.recorder import Layer, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Forge(Proxied):
    """A GitHub for one test; `seen` is what our connector sent, `reached` what the emulator got."""

    emulator: Emulator
    manners: Manners

    @property
    def reached(self) -> Record:
        """Requests that the emulator got, those of the manners among them."""
        return self.proxy.reached

    def repository(self) -> Repository:
        """Make a repository for this test alone."""
        return self.emulator.repository()


@contextmanager
def forge(emulator: Emulator, *layers: Layer) -> Iterator[Forge]:
    """Put a proxy in front of an emulator as long as the block lasts, with tokens of its own; bob's may only read.

    `layers` stand before GitHub's manners, the first outermost.
    """
    emulator = emulator.again()
    tokens = emulator.tokens
    manners = Manners(
        known=set(tokens.values()),
        read_only={tokens["bob"]},
        scopes={tokens["ada"]: "repo, user"},
    )
    with FaultProxy(emulator.url, inner=(*layers, manners)) as proxy:
        yield Forge(proxy=proxy, emulator=emulator, manners=manners)
