"""Judges the texts of a ticket before they are planned, and writes a comment as a section of a ticket file.

A text in a ticket is read by more than people: bots act on lines beginning with `/` or `@`, trackers close issues on
words like "fixes #1", and our own headings and marks say who wrote what. None of these may come in through a text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from keyturn.connectors.posting import line_problem
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef

MAX_COMMENT = 10_000  # characters
MAX_BODY = 20_000  # characters of what a new ticket says
MAX_TITLE = 200  # characters; GitHub takes 256
MAX_LABELS = 20
MAX_LABEL = 50  # characters; https://docs.github.com/rest/issues/labels takes no more

_HEADING = re.compile(r"\s*#+\s*comment\s+by\b", re.IGNORECASE)


def check_comment(comment: str) -> None:
    """Refuse a comment that is empty, too long, or holds a line that must not be posted, naming that line."""
    if not comment.strip():
        raise ConnectorError("the comment is empty")
    _check_lines(comment, "the comment", MAX_COMMENT)


def check_new(title: str, body: str, labels: Sequence[str]) -> None:
    """Refuse a new ticket whose title, text or labels must not be posted, naming what is wrong. No text is fine."""
    _check_title(title)
    _check_lines(body, "the text", MAX_BODY)
    _check_labels(labels)


def tag_of(action: str) -> str:
    """Return the tag by which what an action wrote is found again."""
    return f"<!-- keyturn/{action} -->"


def opening(action: ActionRef) -> str:
    """Return the line that everything we write opens with: who wrote it, for which action, and its tag."""
    return f"Written by {visible(action.principal)} through Keyturn, action {action.action}. {tag_of(action.action)}"


def section(comment: str, action: ActionRef, at: str) -> str:
    """Write a comment as the section to append, lines ended by a line feed; its first words name who and why."""
    return f"\n## Comment by {visible(action.principal)} at {at}\n\n{opening(action)}\n\n{comment.rstrip()}\n"


def _check_lines(text: str, what: str, most: int) -> None:
    if len(text) > most:
        raise ConnectorError(f"{what} is longer than {most} characters")
    for number, line in enumerate(text.split("\n"), 1):
        problem = _problem(line)
        if problem is not None:
            raise ConnectorError(f"line {number} of {what} {problem}: {visible(line[:80])!r}")


def _check_title(title: str) -> None:
    if not title.strip():
        raise ConnectorError("the title is empty")
    if len(title) > MAX_TITLE:
        raise ConnectorError(f"the title is longer than {MAX_TITLE} characters")
    problem = "has blanks at an end" if title != title.strip() else _problem(title)
    if "\t" in title:
        problem = "holds a tab"
    if problem is not None:
        raise ConnectorError(f"the title {problem}: {visible(title[:80])!r}")


def _check_labels(labels: Sequence[str]) -> None:
    if len(labels) > MAX_LABELS:
        raise ConnectorError(f"there are more than {MAX_LABELS} labels")
    if len({label.casefold() for label in labels}) != len(labels):
        raise ConnectorError("a label stands twice")
    for label in labels:
        if not label.strip() or label != label.strip() or len(label) > MAX_LABEL or visible(label) != label:
            raise ConnectorError(
                f"{visible(label[:80])!r} is not a label: at most {MAX_LABEL} characters on one line, none of them "
                "invisible, no blanks at the ends"
            )


def _problem(line: str) -> str | None:
    if problem := line_problem(line):
        return problem
    if "<!--" in line:
        return "holds an HTML comment, which readers would not see"
    if _HEADING.match(line):
        return "looks like the heading of somebody's comment"
    return None
