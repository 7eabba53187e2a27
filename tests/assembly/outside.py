"""An anchor that is no real one, for those who bring checkpoints to anchors."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from keyturn.anchors import AnchorType, Offer
from keyturn.model.errors import ConnectorError


@dataclass
class Outside:
    """An anchor of the test's own: counts what it gets, and fails or hangs when told to."""

    name: str = "own"
    type: AnchorType = "witness"
    seconds: float = 5.0
    fails: str = ""
    gate: threading.Event = field(default_factory=threading.Event)
    got: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def put(self, offer: Offer) -> bytes:
        self.gate.wait(30)
        if self.fails:
            raise ConnectorError(self.fails)
        self.got.append(offer.checkpoint.size)
        return offer.note
