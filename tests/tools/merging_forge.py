"""A forge that merges, over a real git repository: it keeps numbers, checks and reviews, the rest is git's."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from keyturn.connectors.checking import Finding
from keyturn.connectors.forge import (
    Change,
    Check,
    Closed,
    Closing,
    File,
    FileState,
    Landed,
    Opening,
    Pull,
    PullReview,
    Snapshot,
)
from keyturn.connectors.forge.git import GitForge, Settings
from keyturn.connectors.forge.git import build as build_git
from keyturn.connectors.forge.merging import Merge, Merged, Merges, Merging, Proposal, worse, worst
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.plan import Backend
from keyturn.model.tool import ActionRef
from tests.connectors.forge.repository import ENVIRONMENT, Repository
from tests.connectors.surroundings import world_at


@dataclass
class Known:
    """What the forge knows of one pull request beside its branch."""

    number: int
    branch: str
    base: str = "main"
    title: str = "Say hello"
    author: str = "ann"
    draft: bool = False
    status: Literal["open", "merged", "closed"] = "open"
    mergeable: bool | None = True
    checks: tuple[Check, ...] = (Check("build", "success"),)
    reviews: tuple[PullReview, ...] = ()
    recipients: int = 2
    head: str | None = None
    merged: str | None = None
    merged_by: str | None = None

    @property
    def url(self) -> str:
        return f"https://forge.example/shop/pull/{self.number}"


@dataclass
class MergingForge:
    """Implements `Forge` and `Merges`; `watchers` is whom a new pull request is told to."""

    repository: Repository
    name: str = "shop"
    watchers: int = 0
    out_of_reach: bool = False
    pulls: dict[int, Known] = field(default_factory=dict)
    git: GitForge = field(init=False)

    def __post_init__(self) -> None:
        path = self.repository.path
        self.git = build_git(self.name, Settings(path=path.name), world_at(path.parent, ENVIRONMENT))
        assert isinstance(self, Merges)

    def known(self, branch: str, **about: object) -> Known:
        """Open a pull request as people do."""
        known = Known(number=len(self.pulls) + 7, branch=branch)
        for name, value in about.items():
            setattr(known, name, value)
        self.pulls[known.number] = known
        return known

    @property
    def identity(self) -> Backend:
        return self.git.identity

    async def snapshot(self, branch: str, paths: Sequence[str]) -> Snapshot:
        return await self.git.snapshot(branch, paths)

    async def reviewed(self, change: Change) -> Snapshot:
        return await self.git.reviewed(change)

    async def check(self) -> tuple[Finding, ...]:
        return await self.git.check()

    async def apply(self, change: Change, action: ActionRef) -> Landed | Stale:
        landed = await self.git.apply(change, action)
        return self._numbered(landed, change, action) if isinstance(landed, Landed) else landed

    async def probe(self, change: Change, action: ActionRef) -> Landed | CannotHappen | CannotTell:
        landed = await self.git.probe(change, action)
        return self._numbered(landed, change, action) if isinstance(landed, Landed) else landed

    async def pull(self, action: str) -> Pull:
        if self.out_of_reach:
            raise ConnectorError(f"{self.name} does not answer", kind="retry")
        pull = await self.git.pull(action)
        known = self._of(pull.branch)
        return replace(
            pull,
            number=known.number,
            url=known.url,
            checks=known.checks,
            reviews=known.reviews,
            recipients=known.recipients,
        )

    async def close(self, closing: Closing, action: ActionRef) -> Closed | Stale:
        return await self.git.close(closing, action)

    async def probe_closing(self, closing: Closing, action: ActionRef) -> Closed | CannotHappen | CannotTell:
        return await self.git.probe_closing(closing, action)

    async def audience(self, body: str = "") -> int:
        return self.watchers

    async def proposal(self, number: int) -> Proposal:
        known = self._find(number)
        head, base = self._head(known), self._rev(f"refs/heads/{known.base}")
        if known.merged:
            base = self._rev(f"{known.merged}^1")
        merge_base = self.repository.git("merge-base", base, head)
        return Proposal(
            number=number,
            url=known.url,
            title=known.title,
            author=known.author,
            action=known.branch.removeprefix("keyturn/") if known.branch.startswith("keyturn/") else None,
            status=known.status,
            draft=known.draft,
            base=known.base,
            base_commit=base,
            merge_base=merge_base,
            branch=known.branch,
            head=head,
            commits=int(self.repository.git("rev-list", "--count", f"{base}..{head}")),
            mergeable=known.mergeable,
            files=self._between(merge_base, head),
            checks=known.checks,
            reviews=known.reviews,
            recipients=known.recipients,
        )

    async def merge(self, merge: Merge, action: ActionRef) -> Merged | Stale:
        known = self._find(merge.number)
        if known.merged_by == action.action:
            return self._merged(known)
        moved = self._moved(known, merge)
        if moved:
            return Stale(tuple(moved))
        base, head = self._rev(f"refs/heads/{known.base}"), self._head(known)
        tree = self.repository.git("merge-tree", "--write-tree", base, head)
        parents = ["-p", base, *(["-p", head] if merge.method == "merge" else [])]
        commit = self.repository.git("commit-tree", tree, *parents, "-m", known.title)
        self.repository.git("update-ref", f"refs/heads/{known.base}", commit, base)
        known.status, known.merged, known.merged_by, known.head = "merged", commit, action.action, head
        return self._merged(known)

    async def probe_merge(self, merge: Merge, action: ActionRef) -> Merged | CannotHappen | CannotTell:
        known = self._find(merge.number)
        if known.merged_by == action.action:
            return self._merged(known)
        if known.status != "open" or self._head(known) != merge.head:
            return CannotHappen(f"pull request {merge.number} is {known.status} or has another head")
        return CannotTell(f"pull request {merge.number} still stands at the reviewed head")

    async def merging(self, number: int) -> Merging:
        known = self._find(number)
        if known.merged is None:
            raise ConnectorError(f"pull request {number} is not merged")
        before = self._rev(f"{known.merged}^1")
        files = self._between(before, known.merged)
        return Merging(
            number=number, title=known.title, base=known.base, commit=known.merged, before=before, files=files
        )

    def _numbered(self, landed: Landed, change: Change, action: ActionRef) -> Landed:
        if isinstance(change, Opening) and all(known.branch != landed.branch for known in self.pulls.values()):
            self.known(landed.branch, base=change.base, title=change.title, author="keyturn", draft=change.draft)
        known = self._of(landed.branch)
        return replace(landed, number=known.number, url=known.url)

    def _merged(self, known: Known) -> Merged:
        return Merged(number=known.number, commit=str(known.merged), base=known.base, url=known.url)

    def _moved(self, known: Known, merge: Merge) -> list[str]:
        base = self._rev(f"refs/heads/{known.base}")
        paths = [
            f"{path} has changed on {known.base}"
            for path, state in merge.files.items()
            if self._state(base, path) != state
        ]
        found = [
            (known.status == "open", f"it is {known.status}"),
            (known.base == merge.base, "its base is another"),
            (self._head(known) == merge.head, "its head has moved"),
            (not worse(worst(known.checks), merge.checks), "its checks are worse"),
        ]
        return [said for holds, said in found if not holds] + paths

    def _find(self, number: int) -> Known:
        if number not in self.pulls:
            raise ConnectorError(f"{self.name} has no pull request {number}")
        return self.pulls[number]

    def _of(self, branch: str) -> Known:
        return next(known for known in self.pulls.values() if known.branch == branch)

    def _head(self, known: Known) -> str:
        return known.head or self._rev(f"refs/heads/{known.branch}")

    def _rev(self, what: str) -> str:
        return self.repository.git("rev-parse", "--verify", what)

    def _state(self, commit: str, path: str) -> FileState | None:
        found = self.repository.git("ls-tree", commit, "--", path).split()
        return FileState(found[2], found[0]) if found else None

    def _between(self, old: str, new: str) -> dict[str, tuple[File | None, File | None]]:
        names = self.repository.git("diff-tree", "-r", "-z", "--no-renames", "--name-only", old, new)
        paths: Sequence[str] = [name for name in names.split("\0") if name]
        return {path: (self._file(old, path), self._file(new, path)) for path in paths}

    def _file(self, commit: str, path: str) -> File | None:
        state = self._state(commit, path)
        if state is None:
            return None
        ran = subprocess.run(
            ["git", "cat-file", "blob", state.blob],
            cwd=self.repository.path,
            capture_output=True,
            check=True,
            env=ENVIRONMENT,
        )
        return File(state=state, content=ran.stdout)
