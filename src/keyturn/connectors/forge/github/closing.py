"""Closes pull requests on GitHub, unmerged, and deletes their branches.

The steps, and what a crash after each leaves:

1. A commit that says what is begun, which nothing refers to; then the marker (see `marking`) that refers to it.
2. The turn after the reviewed head: an update and a closing of the same head cannot both go on.
3. The pull request is closed. GitHub knows no precondition for that: it is read right before, and after.
4. The branch is deleted, if it still is where it was reviewed. GitHub knows no precondition for that either: what
   somebody pushes between our look and the deletion goes with it, and can be restored on the pull request's page.

A probe that finds the marker goes on; one that finds none writes a fence in its place.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.connectors.forge import Closed, Closing
from keyturn.connectors.forge.github.marking import (
    FENCED,
    REPLACED,
    Marks,
    NotDone,
    is_claim,
    is_fence,
    marker_of,
    sure,
    turn_of,
)
from keyturn.connectors.forge.github.pulls import Pulls, Request
from keyturn.connectors.forge.github.reading import Commit
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.tool import ActionRef


@dataclass(frozen=True, slots=True)
class ClosingOne:
    """Closes one pull request for one action."""

    marks: Marks
    pulls: Pulls
    closing: Closing
    action: ActionRef

    @property
    def branch(self) -> str:
        """The branch that goes."""
        return f"keyturn/{self.closing.pull}"

    @property
    def what(self) -> str:
        """What the marker says is begun."""
        return f"Close the pull request of action {self.closing.pull} at {self.closing.head}"

    async def close(self) -> Closed | Stale:
        """Close it once, or say what moved; as `Forge.close`."""
        marker = await self.marks.marker(self.action.action)
        if marker is None:
            if moved := await self._moved(await self._request()):
                return Stale(moved)
            marker = await self.marks.claim(self.what, self.closing.head, self.action)
        self._refuse_other(marker)
        try:
            answer = await self._complete(marker)
        except NotDone as error:
            await self._take_back(str(error))
            raise
        except ConnectorError as error:
            raise ConnectorError(str(error), kind="unknown") from error
        if isinstance(answer, tuple):
            await self._take_back("; ".join(answer))
            return Stale(answer)
        return answer

    async def probe(self) -> Closed | CannotHappen | CannotTell:
        """Find the closing and complete it, or fence it off; as `Forge.probe_closing`."""
        marker = await self.marks.marker(self.action.action) or await self.marks.fence(self.action)
        if is_fence(marker, self.action):
            if await self.marks.turned(turn_of(self.closing.pull, self.closing.head), self.action):
                return REPLACED
            return CannotHappen("it had not been closed by this action, and a fence keeps it from that")
        self._refuse_other(marker)
        try:
            answer = await self._complete(marker)
        except NotDone as error:
            await self._take_back(str(error))
            return CannotHappen(f"it was begun, and taken back: {error}")
        if isinstance(answer, tuple):
            await self._take_back("; ".join(answer))
            return CannotHappen(f"it was begun, and cannot go on: {'; '.join(answer)}")
        return answer

    async def _take_back(self, why: str) -> None:
        try:
            await self.marks.take_back(self.action, turn_of(self.closing.pull, self.closing.head))
        except ConnectorError as error:
            raise ConnectorError(
                f"{why}; and what was begun could not be taken back: {error}", kind="unknown"
            ) from error

    def _refuse_other(self, marker: Commit) -> None:
        if is_fence(marker, self.action):
            raise ConnectorError(FENCED)
        if not is_claim(marker, self.what, self.action):
            raise ConnectorError(f"refs/{marker_of(self.action.action)} is there already and holds something else")

    async def _request(self) -> Request:
        found = await self.pulls.of_branch(self.branch)
        if found is None:
            raise ConnectorError(f"there is no pull request of action {self.closing.pull}")
        return found

    async def _moved(self, found: Request) -> tuple[str, ...]:
        return await self.pulls.moved(found, self.closing.base, self.closing.head)

    async def _complete(self, marker: Commit) -> Closed | tuple[str, ...]:
        """Do what is left; return what moved where it never got its turn."""
        found = await self._request()
        mine = turn_of(self.closing.pull, self.closing.head)
        turn = await self.marks.read(mine)
        if turn is None:
            if moved := await self._moved(found):
                return moved
            with sure():
                turn = await self.marks.take(mine, marker.sha)
        if turn.sha != marker.sha:
            return ("another action goes on from the reviewed head already",)
        return await self._finish(found)

    async def _finish(self, found: Request) -> Closed | tuple[str, ...]:
        if found.status == "open":
            if moved := await self._moved(found):
                return moved
            # https://docs.github.com/en/rest/pulls/pulls#update-a-pull-request
            with sure():
                await self.pulls.hub.change("PATCH", f"/pulls/{found.number}", body={"state": "closed"})
            found = await self._request()
        if found.status == "merged":
            return (f"the pull request has been merged into {found.base}",)
        if found.status == "open":
            raise ConnectorError(
                f"GitHub said that it closed pull request #{found.number}, and did not", kind="unknown"
            )
        await self._delete(found)
        return Closed(self.branch, self.closing.head, found.number, found.url)

    async def _delete(self, found: Request) -> None:
        head = await self.marks.reading.branch(self.branch)
        if head is None:
            return
        if head != self.closing.head:
            raise ConnectorError(
                f"pull request #{found.number} is closed, but branch {self.branch} has moved to {head} meanwhile and "
                "was left alone; delete the branch, or open the pull request again",
                kind="unknown",
            )
        trouble = await self.marks.delete(f"heads/{self.branch}")
        if await self.marks.reading.branch(self.branch) is not None:
            raise ConnectorError(
                f"pull request #{found.number} is closed, but branch {self.branch} stands "
                f"({trouble or 'GitHub said that it deleted it'}); a rule may protect it",
                kind="unknown",
            )
