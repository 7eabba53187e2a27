"""Reads pull requests of a repository on GitHub: how they stand, what is reported for them, who is told.

https://docs.github.com/en/rest/pulls/pulls
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from keyturn.connectors.forge import Check, CheckState, Pull, PullReview, PullStatus
from keyturn.connectors.forge.github.answers import count_at, list_at, members, number_at, oid_at, text_at, truth_at
from keyturn.connectors.forge.github.marking import Marks, is_fence
from keyturn.connectors.forge.github.reading import MISSING
from keyturn.connectors.forge.merging import worst
from keyturn.connectors.github import GitHub
from keyturn.model.errors import ConnectorError
from keyturn.model.time import action_time
from keyturn.model.tool import ActionRef

MOST_REQUESTS = 100
"""Pull requests of one branch that are looked at."""
MOST_REPORTS = 1000
"""Checks, statuses or reviews that are read of one commit or pull request."""

_GOOD = frozenset({"success", "neutral", "skipped"})
_WITH_A_SAY = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
_VERDICTS = {"APPROVED": "approved", "CHANGES_REQUESTED": "changes_requested", "COMMENTED": "commented"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A pull request as GitHub tells it.

    own      whether its branch is in this repository, not in a fork
    touched  whether anything happened to it since it was opened
    people   who takes part, as far as the pull request itself says
    """

    number: int
    url: str
    title: str
    author: str
    status: Literal["open", "merged", "closed"]
    draft: bool
    base: str
    branch: str
    head: str
    own: bool
    touched: bool
    people: frozenset[str]
    merge_commit: str | None
    mergeable: bool | None
    merged_by: str | None


def request_in(answer: Any, repository: str) -> Request:
    """Read a pull request. `mergeable` and `merged_by` are told of single ones, not in listings."""
    told = members(answer)
    others = [list_at(told, name) for name in ("assignees", "requested_reviewers") if told.get(name) is not None]
    people = [told.get("user"), *(person for several in others for person in several)]
    merged = told.get("merged_at") is not None
    home = members(told.get("head")).get("repo")
    return Request(
        number=number_at(answer, "number"),
        url=text_at(answer, "html_url"),
        title=text_at(answer, "title"),
        author=_login(told.get("user")) or "ghost",
        status="merged" if merged else "open" if text_at(answer, "state") == "open" else "closed",
        draft=truth_at(answer, "draft"),
        base=text_at(answer, "base", "ref"),
        branch=text_at(answer, "head", "ref"),
        head=oid_at(answer, "head", "sha"),
        own=isinstance(home, Mapping) and str(home.get("full_name")).casefold() == repository.casefold(),
        touched=told.get("updated_at") != told.get("created_at"),
        people=frozenset(name for person in people if (name := _login(person))),
        merge_commit=oid_at(answer, "merge_commit_sha") if merged else None,
        mergeable=told.get("mergeable"),
        merged_by=_login(told.get("merged_by")),
    )


