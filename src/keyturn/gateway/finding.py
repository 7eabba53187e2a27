"""Finding an action by its id, or by the end of it, open or long over.

The derived table `lookup` says where to look, and is believed in nothing: it may hold less than there is, or more.
What is open the fold knows; what the fold has forgotten is looked for in the entries themselves, near the time that
every action's id carries.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from keyturn.approvals.action import Action, status
from keyturn.fold.story import StoryError, tell
from keyturn.gateway.desk import Look
from keyturn.log.entry import Entry
from keyturn.log.kinds import REQUESTS
from keyturn.model.errors import ConnectorError, LedgerError, Refused
from keyturn.model.time import action_time, shifted

BEGINNINGS = REQUESTS | {"action.denied"}
"""The kinds of entry that an action's entries begin with."""

WHOLE = 36  # characters of an id in full
SHORT = 6  # characters at its end that usually tell it from others
_CHUNK = 32  # entries read at a time while the right one is near
_ROUNDED = timedelta(milliseconds=1)  # by how much the time in an id may differ from its entry's


def find_state(view: Look, action_id: str, principal: str | None = None) -> tuple[Action, str]:
    """Return an action and its state now.

    Raises `Refused` ("not_found") for an unknown action, and for another principal's where `principal` is given.
    """
    action = find(view, action_id)
    if action is None or (principal is not None and action.principal != principal):
        raise Refused("not_found", f"there is no action {action_id}")
    return action, status(action, view.now)


def find(view: Look, action_id: str) -> Action | None:
    """Return an action, from the fold while it is fresh, else told again from its entries.

    Raises `LedgerError` when its entries make no story.
    """
    return view.state.actions.get(action_id) or _told(view, action_id)


def find_beginning(view: Look, action_id: str) -> Entry | None:
    """Return the entry that an action begins with: its request, or the refusal of the call. None for unknown ids."""
    action = view.state.actions.get(action_id)
    if action is not None:
        return view.entry(action.seq)
    named = next((entry for entry in view.history(action_id) if entry.kind in BEGINNINGS), None)
    return named or _begun_at_its_time(view, action_id)


def find_entries(view: Look, action_id: str) -> list[Entry]:
    """Return every entry of an action or of a refused call, in order; empty for an unknown id."""
    begin = find_beginning(view, action_id)
    if begin is None or begin.kind == "action.denied":
        return [] if begin is None else [begin]
    action = find(view, action_id)
    return [] if action is None else entries_of(view, action)


def find_ids(view: Look, end: str, limit: int = 10) -> list[str]:
    """Return the ids of actions that end with `end`, newest first.

    An action that is over and that the derived table has lost is found by its id in full alone.
    """
    known = {action for action in view.state.actions if action.endswith(end)}
    named = {*view.matching(end, limit), *([end] if len(end) == WHOLE else [])} - known
    real = {action for action in named if find_beginning(view, action) is not None}
    return sorted(known | real, reverse=True)[:limit]


def short_in(view: Look, action_id: str) -> str:
    """Return the shortest end of an action's id, six characters at least, that is no other's in all of the ledger."""
    for length in range(SHORT, len(action_id)):
        if len(find_ids(view, action_id[-length:], limit=2)) < 2:
            return action_id[-length:]
    return action_id


def find_requests(view: Look, *, principal: str | None = None, limit: int = 100) -> list[Entry]:
    """Return the newest entries that actions and refused calls begin with, newest first.

    Those of actions that are open or were until lately are there whatever the derived table says.
    """
    found = {entry.seq: entry for entry in view.requests(principal=principal, limit=limit)}
    for action in view.state.actions.values():
        if action.seq not in found and principal in {None, action.principal}:
            found[action.seq] = view.entry(action.seq)
    return [found[seq] for seq in sorted(found, reverse=True)[:limit]]


def entries_of(view: Look, action: Action) -> list[Entry]:
    """Return an action's entries: those the derived table names where they tell this action, else all there are."""
    history = view.history(action.id)
    try:
        told = tell(history, view.state.restored)
    except StoryError:
        told = None
    if told is not None and _gist(told) == _gist(action):
        return history
    return [entry for entry in view.entries(action.seq) if entry.action == action.id]


def _told(view: Look, action_id: str) -> Action | None:
    """Tell an action that the fold has forgotten, so one that is over.

    Where the entries that the derived table names make no story, or one without an end, somebody took rows away:
    then every entry since the request is read instead.
    """
    try:
        action = tell(view.history(action_id), view.state.restored)
        if action is not None and (action.ended is not None or status(action, view.now) == "rejected"):
            return action
    except StoryError:
        pass
    begin = find_beginning(view, action_id)
    if begin is None or begin.kind == "action.denied":
        return None
    try:
        mine = (entry for entry in view.entries(begin.seq) if entry.action == action_id)
        return tell(mine, view.state.restored)
    except StoryError as error:
        raise LedgerError(
            f"the entries of action {action_id} make no story: {error}; check with `keyturn audit verify`"
        ) from error


def _begun_at_its_time(view: Look, action_id: str) -> Entry | None:
    """Look for an action's first entry where its time puts it: ids are UUIDv7, made when the entry was.

    Entries stand in the order of their times, so a handful of them is read, for an id that nobody made too.
    """
    try:
        made = action_time(action_id)
    except ConnectorError:
        return None  # no id of ours
    for first in range(first_not_before(view, shifted(made, -_ROUNDED)), view.head.size, _CHUNK):
        for entry in view.entries(first, first + _CHUNK):
            if entry.at > shifted(made, _ROUNDED):
                return None
            if entry.action == action_id and entry.kind in BEGINNINGS:
                return entry
    return None


def first_not_before(view: Look, time: datetime) -> int:
    """Return the number of the first entry that is not older than `time`; the ledger's size when all are.

    Times in a log do not go back.
    """
    low, high = 0, view.head.size
    while low < high:
        middle = (low + high) // 2
        if view.entry(middle).at < time:
            low = middle + 1
        else:
            high = middle
    return low


def _gist(action: Action) -> tuple[str, object, object, str | None]:
    return action.digest, action.reviews, action.started, action.ended
