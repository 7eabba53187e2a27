"""Bringing a checkpoint to an anchor: what is offered to it, whose turn that is, and that it got it."""

from __future__ import annotations

import base64

from keyturn import canon
from keyturn.anchors import Given, Offer
from keyturn.anchors.judging import judge, read_kept, recoveries_in
from keyturn.assembly.anchoring import Declared
from keyturn.assembly.signing import NOTE, RECORDED, TOKEN, standing
from keyturn.canon import Json
from keyturn.fold.standing import Anchored
from keyturn.fold.state import State
from keyturn.ledger.checkpoints import Kept
from keyturn.ledger.lock import InstanceLock, take_instance
from keyturn.ledger.place import Place
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ledger
from keyturn.log.keys import LogVerifier
from keyturn.telemetry.speech import tell

TURN = "notary"
"""Ends the names of the locks of `state/run/`, one for each anchor, under which one at a time brings it anything."""

BUSY = "it has not answered yet what this process or another of this home brought it before"


def take_turn(place: Place, one: Declared) -> InstanceLock | None:
    """Take the turn at an anchor among all that bring it something, in this process and others of the home.

    None while somebody has it.
    """
    return take_instance(place.run, f"{one.anchor.name}.{TURN}")


def offer_of(ledger: Ledger[State], verifier: LogVerifier, kept: Kept, last: Anchored | None) -> Offer:
    """Return a checkpoint as an anchor takes it that is recorded to have had `last`."""
    size = kept.checkpoint.size
    return Offer(
        checkpoint=kept.checkpoint,
        note=kept.note,
        recoveries=ledger.look(lambda view: recoveries_in(view, size)),
        began=ledger.look(lambda view: view.entry(size - 1).at).timestamp(),
        last=0 if last is None else last.size,
        judge=lambda seen: ledger.look(lambda view: judge(view, seen, verifier)),
        grown=lambda old: ledger.look(lambda view: view.tree.consistency(old, size)),
    )


def record(ledger: Ledger[State], verifier: LogVerifier, one: Declared, given: Given) -> None:
    """Record what an anchor gave, unless that is what its newest record says.

    Raises `Contradicted` and `ConnectorError` as `read_kept`, and `LedgerError`.
    """
    checkpoint = read_kept(given.note, verifier)
    name = one.anchor.name
    facts: dict[str, Json] = {
        "anchor": name,
        "type": one.anchor.type,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
    }
    data = {NOTE: canon.encode(given.note.decode("utf-8"))}
    if given.token is not None:
        data[TOKEN] = canon.encode(base64.b64encode(given.token).decode("ascii"))

    def append(tx: Transaction[State]) -> None:
        last = standing(tx, verifier).last.get(name)
        if last is None or last.size != checkpoint.size:
            tx.append(RECORDED, facts, data=data)

    ledger.transact(append)
    tell("anchor.recorded", f"{one.title} has the checkpoint of {checkpoint.size} entries", status="recorded")
