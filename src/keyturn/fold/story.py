"""One action's story: its entries one after another, each checked against those before it."""

from __future__ import annotations

from collections.abc import Iterable

from keyturn.approvals import life
from keyturn.approvals.action import Action, status
from keyturn.approvals.life import LifeError
from keyturn.fold.recovery import Restoration
from keyturn.fold.signatures import read_review
from keyturn.log.entry import Entry
from keyturn.log.kinds import REQUESTS
from keyturn.model.errors import Refused


class StoryError(ValueError):
    """An entry of an action cannot follow the ones before it; `seq` is the entry's place."""

    def __init__(self, entry: Entry, reason: str) -> None:
        super().__init__(f"entry {entry.seq}: {reason}")
        self.seq = entry.seq
        self.reason = reason


def next_action(action: Action | None, entry: Entry) -> Action:
    """Return the action after `entry`; `action` is None before its request. Raises `StoryError`."""
    try:
        return _follow(action, entry)
    except (LifeError, Refused) as error:
        raise StoryError(entry, str(error)) from error


def tell(entries: Iterable[Entry], restored: Restoration | None = None) -> Action | None:
    """Return the action that these entries tell, or None when they hold no request. Raises `StoryError`.

    `restored` is the last restoration of the ledger: approvals from before it do not count in the story.
    """
    action: Action | None = None
    last = -1
    for entry in entries:
        if entry.seq <= last:
            raise StoryError(entry, f"it stands before entry {last}, which was told first")
        if restored is not None and last < restored.seq < entry.seq:
            action = _voided(action, restored)
        last = entry.seq
        if entry.kind != "action.denied":
            action = next_action(action, entry)
    return _voided(action, restored) if restored is not None and last < restored.seq else action


def _voided(action: Action | None, restored: Restoration) -> Action | None:
    waits = action is not None and status(action, restored.at) in {"pending", "approved"}
    return life.restored(action, restored.at) if action is not None and waits else action


def _follow(action: Action | None, entry: Entry) -> Action:
    if entry.kind in REQUESTS:
        if action is not None:
            raise LifeError(f"action {entry.action} is requested twice")
        return life.requested(entry)
    action = _of(action, entry)
    match entry.kind:
        case "action.reviewed":
            return life.reviewed(action, read_review(action, entry))
        case "action.reserved" | "action.withheld" | "action.released":
            return _BESIDE[entry.kind](action, entry)
        case "action.cancelled" | "action.stale":
            return life.stopped(action, entry)
        case "action.expired":
            return life.expired(action, entry)
        case "execution.started":
            return life.started(action, entry)
        case "execution.finished":
            return life.finished(action, entry)
        case "execution.resolved":
            return life.resolved(action, entry)
    raise LifeError(f"{entry.kind} is no entry of an action")


_BESIDE = {
    "action.reserved": life.reserved,
    "action.withheld": life.withheld,
    "action.released": life.released,
}


def _of(action: Action | None, entry: Entry) -> Action:
    """Return the action whose next entry this is: it is known, and it is this one."""
    if action is None:
        raise LifeError(f"{entry.kind} of an action that was not requested or is long over")
    if entry.action != action.id:
        raise LifeError(f"{entry.kind} belongs to action {entry.action}, not to {action.id}")
    return action
