"""Lands new pull requests and updates on GitHub, completes what a crash left, and fences off what never began.

The steps, and what a crash after each leaves:

1. Blobs, trees, commit: nothing refers to them. Nothing has happened.
2. The marker (see `marking`), pointing to the commit. From here on the effect has begun: a probe that finds it
   completes it. All that is left is determined by the plan and can be done twice.
3. An update takes its turn after the reviewed head. Another action that goes on from the same head has lost, or this
   one has: it is stale then.
4. The branch. A new one is created where none stands; an open one is moved by a fast-forward alone, so what others
   pushed is never lost. (No call of this API names the commit a branch is moved *from*: a branch that somebody sets
   back to an older commit between our look and our push would be brought forward again.)
5. The pull request. GitHub keeps at most one open for a branch and its base; one that was opened and closed since is
   found by its branch and counts.

A probe that finds no marker writes a fence in its place, in the same atomic step: an executor that comes later
cannot begin. So *cannot happen* is never said of an effect that may still come.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.canon import Json
from keyturn.connectors.forge import Change, Landed, Opening, Revision
from keyturn.connectors.forge.github.answers import number_at
from keyturn.connectors.forge.github.making import Made, work_out, write
from keyturn.connectors.forge.github.marking import (
    EXISTS,
    FENCED,
    REPLACED,
    Marks,
    NotDone,
    is_fence,
    marker_of,
    sure,
    turn_of,
)
from keyturn.connectors.forge.github.pulls import Pulls, Request
from keyturn.connectors.forge.github.reading import Commit
from keyturn.connectors.forge.refs import branch_of
from keyturn.connectors.github import said, segment
from keyturn.connectors.http import Answer
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef

_NO_DRAFTS = "draft pull requests are not supported"


class Moved(Exception):
    """The world is not the one that was reviewed; `facts` says what differs."""

    def __init__(self, *facts: str) -> None:
        super().__init__("; ".join(facts))
        self.facts = facts


@dataclass(frozen=True, slots=True)
class Landing:
    """Lands one change of one action."""

    marks: Marks
    pulls: Pulls
    change: Change
    action: ActionRef

    @property
    def branch(self) -> str:
        """The branch that the change lands on."""
        return branch_of(self.change, self.action)

    async def apply(self) -> Landed | Stale:
        """Land it once, or say what moved; as `Forge.apply`."""
        made = await work_out(self.marks, self.change, self.action)
        # The marker comes before the branch, so a branch that was there before a missing marker is not ours.
        taken = isinstance(self.change, Opening) and await self.marks.reading.branch(self.branch) is not None
        marker = await self.marks.marker(self.action.action)
        if marker is None:
            if taken:
                raise ConnectorError(self._other_branch())
            moved = await self._moved()
            marker = await self.marks.marker(self.action.action) if moved else None
            if moved and marker is None:
                return Stale(moved)
        if marker is None:
            commit = await write(self.marks, made, self.change, self.action)
            marker = await self.marks.take(marker_of(self.action.action), commit.sha)
        self._refuse_other(made, marker)
        try:
            return await self._complete(marker)
        except Moved as moved_since:
            await self._take_back(marker, moved_since)
            return Stale(moved_since.facts)
        except NotDone as error:
            await self._take_back(marker, error)
            raise
        except ConnectorError as error:
            raise ConnectorError(str(error), kind="unknown") from error

    async def probe(self) -> Landed | CannotHappen | CannotTell:
        """Find it and complete it, or fence it off; as `Forge.probe`."""
        marker = await self.marks.marker(self.action.action) or await self.marks.fence(self.action)
        if is_fence(marker, self.action):
            there = await self._traces()
            return REPLACED if there else CannotHappen("it had not landed, and a fence keeps it from landing")
        self._refuse_other(await work_out(self.marks, self.change, self.action), marker)
        try:
            return await self._complete(marker)
        except Moved as moved:
            await self._take_back(marker, moved)
            return CannotHappen(f"it was begun, and cannot land where it had to: {moved}")
        except NotDone as error:
            await self._take_back(marker, error)
            return CannotHappen(f"it was begun, and taken back: {error}")

    async def _traces(self) -> bool:
        """Say whether there is what comes after the marker alone: whoever may push can take the marker away."""
        if isinstance(self.change, Revision):
            return await self.marks.turned(turn_of(self.change.pull, self.change.head), self.action)
        found = await self.pulls.of_branch(self.branch)
        return found is not None and await self.pulls.hub.is_us(found.author)

    async def _take_back(self, marker: Commit, why: Exception) -> None:
        """Leave nothing of what GitHub refuses to complete, and keep it from coming late."""
        try:
            turn = turn_of(self.change.pull, self.change.head) if isinstance(self.change, Revision) else None
            await self.marks.take_back(self.action, turn)
            if isinstance(self.change, Opening) and await self.marks.reading.branch(self.branch) == marker.sha:
                await self.marks.delete(f"heads/{self.branch}")
        except ConnectorError as error:
            raise ConnectorError(
                f"{why}; and what was begun could not be taken back: {error}", kind="unknown"
            ) from error

    def _refuse_other(self, made: Made, marker: Commit) -> None:
        if is_fence(marker, self.action):
            raise ConnectorError(FENCED)
        if not made.is_it(marker):
            raise ConnectorError(f"refs/{marker_of(self.action.action)} is there already and holds something else")

    async def _complete(self, marker: Commit) -> Landed:
        """Do what is left of an effect whose marker stands. Raises `Moved`."""
        match self.change:
            case Opening():
                return await self._opened(self.change, marker)
            case Revision():
                return await self._updated(self.change, marker)

    # openings

    async def _opened(self, opening: Opening, marker: Commit) -> Landed:
        found = await self.pulls.of_branch(self.branch)
        if found is None:
            await self._set_branch(marker)
            found = await self._request(opening, marker)
        if not await self.pulls.hub.is_us(found.author):
            raise ConnectorError(
                f"pull request #{found.number} of branch {self.branch} was opened by {visible(found.author)} before "
                f"we could, and not in the words that were reviewed; look at {found.url}",
                kind="unknown",
            )
        if not found.touched and (found.base, found.draft) != (opening.base, opening.draft):
            raise ConnectorError(
                f"pull request #{found.number} is there, but was not opened as reviewed: its base is {found.base}, "
                f"and it is {'a' if found.draft else 'no'} draft; look at {found.url}",
                kind="unknown",
            )
        return Landed(self.branch, marker.sha, found.number, found.url)

    async def _set_branch(self, marker: Commit) -> None:
        with sure():
            trouble = await self.marks.create(f"refs/heads/{self.branch}", marker.sha)
        head = await self.marks.reading.branch(self.branch)
        if head is None and trouble:
            raise NotDone(f"GitHub does not create branch {self.branch}: {trouble}")
        if head is None:
            raise ConnectorError(f"GitHub said that it created branch {self.branch}, and shows none", kind="unknown")
        if not await self.marks.reading.contains(head, marker.sha):
            raise NotDone(self._other_branch())

    def _other_branch(self) -> str:
        return f"branch {self.branch} is there already and holds something else"

    async def _request(self, opening: Opening, marker: Commit) -> Request:
        """Open the pull request and read it back.

        https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request
        """
        body: dict[str, Json] = {
            "title": opening.title,
            "head": self.branch,
            "base": opening.base,
            "body": _body(opening, self.action),
            "draft": opening.draft,
        }
        with sure():
            answer = await self.pulls.hub.change("POST", "/pulls", body=body, expected=EXISTS)
        found = await self._shown(answer)
        if found is not None:
            return found
        if answer.status not in EXISTS:
            raise ConnectorError("GitHub said that it opened the pull request, and shows none", kind="unknown")
        # a draft was reviewed, so nothing else is opened in its place
        advice = "; ask anew with draft = false" if _NO_DRAFTS in said(answer).lower() else ""
        raise NotDone(f"GitHub does not open the pull request: {said(answer)}{advice}")

    async def _shown(self, answer: Answer) -> Request | None:
        """Return the pull request of the branch: the one that GitHub says it opened, else one that is there."""
        if answer.status not in EXISTS:
            found = await self.pulls.maybe(number_at(answer.json(), "number"))
            if found is not None and found.own and found.branch == self.branch:
                return found
        return await self.pulls.of_branch(self.branch)

    # updates

    async def _updated(self, revision: Revision, marker: Commit) -> Landed:
        found = await self.pulls.of_branch(self.branch)
        if found is None:
            raise ConnectorError(f"there is no pull request of action {revision.pull}")
        if not await self._is_on(marker, found.head):
            trouble = await self._push(revision, marker)
            if not await self._is_on(marker, found.head):
                raise (
                    Moved(*trouble)
                    if trouble
                    else ConnectorError(
                        f"GitHub said that it moved branch {self.branch}, and did not", kind="unknown"
                    )
                )
        return Landed(self.branch, marker.sha, found.number, found.url)

    async def _is_on(self, marker: Commit, last: str) -> bool:
        """Say whether the branch (where it is gone: the pull request's last head) contains the action's commit."""
        head = await self.marks.reading.branch(self.branch) or last
        return await self.marks.reading.contains(head, marker.sha)

    async def _push(self, revision: Revision, marker: Commit) -> tuple[str, ...]:
        """Move the branch, when it is this action's turn; return what has moved otherwise.

        https://docs.github.com/en/rest/git/refs#update-a-reference
        """
        if moved := await self._update_moved(revision):
            return moved
        with sure():
            turn = await self.marks.take(turn_of(revision.pull, revision.head), marker.sha)
        if turn.sha != marker.sha:
            return ("another action goes on from the reviewed head already",)
        path = f"/git/refs/{segment(f'heads/{self.branch}')}"
        body: dict[str, Json] = {"sha": marker.sha, "force": False}
        with sure():
            answer = await self.pulls.hub.change("PATCH", path, body=body, expected=EXISTS)
        if answer.status not in EXISTS:
            return ()
        moved = await self._update_moved(revision)
        if moved or await self._is_on(marker, revision.head):
            return moved
        raise NotDone(f"GitHub does not move branch {self.branch}: {said(answer)}")

    # comparing

    async def _moved(self) -> tuple[str, ...]:
        match self.change:
            case Opening():
                return await self._opening_moved(self.change)
            case Revision():
                return await self._update_moved(self.change)

    async def _opening_moved(self, opening: Opening) -> tuple[str, ...]:
        reading = self.marks.reading
        base = await reading.branch(opening.base)
        if base is None:
            return (f"branch {opening.base} is gone",)
        if not await reading.contains(base, opening.base_commit):
            return (f"branch {opening.base} no longer contains the reviewed commit {opening.base_commit}",)
        root = (await reading.commit(base)).tree
        states = await reading.states(root, [item.path for item in opening.files])
        changed = [item.path for item in opening.files if states[item.path] != item.before]
        return tuple(f"{path} has changed on {opening.base} since the review" for path in changed)

    async def _update_moved(self, revision: Revision) -> tuple[str, ...]:
        found = await self.pulls.of_branch(self.branch)
        if found is None:
            raise ConnectorError(f"there is no pull request of action {revision.pull}")
        return await self.pulls.moved(found, revision.base, revision.head)


def _body(opening: Opening, action: ActionRef) -> str:
    return f"Opened by Keyturn for {action.principal}, action {action.action}.\n\n{opening.body}".rstrip("\n")