@dataclass(frozen=True, slots=True)
class Pulls:
    """Reads pull requests of one repository."""

    hub: GitHub
    marks: Marks

    async def numbered(self, number: int) -> Request:
        """Read a pull request of anybody. Refused: an unknown number."""
        found = await self.maybe(number)
        if found is None:
            raise ConnectorError(f"{self.hub.repository} has no pull request #{number}")
        return found

    async def maybe(self, number: int) -> Request | None:
        """Read a pull request of anybody; None where there is none of this number.

        https://docs.github.com/en/rest/pulls/pulls#get-a-pull-request
        """
        answer = await self.hub.get(f"/pulls/{number}", expected=MISSING)
        return None if answer.status in MISSING else request_in(answer.json(), self.hub.repository)

    async def of_branch(self, branch: str) -> Request | None:
        """Return the pull request of a branch of this repository: the open one, else the first there was.

        https://docs.github.com/en/rest/pulls/pulls#list-pull-requests
        """
        owner = self.hub.repository.partition("/")[0]
        params = {"head": f"{owner}:{branch}", "state": "all"}
        listed = await self.hub.pages("/pulls", params=params, most=MOST_REQUESTS)
        found = [request_in(item, self.hub.repository) for item in listed]
        own = [item for item in found if item.own and item.branch == branch]
        return min(own, key=lambda item: (item.status != "open", item.number), default=None)

    async def moved(self, found: Request, base: str, head: str) -> tuple[str, ...]:
        """Say what keeps an open pull request from being gone on with at its reviewed head."""
        if found.status != "open":
            word = f"merged into {found.base}" if found.status == "merged" else "closed"
            return (f"the pull request has been {word}",)
        if found.base != base:
            return (f"the pull request goes to branch {found.base} now, not to {base}",)
        reading = self.marks.reading
        if await reading.branch(found.branch) != head:
            return (f"branch {found.branch} is no longer at the reviewed commit {head}",)
        tip = await reading.branch(base)
        if tip is not None and await reading.contains(tip, head):
            return (f"the pull request has been merged into {base}",)
        return ()

    async def checks(self, commit: str) -> tuple[Check, ...]:
        """Return what is reported for a commit, by name: the newest check runs and statuses, of several the worst.

        https://docs.github.com/en/rest/checks/runs#list-check-runs-for-a-git-reference
        https://docs.github.com/en/rest/commits/statuses#get-the-combined-status-for-a-specific-reference
        """
        runs = await self.hub.pages(f"/commits/{commit}/check-runs", most=MOST_REPORTS, member="check_runs")
        statuses = await self.hub.pages(f"/commits/{commit}/status", most=MOST_REPORTS, member="statuses")
        reported: dict[str, list[Check]] = {}
        for check in (*map(_check_run, runs), *map(_status, statuses)):
            reported.setdefault(check.name, []).append(check)
        return tuple(Check(name, worst(several)) for name, several in sorted(reported.items()))

    async def reviews(self, number: int) -> tuple[PullReview, ...]:
        """Return the newest review of each person; a comment does not take a verdict back, as on GitHub itself.

        Anybody may approve in a public repository. Of people who do not belong to it that is a comment.
        https://docs.github.com/en/rest/pulls/reviews#list-reviews-for-a-pull-request
        """
        newest: dict[str, PullReview] = {}
        for item in await self.hub.pages(f"/pulls/{number}/reviews", most=MOST_REPORTS):
            state, person = text_at(item, "state"), _login(members(item).get("user")) or "ghost"
            if state == "APPROVED" and item.get("author_association") not in _WITH_A_SAY:
                state = "COMMENTED"
            if state == "DISMISSED":
                newest.pop(person, None)
            elif state in _VERDICTS and (state != "COMMENTED" or person not in newest):
                newest[person] = PullReview(person, _VERDICTS[state], item.get("commit_id") or "")
        return tuple(newest.values())

    async def watchers(self) -> int:
        """Return how many people watch the repository, whom GitHub tells of everything.

        https://docs.github.com/en/rest/repos/repos#get-a-repository (`subscribers_count`)
        """
        found = members((await self.hub.get("")).json())
        return count_at(found, "subscribers_count") if "subscribers_count" in found else 0

    async def pull(self, action: str) -> Pull:
        """Read the pull request that an action opened; as `Forge.pull`."""
        action_time(action)
        found = await self.of_branch(f"keyturn/{action}")
        marker = await self.marks.marker(action)
        if found is None or marker is None or is_fence(marker, ActionRef(action=action, principal="")):
            raise ConnectorError(f"{self.hub.repository} has no pull request of action {action}")
        if len(marker.parents) != 1:
            raise ConnectorError(
                f"refs/keyturn/action/{action} is not the commit that an action opened a branch with"
            )
        return await self._stands(found, marker.parents[0])

    async def _stands(self, found: Request, base_commit: str) -> Pull:
        reading = self.marks.reading
        head, base = await reading.branch(found.branch), await reading.branch(found.base)
        tip = head or found.head
        comparison = await reading.comparison(base_commit, tip)
        roots = [(await reading.commit(sha)).tree for sha in (base_commit, tip)]
        reviews = await self.reviews(found.number)
        people = found.people | {review.reviewer for review in reviews}
        return Pull(
            title=found.title,
            base=found.base,
            base_commit=base_commit,
            branch=found.branch,
            draft=found.draft,
            head=head,
            status=await self._status(found, head, base, tip),
            commits=comparison["ahead"] if comparison else 0,
            files=tuple(path.decode("utf-8", "backslashreplace") for path, *_ in await reading.differences(*roots)),
            base_moved=base != base_commit,
            number=found.number,
            url=found.url,
            checks=await self.checks(tip),
            reviews=reviews,
            recipients=await self.watchers() + len(people),
        )

    async def _status(self, found: Request, head: str | None, base: str | None, tip: str) -> PullStatus:
        if found.status != "open":
            return found.status
        if base is not None and await self.marks.reading.contains(base, tip):
            return "merged"
        return "open" if head else "deleted"


def _check_run(run: Any) -> Check:
    state: CheckState = "pending"
    if text_at(run, "status") == "completed":
        state = "success" if run.get("conclusion") in _GOOD else "failure"
    return Check(text_at(run, "name"), state)


def _status(status: Any) -> Check:
    said = text_at(status, "state")
    state: CheckState = "success" if said == "success" else "pending" if said == "pending" else "failure"
    return Check(text_at(status, "context"), state)


def _login(person: Any) -> str | None:
    login = person.get("login") if isinstance(person, Mapping) else None
    return login if isinstance(login, str) else None
