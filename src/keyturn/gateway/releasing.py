"""Releasing: a person signs that an action which is executed by hand is to be executed now."""

from __future__ import annotations

from typing import Any

from keyturn.approvals.action import Action, status
from keyturn.canon import Json
from keyturn.fold.releasing import EXECUTE, release_of
from keyturn.fold.signatures import check_act
from keyturn.fold.state import State
from keyturn.gateway.acts import ActDraft, statement_of
from keyturn.gateway.desk import Desk, Look
from keyturn.gateway.review import check_digest, find_action
from keyturn.ledger.transaction import Transaction, View
from keyturn.log.entry import Entry
from keyturn.model.decision import Reason
from keyturn.model.errors import Refused


def draft_release(desk: Desk, action_id: str, *, by: str, digest_prefix: str = "") -> ActDraft:
    """Draft the signature for the execution of an action, bound to its digest.

    Raises `Refused` when there is no such action, when its digest does not begin with `digest_prefix`, when it is not
    approved, and when it waits for nobody's hand.
    """

    def record(tx: Transaction[State], act: dict[str, Json]) -> Entry:
        return tx.append("action.released", {"act": act}, action=_waiting(tx, action_id, "").id)

    def look(view: Look) -> ActDraft:
        action = _waiting(view, action_id, digest_prefix)
        return ActDraft(statement_of(view, EXECUTE, action.id, release_of(action).digest, by), record)

    return desk.ledger.look(look)


def _waiting(view: View[State], action_id: str, digest_prefix: str) -> Action:
    action = find_action(view, action_id)
    check_digest(action.digest, digest_prefix)
    state = status(action, view.now)
    if state != "approved":
        raise Refused("already_decided" if state != "pending" else "not_approved", f"action {action_id} is {state}")
    if action.released is not None:
        raise Refused("already_decided", f"{action.released.by} has signed for the execution of {action_id} already")
    if not action.withheld:
        raise Refused("usage", f"action {action_id} is executed without anybody's hand: follow it with `action wait`")
    return action


def waits_for_a_hand(view: Look, action_id: str) -> bool:
    """Say whether an action is approved, and waits for nothing but a person who signs for its execution."""
    action = view.state.actions.get(action_id)
    return action is not None and status(action, view.now) == "approved" and action.waits_for_a_hand


def release_fallen(view: Look, action: Action) -> Reason | None:
    """Verify once more from its entry who signed for an execution, by a key that still counts."""
    if action.released is None:
        return None
    entry = view.entry(action.released.seq)
    act: Any = entry.facts["act"]
    known = view.state.policy.reviewers if view.state.policy else {}
    try:
        after = act["statement"]["after"]
        check_act(act, release_of(action), log=entry.log, after=after, reviewers=known, now=entry.at)
    except Refused as error:
        return Reason("act", f"the signature for its execution does not count: {error}")
    return None
