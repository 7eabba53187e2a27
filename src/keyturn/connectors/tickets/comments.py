"""Judges the text of a comment before it is planned, and writes it as a section of a ticket.

A comment is read by more than people: bots act on lines beginning with `/` or `@`, trackers close issues on words
like "fixes #1", and our own headings and marks say who wrote what. None of these may come in through a text.
"""

from __future__ import annotations

import re

from keyturn.connectors.posting import line_problem
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef

MAX_COMMENT = 10_000  # characters

_HEADING = re.compile(r"\s*#+\s*comment\s+by\b", re.IGNORECASE)


def check_comment(comment: str) -> None:
    """Refuse a comment that is empty, too long, or holds a line that must not be posted, naming that line."""
    if not comment.strip():
        raise ConnectorError("the comment is empty")
    if len(comment) > MAX_COMMENT:
        raise ConnectorError(f"the comment is longer than {MAX_COMMENT} characters")
    for number, line in enumerate(comment.split("\n"), 1):
        problem = _problem(line)
        if problem is not None:
            raise ConnectorError(f"line {number} of the comment {problem}: {visible(line[:80])!r}")


def mark(action: str) -> str:
    """Return the tag by which a comment's action is found again."""
    return f"<!-- keyturn/{action} -->"


def section(comment: str, action: ActionRef, at: str) -> str:
    """Write a comment as the section to append, lines ended by a line feed; its first words name who and why."""
    who = visible(action.principal)
    return (
        f"\n## Comment by {who} at {at}\n\n"
        f"Written by {who} through Keyturn, action {action.action}. {mark(action.action)}\n\n"
        f"{comment.rstrip()}\n"
    )


def _problem(line: str) -> str | None:
    if problem := line_problem(line):
        return problem
    if "<!--" in line:
        return "holds an HTML comment, which readers would not see"
    if _HEADING.match(line):
        return "looks like the heading of somebody's comment"
    return None
