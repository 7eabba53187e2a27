"""Changing the entry key: a person signs, the log key brings the new one in and ends the old, both or neither."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from keyturn.canon import Json
from keyturn.fold.key_changes import key_change
from keyturn.fold.state import State
from keyturn.gateway.acts import ActDraft, origin_of, statement_of
from keyturn.gateway.desk import Job, Look
from keyturn.ledger.checkpoints import LogSigner
from keyturn.ledger.keys import SigningKey
from keyturn.ledger.writer import Ledger
from keyturn.log.chain import key_proof
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """What is to be done: `revoked` (a kid) makes way for `new`, for a reason of `keyturn.fold.key_changes`."""

    revoked: str
    new: SigningKey
    reason: str


def draft_key_change(ledger: Ledger[State], change: KeyChange, log_key: LogSigner, by: str) -> ActDraft:
    """Draft a change of the entry key. The new key must be on the disk already: recorded, it signs all that follows.

    The log key signs while the ledger is locked: what it signs names the place where it stands. Raises `Refused` when
    `revoked` is not an entry key that signs now.
    """
    added = base64.b64encode(change.new.public.raw).decode("ascii")
    facts: dict[str, Json] = {"revoked": change.revoked, "reason": change.reason}
    act = key_change(facts, added)

    def check(view: Look) -> None:
        if not view.head.signs(change.revoked):
            raise Refused("other_key", f"{change.revoked} is not the entry key now: somebody changed it meanwhile")

    def record(tx: Job, signed: dict[str, Json]) -> Entry:
        check(tx)
        place = key_proof(origin_of(tx), tx.head.size, tx.head.leaf, change.new.public.raw)
        proof = base64.b64encode(change.new.sign(place)).decode("ascii")
        tx.append("key.added", {"key": added, "proof": proof}, key=log_key)
        return tx.append("key.revoked", {**facts, "act": signed}, key=log_key)

    def look(view: Look) -> ActDraft:
        check(view)
        return ActDraft(statement_of(view, act.verb, act.object, act.digest, by), record)

    return ledger.look(look)
