"""Reads issues, their comments and events of one repository on GitHub, and sorts their states into status words.

https://docs.github.com/en/rest/issues/issues, …/issues/comments and …/issues/events
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from keyturn.canon import Json
from keyturn.connectors.github import GitHub
from keyturn.connectors.tickets.comments import tag_of
from keyturn.model.errors import ConnectorError
from keyturn.model.time import action_time

STATUSES: Final = ("open", "closed", "not planned")
"""What a status may be set to; an issue closed as a duplicate has the status `duplicate`, which people set."""
CHANGES: Final[Mapping[str, Mapping[str, Json]]] = {
    "open": {"state": "open"},
    "closed": {"state": "closed", "state_reason": "completed"},
    "not planned": {"state": "closed", "state_reason": "not_planned"},
}
"""Status word → what is sent. GitHub heeds `state_reason` only where `state` changes with it."""

MOST_COMMENTS: Final = 3000
MOST_EVENTS: Final = 3000
PAGES: Final = 10
"""Pages of a hundred issues that are looked through for one that was made."""
APART: Final = timedelta(hours=1)
"""How far our clock and GitHub's may be apart when what is newer than an action is asked for."""

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_ABSENT: Final = {
    301: "was moved to another repository, or the repository has another name now",
    404: "is not there",
    410: "was deleted, or issues are switched off in this repository",
}
_WORDS: Final = {"not_planned": "not planned", "duplicate": "duplicate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One issue. `author` and `assignees` are logins; `url` is its page; times are GitHub's own texts.

    `id` is no other issue's on that GitHub, ever: a repository that takes another's name brings its own ids.
    """

    id: int
    number: int
    title: str
    status: str
    locked: bool
    author: str
    assignees: tuple[str, ...]
    labels: tuple[str, ...]
    body: str
    updated_at: str
    created_at: str
    url: str


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no such issue here; `status` is what GitHub answered, 200 for a pull request."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """One comment; `author` is a login."""

    id: int
    author: str
    body: str
    created_at: str


def is_number(ticket: str) -> bool:
    """Say whether a text has the form of an issue's number, `42`."""
    return _NUMBER.fullmatch(ticket) is not None


async def find_issue(github: GitHub, ticket: str) -> Issue | Absent:
    """Read an issue; a moved one is not followed, and a pull request, which GitHub counts in, is none."""
    answer = await github.get(f"/issues/{ticket}", expected=frozenset(_ABSENT))
    if answer.status in _ABSENT:
        return Absent(answer.status, _ABSENT[answer.status])
    value = answer.json()
    if isinstance(value, dict) and value.get("pull_request") is not None:
        return Absent(200, "is a pull request, not an issue")
    issue = issue_in(value)
    if str(issue.number) != ticket:
        raise ConnectorError(f"GitHub answered with issue {issue.number} when {ticket} was asked for")
    return issue


async def comments_on(github: GitHub, ticket: str, since: datetime | None = None) -> list[Comment]:
    """Return the comments on an issue, the oldest first; with `since` those changed after it."""
    params = {} if since is None else {"since": _timestamp(since)}
    found = await github.pages(f"/issues/{ticket}/comments", params=params, most=MOST_COMMENTS)
    return sorted((comment_in(value) for value in found), key=lambda comment: comment.id)


async def own_comments(github: GitHub, ticket: str, action: str, us: str) -> list[Comment]:
    """Return our comments with an action's tag, the oldest first. A tag that others pasted does not count."""
    tag, recent = tag_of(action), await comments_on(github, ticket, _before(action))
    return [comment for comment in recent if tag in comment.body and same(comment.author, us)]


async def own_issues(github: GitHub, action: str, us: str) -> list[Issue]:
    """Return issues of ours with an action's tag, the oldest first: looked for among those made since the action.

    Raises `ConnectorError` where so many were made that the action's own might not be among them.
    """
    tag, since = tag_of(action), _timestamp(_before(action))
    found: list[Issue] = []
    for page in range(1, PAGES + 1):
        listed = await _newest(github, page)
        issues = [issue_in(value) for value in listed if isinstance(value, dict) and "pull_request" not in value]
        found += [issue for issue in issues if tag in issue.body and same(issue.author, us)]
        if len(listed) < 100 or any(str(value.get("created_at")) < since for value in listed):
            return sorted({issue.number: issue for issue in found}.values(), key=lambda issue: issue.number)
    raise ConnectorError(f"{github.repository}: more than {PAGES * 100} issues were made since; look there by hand")


async def set_by_us(github: GitHub, ticket: str, status: str, us: str, since: str) -> bool:
    """Say whether we closed or reopened an issue, as the status asks, since a time of GitHub's."""
    wanted = "reopened" if status == "open" else "closed"
    events = await github.pages(f"/issues/{ticket}/events", most=MOST_EVENTS)
    return any(
        event.get("event") == wanted and same(_login(event.get("actor")), us) and str(event["created_at"]) >= since
        for event in events
        if isinstance(event, dict) and isinstance(event.get("created_at"), str)
    )


def issue_in(value: Any) -> Issue:
    """Read an issue as GitHub describes it. Raises `ConnectorError` where it does otherwise."""
    match value:
        case {
            "id": int(own),
            "number": int(number),
            "title": str(title),
            "state": "open" | "closed" as state,
            "updated_at": str(updated_at),
            "created_at": str(created_at),
        } if isinstance(value.get("body") or "", str):
            return Issue(
                id=own,
                number=number,
                title=title,
                status="open" if state == "open" else _WORDS.get(str(value.get("state_reason")), "closed"),
                locked=value.get("locked") is True,
                author=_login(value.get("user")),
                assignees=tuple(_login(person) for person in _listed(value.get("assignees"))),
                labels=tuple(_label(label) for label in _listed(value.get("labels"))),
                body=value.get("body") or "",
                updated_at=updated_at,
                created_at=created_at,
                url=str(value.get("html_url") or ""),
            )
    raise ConnectorError("GitHub describes an issue in a way that cannot be read")


def comment_in(value: Any) -> Comment:
    """Read a comment as GitHub describes it. Raises `ConnectorError` where it does otherwise."""
    match value:
        case {"id": int(number), "body": str(body), "created_at": str(created_at)}:
            return Comment(id=number, author=_login(value.get("user")), body=body, created_at=created_at)
    raise ConnectorError("GitHub describes a comment in a way that cannot be read")


def same(one: str, other: str) -> bool:
    """Compare logins, which GitHub tells apart without looking at capitals."""
    return one != "" and one.casefold() == other.casefold()


async def _newest(github: GitHub, page: int) -> list[Any]:
    params = {"state": "all", "sort": "created", "direction": "desc", "per_page": "100", "page": str(page)}
    listed = (await github.get("/issues", params=params)).json()
    if not isinstance(listed, list) or not all(isinstance(value, dict) for value in listed):
        raise ConnectorError("GitHub lists issues in a way that cannot be read")
    return listed


def _before(action: str) -> datetime:
    return action_time(action) - APART


def _timestamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _login(person: Any) -> str:
    """Return a login; "" for a person whose account was deleted."""
    login = person.get("login") if isinstance(person, dict) else None
    return login if isinstance(login, str) else ""


def _label(label: Any) -> str:
    return str(label.get("name", "")) if isinstance(label, dict) else str(label)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
