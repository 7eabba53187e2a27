"""Setting a freeze of the policy in force aside for a while: signed by a person whom that freeze lets do so."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from keyturn import canon
from keyturn.approvals.statement import ActStatement
from keyturn.canon import Json
from keyturn.fold.freezes import LONGEST_OVERRIDE, OVERRIDE, REASON, overriding
from keyturn.fold.state import State
from keyturn.gateway.acts import ActDraft, statement_of
from keyturn.gateway.core import PolicyShelf
from keyturn.gateway.desk import Desk, Look
from keyturn.gateway.review import check_reason
from keyturn.ledger.transaction import Transaction
from keyturn.log.commitment import SALT_BYTES, commit
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused
from keyturn.model.time import format_timestamp
from keyturn.policy.freezes import Freeze


def draft_override(
    desk: Desk, policies: PolicyShelf, freeze: str, *, until: datetime, reason: str, by: str
) -> ActDraft:
    """Draft the setting aside of a freeze until `until`. A later override of it takes this one's place.

    Raises `Refused`: "not_found" for a freeze that the policy in force does not have, "not_a_reviewer" for a person
    it does not let set this one aside, "usage" for a time that is past or too far ahead.
    """
    check_reason(reason, "override")
    words, salt = canon.encode(reason), desk.entropy(SALT_BYTES)
    facts: dict[str, Json] = {"freeze": freeze, "until": format_timestamp(until)}

    def look(view: Look) -> ActStatement:
        _check(view, freeze_of(policies, view, freeze), until, by)
        act = overriding(facts, commit(salt, REASON, words))
        return statement_of(view, OVERRIDE, act.object, act.digest, by)

    def record(tx: Transaction[State], act: dict[str, Json]) -> Entry:
        _check(tx, freeze_of(policies, tx, freeze), until, by)
        return tx.append("freeze.overridden", {**facts, "act": act}, data={REASON: words}, salts={REASON: salt})

    return ActDraft(desk.ledger.look(look), record)


def freeze_of(policies: PolicyShelf, view: Look, named: str) -> Freeze:
    """Return a freeze of the policy in force. Raises `Refused` ("not_found") when it has none of this id."""
    known = {freeze.id: freeze for freeze in policies.in_force(view).freezes}
    if named not in known:
        raise Refused("not_found", f"the policy in force has no freeze {named!r}; it has: {_listed(known)}")
    return known[named]


def _check(view: Look, freeze: Freeze, until: datetime, by: str) -> None:
    if by not in freeze.overriders:
        raise Refused("not_a_reviewer", f"{by} may not set {freeze.id!r} aside; {_listed(freeze.overriders)} may")
    if until <= view.now:
        raise Refused("usage", f"{format_timestamp(until)} is past: an override ends at a time to come")
    if until - view.now > LONGEST_OVERRIDE:
        days, end = LONGEST_OVERRIDE.days, format_timestamp(until)
        raise Refused("usage", f"an override ends within {days} days, not at {end}")


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"
