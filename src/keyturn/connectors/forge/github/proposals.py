"""Reads pull requests of anybody on GitHub as they would be merged, and merges as they went in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.connectors.forge import MAX_FILES, MAX_SNAPSHOT, File, FileState
from keyturn.connectors.forge.github.marking import Marks
from keyturn.connectors.forge.github.pulls import Pulls, Request
from keyturn.connectors.forge.github.reading import state_of
from keyturn.connectors.forge.merging import Merging, Proposal
from keyturn.connectors.forge.objects import TreeEntry
from keyturn.connectors.forge.trees import Difference
from keyturn.model.errors import ConnectorError


@dataclass(frozen=True, slots=True)
class Proposals:
    """Reads pull requests of one repository."""

    pulls: Pulls

    @property
    def marks(self) -> Marks:
        """The refs of actions."""
        return self.pulls.marks

    async def proposal(self, number: int) -> Proposal:
        """Read a pull request of anybody; as `keyturn.connectors.forge.merging.Merges.proposal`."""
        found = await self.pulls.numbered(number)
        reading = self.marks.reading
        base_commit = await reading.branch(found.base)
        if base_commit is None:
            raise ConnectorError(f"branch {found.base}, which pull request #{number} goes to, is gone")
        comparison = await self.parting(base_commit, found.head)
        merge_base = str(comparison["merge_base"])
        reviews = await self.pulls.reviews(number)
        people = found.people | {review.reviewer for review in reviews}
        return Proposal(
            number=number,
            url=found.url,
            title=found.title,
            author=found.author,
            action=await self._opened_by(found),
            status=found.status,
            draft=found.draft,
            base=found.base,
            base_commit=base_commit,
            merge_base=merge_base,
            branch=found.branch,
            head=found.head,
            commits=int(comparison["ahead"]),
            mergeable=found.mergeable,
            files=await self._files(await self.between(merge_base, found.head)),
            checks=await self.pulls.checks(found.head),
            reviews=reviews,
            recipients=await self.pulls.watchers() + len(people),
        )

    async def merging(self, number: int) -> Merging:
        """Read a merge; as `keyturn.connectors.forge.merging.Merges.merging`."""
        found = await self.pulls.numbered(number)
        if found.merge_commit is None:
            raise ConnectorError(f"pull request #{number} has not been merged")
        commit = await self.marks.reading.commit(found.merge_commit)
        before = commit.parents[0] if commit.parents else commit.sha
        changed = await self.between(before, commit.sha)
        parted = str((await self.comparison(before, found.head))["merge_base"])
        asked = await self.between(parted, found.head)
        if _after(changed) != _after(asked):
            raise ConnectorError(
                f"what pull request #{number} changed cannot be told from what others did: its commit {commit.sha} "
                "does not hold its files alone (a rebase of several commits, for one)"
            )
        files = await self._files(changed)
        return Merging(
            number=number, title=found.title, base=found.base, commit=commit.sha, before=before, files=files
        )

    async def comparison(self, base: str, head: str) -> Mapping[str, Any]:
        """Return how two commits stand to each other; see `Reading.comparison`. Refused: nothing in common."""
        comparison = await self.marks.reading.comparison(base, head)
        if comparison is None:
            raise ConnectorError(f"commits {base} and {head} have no history in common")
        return comparison

    async def parting(self, base: str, head: str) -> Mapping[str, Any]:
        """Compare as `comparison`. Refused: branches that part at several commits, which merged each other crosswise.

        Their diff from one of these does not show all that a merge brings. There is one alone exactly where the head
        has as many commits beyond it as it has beyond the base.
        """
        found = await self.comparison(base, head)
        single = found["merge_base"]
        if single != base and (await self.comparison(single, head))["ahead"] != found["ahead"]:
            raise ConnectorError(
                f"commits {base} and {head} part at several commits, as their branches merged each other crosswise: "
                "no diff shows what a merge makes of them; rebase the branch onto its base, and ask again"
            )
        return found

    async def between(self, old: str, new: str) -> list[Difference]:
        """Return the entries that differ between two commits."""
        reading = self.marks.reading
        return await reading.differences((await reading.commit(old)).tree, (await reading.commit(new)).tree)

    async def _files(self, differences: list[Difference]) -> dict[str, tuple[File | None, File | None]]:
        if len(differences) > MAX_FILES:
            raise ConnectorError(
                f"the pull request changes {len(differences)} files; at most {MAX_FILES} are handled"
            )
        files: dict[str, tuple[File | None, File | None]] = {}
        left = 2 * MAX_SNAPSHOT
        for path, was, now in differences:
            before, after = [await self.marks.reading.file(entry) if entry else None for entry in (was, now)]
            files[path.decode("utf-8", "surrogateescape")] = before, after
            left -= sum(len(file.content) for file in (before, after) if file)
            if left < 0:
                raise ConnectorError(
                    f"the files changed hold more than {2 * MAX_SNAPSHOT} bytes, both sides together"
                )
        return files

    async def _opened_by(self, found: Request) -> str | None:
        prefix, _, action = found.branch.partition("/")
        if prefix != "keyturn" or not found.own or not await self.pulls.hub.is_us(found.author):
            return None  # branch and marker alone prove nothing: whoever may push can make both
        marker = await self.marks.marker(action)
        return action if marker is not None and f"Keyturn-Action: {action}" in marker.message else None


def _after(differences: list[Difference]) -> dict[bytes, FileState | None]:
    return {path: standing_at(now) for path, _, now in differences}


def standing_at(entry: TreeEntry | None) -> FileState | None:
    """Return what stands at an entry, None where nothing does."""
    return state_of(entry) if entry else None
