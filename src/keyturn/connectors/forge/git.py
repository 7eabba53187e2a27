"""A git repository on this machine as a forge, bare or not: refs and objects only, never a work tree or an index.

What an action leaves behind, all of it moved in one ref transaction:

    refs/heads/keyturn/<action>    the branch; its commit is worked out from the plan, to the byte
    refs/keyturn/pull/<action>     the pull request's record and patch (see `record`)
    refs/keyturn/update/<action>   the marker of an update of somebody's earlier pull request: its commit
    refs/keyturn/close/<action>    the marker of a closing: the head that the deleted branch had (see `closing`)
    refs/keyturn/fence/<action>    written by a probe: this action can land no more

`apply` verifies in its transaction that the fence is absent, and a probe verifies in its own that the markers still
are as it read them. Git takes the locks of all refs named before it changes one, so exactly one of the two comes
through. Git moves the refs of a transaction one after the other: a crash may leave some of them. As all of them are
determined by the plan, the next `apply` recognises its commit and completes the rest.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from keyturn.connectors.checking import Finding
from keyturn.connectors.forge import Change, Closed, Closing, Landed, Pull, Snapshot
from keyturn.connectors.forge.closing import close, probe_closing
from keyturn.connectors.forge.landing import apply, probe, reviewed, snapshot
from keyturn.connectors.forge.looking import look
from keyturn.connectors.forge.process import Git
from keyturn.connectors.forge.pulls import read_pull
from keyturn.connectors.forge.repository import Repository
from keyturn.connectors.world import World
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.plan import Backend
from keyturn.model.tool import ActionRef


class Settings(BaseModel):
    """`[forge.<name>]` of the wiring: where the repository lies, relative to the home."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    kind: Literal["git"] = "git"
    path: str = Field(min_length=1, max_length=4096)


def build(name: str, settings: Settings, world: World) -> GitForge:
    """Return the forge called `name`. Raises `ConfigurationError` naming the setting that is wrong."""
    return GitForge(name, git_at(f"forge.{name}.path", world.home / settings.path, name, world))


def git_at(place: str, path: Path, name: str, world: World) -> Git:
    """Return git on the repository at `path`, which messages call `name`; `place` is the setting's dotted path.

    Raises `ConfigurationError`.
    """
    search = world.environment.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
    program = shutil.which("git", path=search)
    if program is None:
        raise ConfigurationError(
            f"{place.removesuffix('.path')}: there is no git on PATH; install git (2.36 or later)"
        )
    return Git(program=program, folder=_git_folder(place, path), path=search, name=name)


def _git_folder(place: str, path: Path) -> Path:
    if (path / ".git").is_file():
        raise ConfigurationError(
            f"{place}: {path} is a linked work tree or submodule; name the repository it belongs to"
        )
    folder = (path / ".git" if (path / ".git").is_dir() else path).resolve()
    if not (folder / "objects").is_dir() or not (folder / "HEAD").is_file():
        raise ConfigurationError(
            f"{place}: {path} is not a git repository; create one with git init, or mend the path"
        )
    if (folder / "commondir").exists():
        raise ConfigurationError(f"{place}: {path} belongs to a linked work tree; name the repository itself")
    return folder


class GitForge:
    """One repository; see `Forge` for what each method promises."""

    def __init__(self, name: str, git: Git) -> None:
        self._git = git
        self._repository = Repository(git)
        self._identity = Backend(port="forge", name=name, kind="git", location=str(git.folder))

    @property
    def identity(self) -> Backend:
        """Return which repository this is."""
        return self._identity

    async def snapshot(self, branch: str, paths: Sequence[str]) -> Snapshot:
        """Read the branch's commit and the files at `paths`."""
        return await anyio.to_thread.run_sync(snapshot, self._repository, self._identity.name, branch, paths)

    async def reviewed(self, change: Change) -> Snapshot:
        """Read the files a change touches as they stand in its parent."""
        return await anyio.to_thread.run_sync(reviewed, self._repository, change)

    async def apply(self, change: Change, action: ActionRef) -> Landed | Stale:
        """Land the change once, or say what moved."""
        return await anyio.to_thread.run_sync(apply, self._repository, change, action)

    async def probe(self, change: Change, action: ActionRef) -> Landed | CannotHappen | CannotTell:
        """Find the change, or fence it off."""
        try:
            return await anyio.to_thread.run_sync(probe, self._repository, change, action)
        except ConnectorError as error:
            return CannotTell(str(error))

    async def pull(self, action: str) -> Pull:
        """Read the pull request of an action."""
        return await anyio.to_thread.run_sync(read_pull, self._repository, self._identity.name, action)

    async def close(self, closing: Closing, action: ActionRef) -> Closed | Stale:
        """Delete the branch of an open pull request and say so in its record, once."""
        return await anyio.to_thread.run_sync(close, self._repository, closing, action)

    async def probe_closing(self, closing: Closing, action: ActionRef) -> Closed | CannotHappen | CannotTell:
        """Find the closing, or fence it off."""
        try:
            return await anyio.to_thread.run_sync(probe_closing, self._repository, closing, action)
        except ConnectorError as error:
            return CannotTell(str(error))

    async def audience(self, body: str = "") -> int:
        """Return 0: a repository tells nobody."""
        return 0

    async def check(self) -> tuple[Finding, ...]:
        """Look at the repository, at git, and at what is in the way."""
        return await anyio.to_thread.run_sync(look, self._git)
