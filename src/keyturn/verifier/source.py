"""What is examined: rows of entries with their payloads, wherever they are kept."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from keyturn.log import commitment
from keyturn.log.entry import Entry
from keyturn.verifier.proofs import NotProved


@dataclass(frozen=True, slots=True)
class Payload:
    """One payload as stored: the salt that opens its commitment, and its bytes."""

    salt: bytes
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry as stored, nothing of it checked but that the columns are bytes; `payloads` by field."""

    seq: int
    body: bytes
    signature: bytes
    leaf: bytes
    payloads: Mapping[str, Payload]


class Source(Protocol):
    """Where rows come from. `size` is the number of entries it claims to hold; `opened` says how it was read."""

    @property
    def size(self) -> int:
        """The number of entries claimed."""
        ...

    @property
    def opened(self) -> str:
        """How it is read, in words."""
        ...

    def rows(self) -> Iterator[Row]:
        """Yield the entries in order. Raises `NotProved` (7 or 8) for what cannot be a row."""
        ...

    def row(self, seq: int) -> Row:
        """Return one entry by its number. Raises `NotProved` (2, 7 or 8) where it cannot be."""
        ...

    def payloads(self, seq: int) -> Mapping[str, Payload]:
        """Return the payloads of one entry, by field."""
        ...

    def erased(self) -> Iterator[tuple[int, str]]:
        """Yield `seq` and field of each payload that a `payload.erased` entry names, nothing of it proved."""
        ...

    def withholds(self, seq: int, field: str) -> bool:
        """Tell whether whoever made the source left this payload out, and said so there."""
        ...

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """Yield the checkpoint notes kept, by the sizes they are kept under, ascending. Raises `NotProved` (7)."""
        ...

    def subtree(self, level: int, index: int) -> bytes | None:
        """Return the root kept of a complete subtree, None if there is none. Raises `NotProved` (7)."""
        ...

    def subtrees(self) -> int:
        """Return how many subtrees are kept."""
        ...


def open_payloads(
    entry: Entry, stored: Mapping[str, Payload], erased: Container[tuple[int, str]] = frozenset()
) -> dict[str, bytes]:
    """Return the payloads of `entry` by field. Raises `NotProved`.

    Proof 6: each commitment is opened by a stored payload, or is among the `erased` (or left out) and has none;
    nothing else is stored.
    """
    gone = {field for field in entry.data if (entry.seq, field) in erased}
    if missing := entry.data.keys() - stored.keys() - gone:
        raise NotProved(entry.seq, 6, f"payload {min(missing)} is missing, and no entry says that it was erased")
    if surplus := stored.keys() - entry.data.keys():
        raise NotProved(entry.seq, 6, f"the entry commits to no payload {min(surplus)!r}")
    if kept := gone & stored.keys():
        raise NotProved(entry.seq, 6, f"payload {min(kept)} is there, and is said to be erased or left out")
    for field, payload in stored.items():
        if not commitment.opens(entry.data[field], payload.salt, field, payload.data):
            raise NotProved(entry.seq, 6, f"payload {field} does not open its commitment")
    return {field: payload.data for field, payload in stored.items()}
