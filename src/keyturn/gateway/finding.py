"""Finding an action by its id, open or long over."""

from __future__ import annotations

from keyturn.approvals.action import Action, status
from keyturn.fold.story import StoryError, tell
from keyturn.gateway.desk import Look
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused


def find_state(view: Look, action_id: str, principal: str | None = None) -> tuple[Action, str]:
    """Return an action and its state now.

    Raises `Refused` ("not_found") for an unknown action, and for another principal's where `principal` is given.
    """
    action = find(view, action_id)
    if action is None or (principal is not None and action.principal != principal):
        raise Refused("not_found", f"there is no action {action_id}")
    return action, status(action, view.now)


def find(view: Look, action_id: str) -> Action | None:
    """Return an action, from the fold while it is fresh, else told again from its entries."""
    return view.state.actions.get(action_id) or _told(view, action_id)


def _told(view: Look, action_id: str) -> Action | None:
    """Tell an action that the fold has forgotten, so one that is over.

    The derived table only says where its entries are. Where that makes no story, or one without an end, somebody
    took rows away: then every entry is read instead.
    """
    try:
        action = tell(view.history(action_id))
        if action is None or action.ended is not None or status(action, view.now) == "rejected":
            return action
    except StoryError:
        pass
    return tell(entry for entry in view.entries(0) if entry.action == action_id)


def entries_of(view: Look, action: Action) -> list[Entry]:
    """Return an action's entries: those the derived table names where they tell this action, else all there are."""
    history = view.history(action.id)
    try:
        told = tell(history)
    except StoryError:
        told = None
    if told is not None and _gist(told) == _gist(action):
        return history
    return [entry for entry in view.entries(action.seq) if entry.action == action.id]


def _gist(action: Action) -> tuple[str, object, object, str | None]:
    return action.digest, action.reviews, action.started, action.ended
