"""Payloads of the newest requests, kept opened: most actions begin right after they were asked for."""

from __future__ import annotations

from collections.abc import Mapping

MOST_BYTES = 1 << 20


class Recent:
    """The opened payloads of the newest requests, as many as fit into `MOST_BYTES`; the newest one in any case."""

    def __init__(self) -> None:
        self._kept: dict[int, Mapping[str, bytes]] = {}
        self._weight = 0

    def keep(self, seq: int, payloads: Mapping[str, bytes]) -> None:
        """Take what entry `seq` was proved to commit to."""
        self._kept[seq] = payloads
        self._weight += _weight(payloads)
        while self._weight > MOST_BYTES and len(self._kept) > 1:
            self._weight -= _weight(self._kept.pop(next(iter(self._kept))))

    def take(self, seq: int) -> Mapping[str, bytes] | None:
        """Return what is kept of entry `seq`, and keep it no longer: an action begins once."""
        payloads = self._kept.pop(seq, None)
        self._weight -= 0 if payloads is None else _weight(payloads)
        return payloads


def _weight(payloads: Mapping[str, bytes]) -> int:
    return 256 + sum(map(len, payloads.values()))
