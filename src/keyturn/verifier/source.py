"""What is examined: rows of entries with their payloads, wherever they are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

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


@dataclass(frozen=True, slots=True)
class Pruned:
    """The payloads of all entries below `before`, in one environment, or in all (None)."""

    environment: str | None
    before: int


Named: TypeAlias = tuple[int, str] | Pruned
"""What an entry says is gone: one payload by `seq` and field, or all before a place."""


class Gone(Protocol):
    """Says which payloads must be missing."""

    def covers(self, entry: Entry, field: str, environment: str | None) -> bool:
        """Tell whether a payload of an entry of this environment must be missing."""
        ...


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

    def erased(self) -> Iterator[Named]:
        """Yield what entries of the kinds `payload.erased` and `payloads.pruned` name, nothing of it proved."""
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
    entry: Entry, stored: Mapping[str, Payload], absent: Gone, environment: str | None
) -> dict[str, bytes]:
    """Return the payloads of `entry`, which belongs to this environment, by field. Raises `NotProved`.

    Proof 6: each commitment is opened by a stored payload, or is among what is `absent` and has none; nothing else is
    stored.
    """
    gone = {field for field in entry.data if absent.covers(entry, field, environment)}
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
