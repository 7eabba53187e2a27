"""Judges and writes the texts that are posted to issues, and shows a change as a reviewer sees it."""

from __future__ import annotations

import re
from typing import Final

from keyturn.connectors.github.mentions import mentions
from keyturn.connectors.tickets import NewTicket, TicketChange
from keyturn.connectors.tickets.comments import check_comment, check_new, opening
from keyturn.connectors.tickets.github.issues import Issue
from keyturn.model.diff import FileDiff, file_diff
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef

NOBODY: Final = ActionRef(action="<action>", principal="<principal>")
"""Stands in previews for what is only known once the action exists."""
QUOTED: Final = 200
"""Characters of a title that a preview quotes."""

# Such a line alone marks an issue as a duplicate.
# https://docs.github.com/issues/tracking-your-work-with-issues/administering-issues/marking-issues-or-pull-requests-as-a-duplicate
_DUPLICATE: Final = re.compile(r"[\s>*_~-]*duplicate\s+of\b", re.IGNORECASE)


def check_words(comment: str) -> None:
    """Refuse a comment that must not be posted, naming the line."""
    check_comment(comment)
    _check_github(comment, "the comment")


def check_issue(title: str, body: str, labels: tuple[str, ...]) -> None:
    """Refuse a new issue that must not be posted, naming what is wrong."""
    check_new(title, body, labels)
    _check_github(body, "the text")


def comment_of(change: TicketChange, action: ActionRef) -> str:
    """Write the comment that a change posts: who and why, which status it sets, and what was to be said."""
    parts = [opening(action)]
    if change.status is not None:
        parts.append(f"Sets the status from {change.facts.get('status')} to {change.status}.")
    if change.comment is not None:
        parts.append(change.comment.rstrip())
    return "\n\n".join(parts)


def body_of(ticket: NewTicket, action: ActionRef) -> str:
    """Write the text of a new issue."""
    return "\n\n".join([opening(action), ticket.body.rstrip()] if ticket.body.strip() else [opening(action)])


def change_shown(issue: Issue, change: TicketChange) -> FileDiff:
    """Show a change as a diff of what an issue says at its head and its end; what others wrote is not repeated."""
    said = f"\n## Comment by <principal> at <time>\n\n{comment_of(change, NOBODY)}\n"
    old = _head(issue.title, issue.status)
    new = _head(issue.title, change.status or issue.status) + said
    return file_diff(f"issues/{issue.number}", old.encode(), new.encode())


def issue_shown(ticket: NewTicket) -> FileDiff:
    """Show a new issue as a file that is made."""
    labels = "".join(f"label: {label}\n" for label in ticket.labels)
    text = f"{_head(ticket.title, 'open')}{labels}\n{body_of(ticket, NOBODY)}\n"
    return file_diff("issues/<number>", None, text.encode())


def _head(title: str, status: str) -> str:
    return f"title: {visible(title[:QUOTED])}\nstatus: {status}\n"


def _check_github(text: str, what: str) -> None:
    for number, line in enumerate(text.split("\n"), 1):
        if _DUPLICATE.match(line):
            raise ConnectorError(f"line {number} of {what} begins with the words that mark an issue as a duplicate")
        try:
            mentions(line)
        except ConnectorError as error:
            raise ConnectorError(f"line {number} of {what} {error}") from None
