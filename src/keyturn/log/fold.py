"""What following a log asks of a fold: the state that decisions read, built entry by entry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, Self

from keyturn.canon import Json
from keyturn.log.entry import Entry

STANDING = frozenset(
    {
        "log.opened",
        "key.added",
        "key.revoked",
        "policy.activated",
        "policy.guarded",
        "policy.proposed",
        "policy.endorsed",
        "catalog.published",
        "token.issued",
        "token.revoked",
        "suspension.set",
        "suspension.lifted",
        "freeze.overridden",
        "recovery",
        "log.closed",
        "log.succeeds",
    }
)
"""Kinds that make what stands until another entry of them ends it: keys, policy, what is proposed in its place and by
whom endorsed, catalog, tokens, suspensions, since when reviews count, whether the log goes on at all, and from which
log it goes on."""


class FoldError(Exception):
    """An entry contradicts what came before it (an outcome without intent, a review that cannot be)."""


class Fold(Protocol):
    """A state that entries change and nothing else does.

    `version` names the shape of `to_json`; snapshots of another version are ignored and the fold starts over.
    """

    version: int

    @classmethod
    def empty(cls) -> Self:
        """Return the state before the first entry."""
        ...

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """Rebuild a state from `to_json`. Raises `FoldError`, `KeyError`, `TypeError` or `ValueError`."""
        ...

    def to_json(self) -> Json:
        """Return the whole state within the canonical profile."""
        ...

    def apply(self, entry: Entry) -> None:
        """Take the next entry. Raises `FoldError` when it contradicts the state."""
        ...

    def standing(self) -> Json:
        """Return the part of the state that entries of the kinds `STANDING` make, and they alone."""
        ...

    @classmethod
    def standing_of(cls, entries: Iterable[Entry], size: int) -> Json:
        """Return `standing` after a log of `size` entries whose entries of these kinds are `entries`.

        Raises `FoldError` when one contradicts those before it.
        """
        ...
