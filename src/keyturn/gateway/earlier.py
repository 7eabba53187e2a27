"""What tools may learn of an earlier action that an argument names: only of the caller's own principal."""

from __future__ import annotations

from keyturn.approvals.action import status
from keyturn.gateway.desk import Look
from keyturn.gateway.envelope import result_of
from keyturn.gateway.finding import entries_of, find
from keyturn.gateway.payloads import read_plan
from keyturn.model.tool import EarlierAction


def earlier_action(view: Look, principal: str, action_id: str) -> EarlierAction | None:
    """Return an earlier action of `principal`; None for others' and unknown ones alike."""
    action = find(view, action_id)
    if action is None or action.principal != principal:
        return None
    request = view.entry(action.seq)
    if view.erased(request, "plan") or view.erased(request, "diff"):
        return None
    return EarlierAction(
        action=action.id,
        tool=action.tool,
        status=status(action, view.now),
        plan=read_plan(view, request),
        result=result_of(view, entries_of(view, action)) or {},
    )
