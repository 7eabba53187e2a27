"""Counts whom a change of an issue would be mailed to, as far as that can be seen from outside.

Seen are: author, assignees and commenters of the issue; people whom our own text mentions; and who watches the
repository. Each is counted once, and we are not. Some of them may have turned such mails off, which makes the number
too high; people whom others mentioned and who subscribed to the one issue are not shown, which makes it too low.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.canon import Json
from keyturn.connectors.github import GitHub
from keyturn.connectors.github.mentions import mentions
from keyturn.connectors.tickets.github.issues import Comment, Issue, same
from keyturn.model.outcome import differing

PAGES: Final = 10
"""Pages of a hundred watchers that are read by name; more are counted by pages, and nobody in them twice."""

_LAST: Final = re.compile(r'[?&]page=([0-9]{1,9})[^<>]{0,500}>\s*;\s*rel="last"')


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who watches the repository: logins, or only how many there are at most where `names` is None."""

    names: tuple[str, ...] | None
    most: int


async def watchers_of(github: GitHub) -> Watchers:
    """Return who watches the repository; nobody where GitHub does not let us see it.

    https://docs.github.com/en/rest/activity/watching#list-watchers
    """
    first = await github.get("/subscribers", params={"per_page": "100"}, expected=frozenset({403, 404}))
    if first.status != 200:
        return Watchers((), 0)
    last = _LAST.search(first.headers.get("link", ""))
    pages = int(last[1]) if last else 1
    if pages > PAGES:
        return Watchers(None, pages * 100)
    listed = await github.pages("/subscribers", most=PAGES * 100)
    names = tuple(person["login"] for person in listed if isinstance(person, dict) and "login" in person)
    return Watchers(names, len(names))


def people(issue: Issue | None, comments: Iterable[Comment], watchers: Watchers, us: str) -> tuple[str, ...]:
    """Return the logins that can be named, each once, without ours; first who takes part, then who watches."""
    part = [] if issue is None else [issue.author, *issue.assignees]
    named = [*part, *(comment.author for comment in comments), *(watchers.names or ())]
    each = {name.casefold(): name for name in reversed(named) if name and not same(name, us)}
    return tuple(each[key] for key in dict.fromkeys(name.casefold() for name in named) if key in each)


def reached(named: Iterable[str], watchers: Watchers, text: str, us: str) -> int:
    """Return how many people get a mail, with those whom our text mentions."""
    everybody = {name.casefold() for name in (*named, *mentions(text))} - {us.casefold()}
    return len(everybody) + (watchers.most if watchers.names is None else 0)


def tolerated(reviewed: int) -> int:
    """Return how many may be reached before a review of `reviewed` is void.

    Whoever comments or begins to watch adds to the number, and nobody should have to review again for that: three
    more are always fine, or a tenth more where many are reached. Fewer are fine, too.
    """
    return reviewed + max(3, reviewed // 10)


def reviewed_reach(reviewed: Mapping[str, Json]) -> int:
    """Return how many were to be reached by the reviewed facts."""
    number = reviewed.get("recipients")
    return number if isinstance(number, int) else 0


def moved_facts(seen: Mapping[str, Json], reviewed: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the names of facts that are not as reviewed, sorted; a few recipients more, or fewer, are fine."""
    moved = differing(seen, reviewed)
    if "recipients" in reviewed and reviewed_reach(seen) <= tolerated(reviewed_reach(reviewed)):
        return tuple(name for name in moved if name != "recipients")
    return moved
