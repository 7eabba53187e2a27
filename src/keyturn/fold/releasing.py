"""What a person signs for the execution of an action, and what an action leaves of what it had reserved."""

from __future__ import annotations

from datetime import timedelta

from keyturn.approvals.action import Action
from keyturn.fold.signatures import Act

EXECUTE = "action.execute"
RUNTIME = "runtime"
_SECOND = timedelta(seconds=1)


def release_of(action: Action) -> Act:
    """Return what the act in an `action.released` entry must say to count: this very request is to be executed."""
    return Act(verb=EXECUTE, object=action.id, digest=action.digest)


def settled(action: Action) -> dict[str, int]:
    """Return what turned out of runtime, in whole seconds: from intent to outcome, and never more than was reserved.

    Empty where none was reserved, and where nothing was begun. An effect is interrupted when its runtime is over;
    what comes later is the time it took others to find that out.
    """
    if RUNTIME not in action.reserved or action.started is None or action.finished_at is None:
        return {}
    ran = -((action.started.at - action.finished_at) // _SECOND)
    return {RUNTIME: min(max(ran, 0), action.reserved[RUNTIME])}
