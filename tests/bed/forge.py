"""The emulator behind one proxy: faults outermost, then GitHub's manners; what our connector is pointed at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bed.emulator import Emulator, Repository
from tests.bed.faults import FaultProxy, Faults
from tests.bed.manners import Manners
from tests.bed.recorder import Layer, Record


@dataclass(frozen=True, slots=True)
class Forge:
    """A GitHub for one test; `proxy.seen` is what our connector sent, `proxy.reached` what the emulator got."""

    emulator: Emulator
    proxy: FaultProxy
    manners: Manners

    @property
    def url(self) -> str:
        """The API's base address for our connector."""
        return self.proxy.url

    @property
    def faults(self) -> Faults:
        """The plan of faults, empty at first."""
        return self.proxy.faults

    @property
    def seen(self) -> Record:
        """Requests of our connector, with the answers it got."""
        return self.proxy.seen

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
        yield Forge(emulator, proxy, manners)
