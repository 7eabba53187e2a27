"""Who outside vouches for how many of the first entries, and since when: what makes a verdict PASS.

Only somebody the auditor names or something the auditor brings counts. What the ledger says about its anchors does
not: whoever holds its keys can write that.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import Literal

from keyturn.log.chain import Head, parse
from keyturn.log.note import NoteKey, Signed
from keyturn.model.errors import ConfigurationError
from keyturn.verifier.notes import Said
from keyturn.verifier.proofs import proving
from keyturn.verifier.report import LISTED, Vouched
from keyturn.verifier.source import Source


class Vouching:
    """Collects who vouches. `size` is the number of first entries that somebody outside has seen."""

    def __init__(self, witnesses: tuple[NoteKey, ...], source: Source) -> None:
        self.witnesses = witnesses
        self.size = 0
        self.count = 0
        self._source = source
        self._newest: deque[Vouched] = deque(maxlen=LISTED)

    @property
    def newest(self) -> tuple[Vouched, ...]:
        """The newest of those who vouch."""
        return tuple(self._newest)

    def cosigned(self, said: Said, head: Head) -> None:
        """Take the cosignatures of a note whose root is the ledger's."""
        for signed in said.cosigned:
            self._add(said.checkpoint.size, f"{signed.key.name}+{signed.key.id.hex()}", "cosignature", signed, head)

    def brought(self, name: str, how: Literal["checkpoint", "receipt", "proof"], size: int, head: Head) -> None:
        """Take what the auditor brought, which the ledger bears out."""
        self._add(size, name, how, None, head)

    def check_strangers(self, head: Head) -> None:
        """Raise `ConfigurationError` where a witness that was named is a key of the log itself."""
        own = {*head.keys, *([head.verifier.key.kid] if head.verifier else [])}
        for witness in self.witnesses:
            if witness.key.kid in own:
                raise ConfigurationError(f"the witness {witness.name} is a key of this log: a witness is another's")

    def _add(
        self,
        size: int,
        by: str,
        how: Literal["cosignature", "checkpoint", "receipt", "proof"],
        signed: Signed | None,
        head: Head,
    ) -> None:
        seconds = None if signed is None else signed.time
        last_at = head.at if size == head.size else self._time_of(size - 1)
        self.size = max(self.size, size)
        self.count += 1
        self._newest.append(Vouched(size=size, by=by, how=how, seconds=seconds, at=_moment(seconds), last_at=last_at))

    def _time_of(self, seq: int) -> datetime:
        with proving(seq, 1):
            row = self._source.row(seq)
            return parse(seq, row.body, row.signature).at


def _moment(seconds: int | None) -> datetime | None:
    """Return the time as a date, None for what no calendar holds: a witness may name any number below 2**63."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
