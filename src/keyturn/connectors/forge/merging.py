"""The part of the forge port for forges that merge: pull requests of anybody, by number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from keyturn.connectors.forge import Check, CheckState, File, FileState, PullReview
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.tool import ActionRef

MergeMethod: TypeAlias = Literal["merge", "squash", "rebase"]

_FROM_BEST: tuple[CheckState, ...] = ("success", "none", "pending", "failure")


def worst(checks: Iterable[Check]) -> CheckState:
    """Return the worst state of some checks; `none` where there is none, or none that says anything."""
    said = [check.state for check in checks if check.state != "none"]
    return max(said, key=_FROM_BEST.index, default="none")


def worse(now: CheckState, reviewed: CheckState) -> bool:
    """Say whether checks stand worse than at the review; no check at all lies between success and pending."""
    return _FROM_BEST.index(now) > _FROM_BEST.index(reviewed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A pull request of anybody as it stands, with all that merging it depends on.

    head, base_commit  commits of the two branches as read; `merge_base` is where they part
    files              each path that differs between merge base and head: what stands at the merge base (None where
                       it is added) and what at the head (None where it is deleted); bytes of both sides
    author             who opened it on the forge; `action` the id of the action that did, None for everybody else's
    mergeable          None while the forge is still working it out
    recipients         people whom a merge would be told to, as far as can be seen
    """

    number: int
    url: str | None
    title: str
    author: str
    action: str | None
    status: Literal["open", "merged", "closed"]
    draft: bool
    base: str
    base_commit: str
    merge_base: str
    branch: str
    head: str
    commits: int
    mergeable: bool | None
    files: Mapping[str, tuple[File | None, File | None]]
    checks: tuple[Check, ...]
    reviews: tuple[PullReview, ...]
    recipients: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A pull request to be merged at its reviewed `head` into its reviewed `base`.

    `files` is what the review saw at each touched path of the base; `checks` the worst state the checks had.
    """

    number: int
    title: str
    base: str
    base_commit: str
    head: str
    method: MergeMethod
    files: Mapping[str, FileState | None]
    checks: CheckState


@dataclass(frozen=True, slots=True)
class Merged:
    """The pull request is merged: the commit on the base that carries it."""

    number: int
    commit: str
    base: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """A merge as it went in: the base, the merge's commit, the commit before it on the base, and the title.

    `files` holds each path that the merge changed: what stood before and what it made of it.
    """

    number: int
    title: str
    base: str
    commit: str
    before: str
    files: Mapping[str, tuple[File | None, File | None]]


@runtime_checkable
class Merges(Protocol):
    """A forge that merges pull requests, which have numbers. Methods raise `ConnectorError`."""

    async def proposal(self, number: int) -> Proposal:
        """Read a pull request. Refused: an unknown number, more than `MAX_FILES` files or the sizes of `snapshot`."""
        ...

    async def merge(self, merge: Merge, action: ActionRef) -> Merged | Stale:
        """Merge once, the reviewed head being sent and enforced.

        A head that moved, another base, a touched path that changed on the base, or checks that are worse than at the
        review are `Stale`, and nothing is done. After the merge it is read back what landed and where.
        """
        ...

    async def probe_merge(self, merge: Merge, action: ActionRef) -> Merged | CannotHappen | CannotTell:
        """Settle whether the action merged it."""
        ...

    async def merging(self, number: int) -> Merging:
        """Read a merge, to be reverted. Refused: not merged, or a merge whose files cannot be told from others'."""
        ...
