"""The forge port: proposing changes to a repository as a branch with a pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from keyturn.connectors.checking import Finding
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.plan import Backend
from keyturn.model.tool import ActionRef

MAX_FILES = 200
"""Files one change may touch."""
MAX_NEW_CONTENT = 4 * 2**20
"""Bytes of new content one change may carry, all files together."""
MAX_BLOB = 5 * 2**20
"""Bytes of one existing file that are read."""
MAX_SNAPSHOT = 16 * 2**20
"""Bytes of existing files that one snapshot reads."""
MAX_DIFF = 8 * 2**20
"""Bytes of one diff."""

PullStatus: TypeAlias = Literal["open", "merged", "closed", "deleted"]


@dataclass(frozen=True, slots=True)
class FileState:
    """What stands at a path: git's object id and mode (`100644`, `100755`)."""

    blob: str
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An existing file: its state and its bytes."""

    state: FileState
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A branch as it was read: its commit, and each path asked for (None where nothing stands)."""

    commit: str
    files: Mapping[str, File | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file as it shall be: new bytes and mode, or neither for a deletion; `before` is what was reviewed."""

    path: str
    content: bytes | None
    mode: str | None
    before: FileState | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A new pull request against `base`, made on the reviewed `base_commit`; `patch` is the reviewed diff."""

    base: str
    base_commit: str
    files: tuple[FileChange, ...]
    title: str
    body: str
    draft: bool
    patch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A further commit on the open pull request of the action `pull`, made on its reviewed `head`."""

    pull: str
    base: str
    head: str
    title: str
    files: tuple[FileChange, ...]


Change: TypeAlias = Opening | Revision


@dataclass(frozen=True, slots=True)
class Landed:
    """The change is there: the branch and the commit that carries it, and the pull request where it has a number."""

    branch: str
    commit: str
    number: int | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """The open pull request of the action `pull`, closed unmerged and its branch deleted, at its reviewed `head`."""

    pull: str
    base: str
    head: str
    title: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The pull request is closed and its branch gone; `head` is the commit that it had."""

    branch: str
    head: str
    number: int | None = None
    url: str | None = None


CheckState: TypeAlias = Literal["success", "pending", "failure", "none"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check or status that the forge reports for a commit, by the name of who reports it."""

    name: str
    state: CheckState


@dataclass(frozen=True, slots=True)
class PullReview:
    """The newest review of one person on the forge: `approved`, `changes_requested` or `commented`, of a commit."""

    reviewer: str
    verdict: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """A pull request as it stands.

    head        the branch's commit, None once the branch is gone
    status      `merged` when the base contains the last commit, `closed` when it was closed unmerged, `deleted` when
                the branch is gone in another way
    commits     commits on top of the base commit
    files       paths that differ from the base commit
    base_moved  whether the base has moved on from the base commit
    number      the forge's own number and its page, where it has them
    checks      what the forge reports for the head; None where it has no checks
    reviews     the newest of each person on the forge; None where it has no reviews
    recipients  people whom a further commit or a comment would be told to, as far as can be seen
    """

    title: str
    base: str
    base_commit: str
    branch: str
    draft: bool
    head: str | None
    status: PullStatus
    commits: int
    files: tuple[str, ...]
    base_moved: bool
    number: int | None = None
    url: str | None = None
    checks: tuple[Check, ...] | None = None
    reviews: tuple[PullReview, ...] | None = None
    recipients: int = 0


class Forge(Protocol):
    """One repository. Every method raises `ConnectorError` when the repository does not do what was asked."""

    @property
    def identity(self) -> Backend:
        """Return which repository this is; the same for its whole life."""
        ...

    async def snapshot(self, branch: str, paths: Sequence[str]) -> Snapshot:
        """Read the branch's commit and the files at `paths` (see `names`), writing nothing.

        Refused: an unknown branch, a path below a file or link, a path that is a folder, link or submodule, or
        content above `MAX_BLOB` and `MAX_SNAPSHOT`.
        """
        ...

    async def reviewed(self, change: Change) -> Snapshot:
        """Read the files that a change touches as they stand in the commit it is made on.

        The commit is named by its id, so the answer is the same at any time. Refused: a commit that is not there, and
        paths that `snapshot` refuses.
        """
        ...

    async def apply(self, change: Change, action: ActionRef) -> Landed | Stale:
        """Land the change once, under the action's marker.

        A marker that is already there is answered, not repeated. Otherwise the reviewed facts are compared with the
        repository as it is; a difference is `Stale` and nothing is done. Never moves the base branch. Refused when
        the marker holds something else or a probe has fenced the action off.
        """
        ...

    async def probe(self, change: Change, action: ActionRef) -> Landed | CannotHappen | CannotTell:
        """Settle whether the change landed; where it did not, write a fence so that no late `apply` can land it."""
        ...

    async def pull(self, action: str) -> Pull:
        """Read the pull request that the action opened. Refused when there is none."""
        ...

    async def close(self, closing: Closing, action: ActionRef) -> Closed | Stale:
        """Close an open pull request and delete its branch, once, under the action's marker.

        A branch that moved from the reviewed head, or a pull request that is merged or closed, is `Stale`.
        """
        ...

    async def probe_closing(self, closing: Closing, action: ActionRef) -> Closed | CannotHappen | CannotTell:
        """Settle whether the action closed it; where it did not, see to it that it cannot, if that can be."""
        ...

    async def audience(self, body: str = "") -> int:
        """Return how many people a new pull request with this body would be told to, as far as can be seen.

        Refused: a body that mentions more people than can be counted.
        """
        ...

    async def check(self) -> tuple[Finding, ...]:
        """Look who we are there, what we may do and what is missing (see `checking`)."""
        ...


def declared(forges: Mapping[str, Forge], name: str, backend: Backend | None = None) -> Forge:
    """Return the forge called `name`; refused (`ConnectorError`) when there is none.

    With `backend`, the identity an action was planned against, it must still be that very repository.
    """
    forge = forges.get(name)
    if forge is None:
        raise ConnectorError(f'repository "{name}" is not declared')
    if backend is not None and forge.identity != backend:
        raise ConnectorError(f'repository "{name}" is another one now than when this was planned')
    return forge
