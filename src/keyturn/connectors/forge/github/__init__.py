"""A repository on GitHub as a forge: through GitHub's REST API alone, with no clone.

What an action leaves behind is said in `marking`; in which order, and what a crash leaves, in `landing`, `closing`
and `merges`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from keyturn.connectors.checking import Finding
from keyturn.connectors.forge import Change, Closed, Closing, Landed, Pull, Revision, Snapshot
from keyturn.connectors.forge.github.closing import ClosingOne
from keyturn.connectors.forge.github.landing import Landing
from keyturn.connectors.forge.github.looking import look
from keyturn.connectors.forge.github.marking import Marks
from keyturn.connectors.forge.github.merges import Merges
from keyturn.connectors.forge.github.proposals import Proposals
from keyturn.connectors.forge.github.pulls import Pulls
from keyturn.connectors.forge.github.reading import Reading
from keyturn.connectors.forge.merging import Merge, Merged, Merging, Proposal
from keyturn.connectors.forge.names import check_base, check_branch, check_paths, shown
from keyturn.connectors.forge.refs import parent_of
from keyturn.connectors.github import GitHub, GitHubConnection, github
from keyturn.connectors.github.mentions import mentions
from keyturn.connectors.world import World
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.plan import Backend
from keyturn.model.time import action_time
from keyturn.model.tool import ActionRef

PERMISSIONS: Mapping[str, str] = {
    "checks": "read",
    "contents": "write",
    "metadata": "read",
    "pull_requests": "write",
    "statuses": "read",
}
"""What the forge's tools need, and what an App's tokens are narrowed to."""


class Settings(GitHubConnection):
    """`[forge.<name>]` of the wiring, with `kind = "github"`."""

    kind: Literal["github"] = "github"


def build(name: str, settings: Settings, world: World) -> GitHubForge:
    """Return the forge called `name`; nothing is sent yet. Raises `ConfigurationError` naming what is wrong."""
    return GitHubForge(name, github(f"forge.{name}", settings, world, PERMISSIONS))


class GitHubForge:
    """One repository; see `Forge` and `Merges` for what each method promises."""

    def __init__(self, name: str, hub: GitHub) -> None:
        self._hub = hub
        self._identity = Backend(port="forge", name=name, kind="github", location=hub.location, account=hub.account)

    @property
    def identity(self) -> Backend:
        """Return which repository this is."""
        return self._identity

    async def snapshot(self, branch: str, paths: Sequence[str]) -> Snapshot:
        """Read the branch's commit and the files at `paths`."""
        check_branch(branch)
        check_paths(paths)
        reading = Reading(self._hub)
        commit = await reading.branch(branch)
        if commit is None:
            raise ConnectorError(f"{self._hub.repository} has no branch {shown(branch)} that we may read")
        return await reading.files(commit, paths)

    async def reviewed(self, change: Change) -> Snapshot:
        """Read the files a change touches as they stand in its parent."""
        paths = [item.path for item in change.files]
        check_paths(paths)
        return await Reading(self._hub).files(parent_of(change), paths)

    async def apply(self, change: Change, action: ActionRef) -> Landed | Stale:
        """Land the change once, or say what moved."""
        return await self._landing(change, action).apply()

    async def probe(self, change: Change, action: ActionRef) -> Landed | CannotHappen | CannotTell:
        """Find the change and complete it, or fence it off."""
        try:
            return await self._landing(change, action).probe()
        except ConnectorError as error:
            return CannotTell(str(error))

    async def pull(self, action: str) -> Pull:
        """Read the pull request of an action."""
        return await self._pulls().pull(action)

    async def close(self, closing: Closing, action: ActionRef) -> Closed | Stale:
        """Close a pull request and delete its branch, once."""
        return await self._closing(closing, action).close()

    async def probe_closing(self, closing: Closing, action: ActionRef) -> Closed | CannotHappen | CannotTell:
        """Find the closing and complete it, or fence it off."""
        try:
            return await self._closing(closing, action).probe()
        except ConnectorError as error:
            return CannotTell(str(error))

    async def audience(self, body: str = "") -> int:
        """Return how many people watch the repository or are mentioned: GitHub tells them of a new pull request."""
        return len(mentions(body)) + await self._pulls().watchers()

    async def proposal(self, number: int) -> Proposal:
        """Read a pull request of anybody."""
        return await Proposals(self._pulls()).proposal(number)

    async def merge(self, merge: Merge, action: ActionRef) -> Merged | Stale:
        """Merge a pull request at its reviewed head, once."""
        action_time(action.action)
        return await self._merges().merge(merge, action)

    async def probe_merge(self, merge: Merge, action: ActionRef) -> Merged | CannotHappen | CannotTell:
        """Settle whether the action merged it."""
        try:
            action_time(action.action)
            return await self._merges().probe(merge, action)
        except ConnectorError as error:
            return CannotTell(str(error))

    async def merging(self, number: int) -> Merging:
        """Read a merge, to be reverted."""
        return await Proposals(self._pulls()).merging(number)

    async def check(self) -> tuple[Finding, ...]:
        """Look who we are on GitHub, what we may do and what is missing."""
        return await look(self._hub, PERMISSIONS)

    def _pulls(self) -> Pulls:
        return Pulls(self._hub, Marks(self._hub, Reading(self._hub)))

    def _merges(self) -> Merges:
        return Merges(self._pulls())

    def _landing(self, change: Change, action: ActionRef) -> Landing:
        action_time(action.action)
        if isinstance(change, Revision):
            action_time(change.pull)
        check_base(change.base)
        check_paths([item.path for item in change.files])
        pulls = self._pulls()
        return Landing(pulls.marks, pulls, change, action)

    def _closing(self, closing: Closing, action: ActionRef) -> ClosingOne:
        action_time(action.action)
        action_time(closing.pull)
        check_base(closing.base)
        pulls = self._pulls()
        return ClosingOne(pulls.marks, pulls, closing, action)
