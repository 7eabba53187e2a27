"""Merges pull requests on GitHub at the head that was reviewed, and reads merges back.

What is sent names the reviewed head, and GitHub merges no other (409). The base is not sent: GitHub takes what it is
at that moment. So the touched files of the base are compared right before, and what came of it is read right after:
the merge's own change, from the commit before it on the base, has to be the reviewed files, byte for byte.

The steps, and what a crash after each leaves:

1. The marker (see `marking`), pointing to a commit that says what is begun. Before it, nothing can have happened, and
   a probe fences the action off.
2. The merge, in one call. A merged pull request stays merged; whose merge it was, the trailer in its commit and
   who merged it say (a rebase has no trailer). A probe that finds the marker and no merge cannot tell, as long as
   the head has not moved: nothing keeps a late call from coming through.

A file that changed both on the branch and on its base since they parted is refused: what a merge makes of the two,
nobody has seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.canon import Json
from keyturn.connectors.forge.github.marking import FENCED, Marks, NotDone, is_claim, is_fence, marker_of, sure
from keyturn.connectors.forge.github.proposals import Proposals, standing_at
from keyturn.connectors.forge.github.pulls import Pulls, Request
from keyturn.connectors.forge.github.reading import Commit
from keyturn.connectors.forge.merging import Merge, Merged, worse, worst
from keyturn.connectors.github import said
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef

TRIES = 3
"""Times a merge is asked for while GitHub says that the base is moving."""

_MOVING = "base branch was modified"
_NOT_MERGED = frozenset({405, 409, 422})


@dataclass(frozen=True, slots=True)
class Merges:
    """Merges of one repository."""

    pulls: Pulls

    @property
    def proposals(self) -> Proposals:
        """Reads what is merged."""
        return Proposals(self.pulls)

    @property
    def marks(self) -> Marks:
        """The refs of actions."""
        return self.pulls.marks

    # merging

    async def merge(self, merge: Merge, action: ActionRef) -> Merged | Stale:
        """Merge once, or say what moved; as `keyturn.connectors.forge.merging.Merges.merge`."""
        marker = await self.marks.marker(action.action)
        found = await self.pulls.numbered(merge.number)
        sent = marker is not None
        if marker is None:
            if moved := await self._moved(merge, found):
                return Stale(moved)
            await self._refuse_mixed(merge)
            marker = await self.marks.claim(_what(merge), merge.head, action)
        _refuse_other(merge, marker, action)
        try:
            answer = await self._settled(merge, found, action, sent=sent)
        except NotDone:
            await self.marks.take_back(action)
            raise
        except ConnectorError as error:
            raise ConnectorError(str(error), kind="unknown") from error
        if isinstance(answer, Stale) and not sent:
            await self.marks.take_back(action)
        return answer

    async def _settled(self, merge: Merge, found: Request, action: ActionRef, *, sent: bool) -> Merged | Stale:
        if found.status == "merged":
            return await self._merged(merge, found, action) or Stale(("the pull request was merged by others",))
        return await self._send(merge, action, sent=sent)

    async def probe(self, merge: Merge, action: ActionRef) -> Merged | CannotHappen | CannotTell:
        """Find the merge, or fence it off where it was not begun.

        A merge with our trailer proves itself: whoever may push can take the marker away, or fence the action off.
        """
        found = await self.pulls.numbered(merge.number)
        told = merge.method != "rebase" and found.status == "merged"
        if told and (ours := await self._merged(merge, found, action)) is not None:
            return ours
        marker = await self.marks.marker(action.action) or await self.marks.fence(action)
        if is_fence(marker, action):
            return CannotHappen("it had not been merged by this action, and a fence keeps it from that")
        _refuse_other(merge, marker, action)
        found = await self.pulls.numbered(merge.number)
        if found.status == "merged":
            ours = await self._merged(merge, found, action)
            return ours or CannotHappen(f"pull request #{merge.number} was merged by others")
        if found.head != merge.head:
            return CannotHappen(
                f"pull request #{merge.number} is not merged, and its head has moved: GitHub merges the one that was "
                "reviewed and no other"
            )
        return CannotTell(
            f"the merge of pull request #{merge.number} was sent and is not there; look at {found.url}: it has "
            "happened if it is merged, and cannot happen once its head moves"
        )

    async def _send(self, merge: Merge, action: ActionRef, *, sent: bool) -> Merged | Stale:
        """Ask for the merge; `sent` says whether it may have been asked for before.

        https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request
        """
        body: dict[str, Json] = {"sha": merge.head, "merge_method": merge.method}
        if merge.method != "rebase":
            body["commit_title"] = f"{merge.title} (#{merge.number})"
            body["commit_message"] = _trailers(action)
        words = ""
        for _ in range(TRIES):
            try:
                moved = await self._moved(merge, await self.pulls.numbered(merge.number))
            except ConnectorError as error:
                raise error if sent else NotDone(str(error)) from error
            if moved:
                return Stale(moved)
            with sure():
                answer = await self.pulls.hub.change(
                    "PUT", f"/pulls/{merge.number}/merge", body=body, expected=_NOT_MERGED
                )
            found = await self.pulls.numbered(merge.number)
            if found.status == "merged":
                return await self._merged(merge, found, action) or Stale(("the pull request was merged by others",))
            if answer.status not in _NOT_MERGED:
                raise ConnectorError(f"GitHub said that it merged #{merge.number}, and did not", kind="unknown")
            words = said(answer)
            if _MOVING not in words.lower():
                break
        if moved := await self._moved(merge, found):
            return Stale(moved)
        raise NotDone(f"GitHub does not merge pull request #{merge.number}: {words}")

    async def _moved(self, merge: Merge, found: Request) -> tuple[str, ...]:
        """Compare the reviewed facts with the pull request and its base; a sentence for each that differs."""
        if found.status != "open":
            word = f"merged into {found.base}" if found.status == "merged" else "closed"
            return (f"the pull request has been {word}",)
        facts = []
        if found.head != merge.head:
            facts.append(f"the pull request is no longer at the reviewed commit {merge.head}")
        if found.base != merge.base:
            facts.append(f"the pull request goes to branch {found.base} now, not to {merge.base}")
        return tuple(facts) or (*await self._base_moved(merge), *await self._checks_worse(merge))

    async def _base_moved(self, merge: Merge) -> tuple[str, ...]:
        reading = self.marks.reading
        base = await reading.branch(merge.base)
        if base is None:
            return (f"branch {merge.base} is gone",)
        if not await reading.contains(base, merge.base_commit):
            return (f"branch {merge.base} no longer contains the reviewed commit {merge.base_commit}",)
        states = await reading.states((await reading.commit(base)).tree, list(merge.files))
        changed = [path for path, state in merge.files.items() if states[path] != state]
        return tuple(f"{path} has changed on {merge.base} since the review" for path in changed)

    async def _refuse_mixed(self, merge: Merge) -> None:
        """Refuse to merge a file that changed on both sides, differently."""
        reading = self.marks.reading
        parted = str((await self.proposals.parting(merge.base_commit, merge.head))["merge_base"])
        trees = [(await reading.commit(sha)).tree for sha in (parted, merge.head)]
        was, wanted = [await reading.states(tree, list(merge.files)) for tree in trees]
        mixed = [path for path, state in merge.files.items() if state not in (was[path], wanted[path])]
        if mixed:
            raise ConnectorError(
                f"{mixed[0]} has changed on {merge.base} too since the branch parted from it, and what a merge makes "
                "of both was not reviewed; bring the branch up to date, and ask again"
            )

    async def _checks_worse(self, merge: Merge) -> tuple[str, ...]:
        now = worst(await self.pulls.checks(merge.head))
        return (
            (f"checks are worse than at the review: {now}, not {merge.checks}",) if worse(now, merge.checks) else ()
        )

    # reading back

    async def _merged(self, merge: Merge, found: Request, action: ActionRef) -> Merged | None:
        """Return the merge if it is this action's, None if others merged it; `unknown` when unlike the review."""
        commit = await self.marks.reading.commit(found.merge_commit or "")
        if not await self._ours(merge, found, commit, action):
            return None
        if problem := await self._unlike_reviewed(merge, found, commit):
            raise ConnectorError(
                f"pull request #{merge.number} was merged as {commit.sha}, and not as reviewed: {problem}",
                kind="unknown",
            )
        return Merged(merge.number, commit.sha, found.base, found.url)

    async def _ours(self, merge: Merge, found: Request, commit: Commit, action: ActionRef) -> bool:
        by_us = await self.pulls.hub.is_us(found.merged_by)
        if merge.method == "rebase":
            return by_us
        if f"Keyturn-Action: {action.action}" not in commit.message.split("\n"):
            return False
        if by_us or found.merged_by is None:
            return True
        raise ConnectorError(
            f"pull request #{merge.number} was merged as {commit.sha}, which names this action, but by "
            f"{visible(found.merged_by)}, which is not us; look at {found.url}",
            kind="unknown",
        )

    async def _unlike_reviewed(self, merge: Merge, found: Request, commit: Commit) -> str | None:
        """Say how a merge differs from what was reviewed; None when it does not."""
        reading = self.marks.reading
        base = await reading.branch(found.base)
        if base is not None and not await reading.contains(base, commit.sha):
            return f"branch {found.base} does not contain it"
        if merge.method == "merge" and (len(commit.parents) != 2 or commit.parents[1] != merge.head):
            return "its second parent is not the reviewed head"
        if found.base != merge.base:
            return None  # told by the base in the answer: other files stood there
        before = await self._before(merge, commit)
        if not await reading.contains(before, merge.base_commit):
            return f"the commit before it on {found.base} does not contain the reviewed one"
        root = (await reading.commit(merge.head)).tree
        wanted = await reading.states(root, list(merge.files))
        asked = {path: (state, wanted[path]) for path, state in merge.files.items() if state != wanted[path]}
        changed = {
            path.decode("utf-8", "surrogateescape"): (standing_at(was), standing_at(now))
            for path, was, now in await self.proposals.between(before, commit.sha)
        }
        return None if changed == asked else "it changed something else than the reviewed files"

    async def _before(self, merge: Merge, commit: Commit) -> str:
        """Return the commit before a merge on the base: of a rebase, the one before all its commits."""
        count = 1
        if merge.method == "rebase":
            count = int((await self.proposals.comparison(merge.base_commit, merge.head))["ahead"])
        before = commit
        for _ in range(count):
            before = await self.marks.reading.commit(before.parents[0]) if before.parents else before
        return before.sha


def _what(merge: Merge) -> str:
    return f"Merge pull request #{merge.number} at {merge.head} into {merge.base}"


def _trailers(action: ActionRef) -> str:
    return f"Keyturn-Action: {action.action}\nKeyturn-Principal: {action.principal}"


def _refuse_other(merge: Merge, marker: Commit, action: ActionRef) -> None:
    if is_fence(marker, action):
        raise ConnectorError(FENCED)
    if not is_claim(marker, _what(merge), action):
        raise ConnectorError(f"refs/{marker_of(action.action)} is there already and holds something else")
