"""Says in sentences what changes from one policy to another: who gains and who loses what, and which rules differ.

`gains` and `loses` are about people and assistants: a call that was refused or reviewed and is let through now, or
the other way round, each with a request that shows it; wider and narrower limits; reviews that somebody may give now
or not any more. `changes` are about the text: every rule or section that reads otherwise, so that nothing changes in
silence. Comments, the order of rules and other words for the same are no difference.
"""

from __future__ import annotations

from collections.abc import Collection

from keyturn.policy.difference.change import Change
from keyturn.policy.difference.people import calls, reviews
from keyturn.policy.difference.room import room
from keyturn.policy.difference.texts import texts
from keyturn.policy.policy import Policy
from keyturn.policy.reach.changes import Outlook

__all__ = ["Change", "Outlook", "difference"]


def difference(
    old: Policy, new: Policy, outlook: Outlook, calendars: Collection[str] = frozenset()
) -> tuple[Change, ...]:
    """Return every difference: gains, then losses, then what reads otherwise. `calendars` are paths that differ."""
    found = [*calls(old, new, outlook), *reviews(old, new), *room(old, new)]
    return (
        *(change for change in found if change.kind == "gains"),
        *(change for change in found if change.kind == "loses"),
        *texts(old, new, frozenset(calendars)),
    )
