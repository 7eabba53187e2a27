"""Notes how actions ended in the history that risk scores go by."""

from __future__ import annotations

from keyturn.approvals.action import Action
from keyturn.log.entry import Entry
from keyturn.policy.history import History

_ENDING = frozenset({"execution.finished", "execution.resolved"})


def note_outcome(history: History, action: Action, entry: Entry) -> None:
    """Note what an entry says of the end of its action; an unknown outcome is noted once it is settled.

    What takes another action back counts against the target that it does this on.
    """
    if entry.kind not in _ENDING:
        return
    match action.ended:
        case "succeeded":
            history.succeeded(action.principal, action.tool)
            if action.undoes is not None:
                history.undone(action.target, entry.at)
        case "failed":
            history.failed(action.target, entry.at)
