"""Timestamps (RFC 3161) of checkpoints: since when entries existed, by an authority that the auditor names.

An authority stamps whatever it is sent: a timestamp bounds a time, and says nothing about other histories of the log.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Mapping
from typing import Any

from keyturn import canon
from keyturn.log.checkpoint import Checkpoint
from keyturn.log.entry import Entry
from keyturn.log.keys import LogVerifier
from keyturn.log.timestamp import Authorities, TimestampError, proved
from keyturn.verifier.report import LISTED, Stamp

STAMP = "anchor.token"


class Stamps:
    """Collects the timestamps that `anchor.recorded` entries keep. Without authorities they are counted only."""

    def __init__(self, authorities: Authorities | None) -> None:
        self.count = 0
        self._authorities = authorities
        self._newest: deque[Stamp] = deque(maxlen=LISTED)

    @property
    def newest(self) -> tuple[Stamp, ...]:
        """The newest of those that were held against the certificates given."""
        return tuple(self._newest)

    def take(self, entry: Entry, payloads: Mapping[str, bytes], log: LogVerifier) -> None:
        """Take an `anchor.recorded` entry that was proved to be the tree's."""
        if STAMP not in payloads:
            return
        self.count += 1
        if self._authorities is not None:
            self._newest.append(self._stamp(entry, payloads[STAMP], log, self._authorities))

    @staticmethod
    def _stamp(entry: Entry, payload: bytes, log: LogVerifier, authorities: Authorities) -> Stamp:
        facts: Any = entry.facts
        text = Checkpoint(log.origin, facts["size"], bytes.fromhex(facts["root"])).text
        try:
            stamped = proved(base64.b64decode(str(canon.decode(payload)), validate=True), text, authorities)
        except (TimestampError, ValueError) as error:
            return Stamp(seq=entry.seq, size=facts["size"], at=None, by=None, problem=str(error))
        return Stamp(seq=entry.seq, size=facts["size"], at=stamped.at, by=stamped.authority, problem=None)
