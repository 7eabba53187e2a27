"""Judges one line of a text that is to be posted where bots and trackers read too."""

from __future__ import annotations

import re
from html import unescape

from keyturn.model.text import invisible

# Bots read a line that begins with / or @ as addressed to them, also behind quote and list marks.
_COMMAND = re.compile(r"[\s>*+\-]*[/@]\S")
# The closing words of GitHub and GitLab, with every form of reference they take, merge requests (`!4`) included.
# https://docs.github.com/issues/tracking-your-work-with-issues/using-issues/linking-a-pull-request-to-an-issue
# https://docs.gitlab.com/user/project/issues/managing_issues/#default-closing-pattern
_CLOSING = re.compile(
    r"\b(?:clos(?:e[sd]?|ing)|fix(?:e[sd]|ing)?|resolv(?:e[sd]?|ing)|implement(?:s|ed|ing)?)\b"
    r"(?:\s*:)?\s+(?:issues?\s+)?(?:[\w./-]*[#!]\d|gh-\d|https?://)",
    re.IGNORECASE,
)


def line_problem(line: str) -> str | None:
    """Say why a line must not be posted, as words that follow the quoted line, or None when it may be.

    Refused: what hides or rearranges text (tabs are fine), commands to bots, words that close an issue.
    """
    if hidden := invisible(line, keep="\t"):
        return f"holds an invisible or direction-turning character at place {hidden[0] + 1}"
    # As it is written, for bots, and as Markdown shows it, for trackers: there `&#35;1` is `#1`.
    either = (line, unescape(line))
    if any(map(_COMMAND.match, either)):
        return "begins with / or @, which bots read as a command"
    if any(map(_CLOSING.search, either)):
        return "would close an issue; name the issue without a closing word"
    return None
