"""Says how many people an action tells, in the words of all tools, and holds that number against the reviewed one."""

from __future__ import annotations

from keyturn.model.errors import ConnectorError
from keyturn.model.plan import Plan


def told(recipients: int) -> str:
    """Return what a summary says of the people who would be told, "" when there are none."""
    if recipients == 0:
        return ""
    return f", tells {recipients} {'person' if recipients == 1 else 'people'}"


def watchers(recipients: int) -> str:
    """Return what a summary says of the people who watch a ticket."""
    return "1 watcher" if recipients == 1 else f"{recipients} watchers"


def recipients_of(plan: Plan) -> int:
    """Return the reviewed number of recipients; refused where the plan has none."""
    recipients = plan.facts["recipients"]
    if not isinstance(recipients, int) or recipients < 0:
        raise ConnectorError("the plan does not say how many people would be told")
    return recipients


def more_are_told(reviewed: object, now: int) -> str | None:
    """Say that more people would be told than at the review, or None: fewer are nobody's worry."""
    if isinstance(reviewed, int) and now <= reviewed:
        return None
    return f"{now} people would be told, {reviewed} at the review"
