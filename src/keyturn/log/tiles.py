"""The paths and shapes of C2SP tlog-tiles: which files a tree of so many leaves consists of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from keyturn.log.tree import TILE, WIDTH


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: its level (0 holds leaves, each further one nodes over 256 below), its index, and how many."""

    level: int
    index: int
    width: int

    @property
    def path(self) -> str:
        """Where it is kept: `tile/<L>/<N>`, with `.p/<W>` behind it where it is not full."""
        return f"tile/{self.level}/{numbered(self.index)}{_partial(self.width)}"


def numbered(index: int) -> str:
    """Return an index in path elements of three digits, all but the last behind `x`: 1234067 is `x001/x234/067`."""
    digits = f"{index % 1000:03d}"
    while index := index // 1000:
        digits = f"x{index % 1000:03d}/{digits}"
    return digits


def entries_path(index: int, width: int) -> str:
    """Return where bundle `index` of `width` entries is kept."""
    return f"tile/entries/{numbered(index)}{_partial(width)}"


def signatures_path(index: int) -> str:
    """Return where the signatures of the entries of bundle `index` are kept."""
    return f"signatures/{numbered(index)}"


def payloads_path(index: int) -> str:
    """Return where the disclosed payloads of the entries of bundle `index` are kept."""
    return f"payloads/{numbered(index)}.json"


def bundles(size: int) -> Iterator[tuple[int, int]]:
    """Yield index and width of every bundle of entries of a log of `size` entries."""
    yield from ((first // WIDTH, min(WIDTH, size - first)) for first in range(0, size, WIDTH))


def tiles(size: int) -> Iterator[Tile]:
    """Yield every tile of a tree of `size` leaves, level by level; none is empty."""
    level, nodes = 0, size
    while nodes:
        yield from (Tile(level, index, width) for index, width in bundles(nodes))
        level, nodes = level + 1, nodes >> TILE


def _partial(width: int) -> str:
    return "" if width == WIDTH else f".p/{width}"
