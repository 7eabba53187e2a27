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
from keyturn.connectors.forge import (
    MAX_BLOB,
    MAX_SNAPSHOT,
    Change,
    Closed,
    Closing,
    File,
    FileState,
    Landed,
    Opening,
    Pull,
    Revision,
    Snapshot,
)
from keyturn.connectors.forge.building import Built, build_change, build_record, store
from keyturn.connectors.forge.closing import close, probe_closing
from keyturn.connectors.forge.looking import look
from keyturn.connectors.forge.names import check_base, check_branch, check_paths, shown
from keyturn.connectors.forge.objects import object_id
from keyturn.connectors.forge.process import Git, Objects
from keyturn.connectors.forge.pulls import read_pull, record_at, whole_patch
from keyturn.connectors.forge.record import opening_record
from keyturn.connectors.forge.refs import (
    Refs,
    Seen,
    Transaction,
    branch_of,
    fence_ref,
    parent_of,
    pull_ref,
    update_ref,
)
from keyturn.connectors.forge.trees import locate
from keyturn.connectors.world import World
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.plan import Backend
from keyturn.model.time import action_time
from keyturn.model.tool import ActionRef

ATTEMPTS = 8
"""Times a transaction is tried again because a ref moved between reading and writing."""


class Settings(BaseModel):
    """`[forge.<name>]` of the wiring: where the repository lies, relative to the home."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    kind: Literal["git"] = "git"
    path: str = Field(min_length=1, max_length=4096)


def build(name: str, settings: Settings, world: World) -> GitForge:
    """Return the forge called `name`. Raises `ConfigurationError` naming the setting that is wrong."""
    search = world.environment.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
    program = shutil.which("git", path=search)
    if program is None:
        raise ConfigurationError(f"forge.{name}: there is no git on PATH; install git (2.36 or later)")
    folder = _git_folder(f"forge.{name}.path", world.home / settings.path)
    return GitForge(name, Git(program=program, folder=folder, path=search, name=name))


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
        self._refs = Refs(git)
        self._identity = Backend(port="forge", name=name, kind="git", location=str(git.folder))

    @property
    def identity(self) -> Backend:
        """Return which repository this is."""
        return self._identity

    async def snapshot(self, branch: str, paths: Sequence[str]) -> Snapshot:
        """Read the branch's commit and the files at `paths`."""
        return await anyio.to_thread.run_sync(self._snapshot, branch, paths)

    async def reviewed(self, change: Change) -> Snapshot:
        """Read the files a change touches as they stand in its parent."""
        return await anyio.to_thread.run_sync(self._reviewed, change)

    async def apply(self, change: Change, action: ActionRef) -> Landed | Stale:
        """Land the change once, or say what moved."""
        return await anyio.to_thread.run_sync(self._apply, change, action)

    async def probe(self, change: Change, action: ActionRef) -> Landed | CannotHappen | CannotTell:
        """Find the change, or fence it off."""
        return await anyio.to_thread.run_sync(self._probe, change, action)

    async def pull(self, action: str) -> Pull:
        """Read the pull request of an action."""
        return await anyio.to_thread.run_sync(read_pull, self._refs, self._identity.name, action)

    async def close(self, closing: Closing, action: ActionRef) -> Closed | Stale:
        """Delete the branch of an open pull request and say so in its record, once."""
        return await anyio.to_thread.run_sync(close, self._refs, closing, action)

    async def probe_closing(self, closing: Closing, action: ActionRef) -> Closed | CannotHappen | CannotTell:
        """Find the closing, or fence it off."""
        return await anyio.to_thread.run_sync(probe_closing, self._refs, closing, action)

    async def audience(self) -> int:
        """Return 0: a repository tells nobody."""
        return 0

    async def check(self) -> tuple[Finding, ...]:
        """Look at the repository, at git, and at what is in the way."""
        return await anyio.to_thread.run_sync(look, self._git)

    # reading

    def _snapshot(self, branch: str, paths: Sequence[str]) -> Snapshot:
        check_branch(branch)
        check_paths(paths)
        return self._files(self._existing(branch), paths)

    def _reviewed(self, change: Change) -> Snapshot:
        paths = [item.path for item in change.files]
        check_paths(paths)
        return self._files(parent_of(change), paths)

    def _files(self, commit: str, paths: Sequence[str]) -> Snapshot:
        with self._git.objects() as objects:
            root, left = objects.root(commit), MAX_SNAPSHOT
            files: dict[str, File | None] = {}
            for path in paths:
                files[path] = found = _file(objects, root, path)
                left -= len(found.content) if found else 0
                if left < 0:
                    raise ConnectorError(f"the files named hold more than {MAX_SNAPSHOT} bytes; name fewer")
        return Snapshot(commit=commit, files=files)

    def _existing(self, branch: str) -> str:
        commit = self._refs.read(f"refs/heads/{branch}")
        if commit is None:
            raise ConnectorError(f"{self._identity.name} has no branch {shown(branch)}")
        return commit

    # applying

    def _apply(self, change: Change, action: ActionRef) -> Landed | Stale:
        _check(change, action)
        built = build_change(self._git, change, action)
        trouble = ""
        for _ in range(ATTEMPTS):
            seen = self._refs.look(change, action)
            landed = self._landed(built, seen)
            if not landed:
                self._refuse_blocked(change, action, seen)
                moved = self._moved(change, seen)
                if moved:
                    return Stale(moved)
            transaction = self._transaction(change, action, built, seen)
            if not transaction.lines:
                return Landed(branch_of(change, action), built.commit)
            # A transaction that went through is read back by the next turn, one that did not is judged anew by it.
            trouble = self._refs.commit(transaction)
        kind = "retry" if "File exists" in trouble or " is at " in trouble else "refused"
        raise ConnectorError(f"the branch cannot be written: {trouble}", kind=kind)

    def _landed(self, built: Built, seen: Seen) -> bool:
        """Whether the commit is there, in whole or in the part that a crash left.

        The record counts as well as the branch, which people may delete: the commits it is about are its parents.
        """
        return (
            seen.marker == built.commit
            or self._refs.contains(seen.branch, built.commit)
            or self._refs.contains(seen.pull, built.commit)
        )

    def _refuse_blocked(self, change: Change, action: ActionRef, seen: Seen) -> None:
        if seen.fence:
            raise ConnectorError("a probe has settled that this action cannot land any more; ask for a new one")
        if isinstance(change, Opening) and (seen.branch or seen.pull):
            raise ConnectorError(f"branch {action.marker} or its record is there already and holds something else")
        if isinstance(change, Revision):
            if seen.marker or not seen.pull:
                raise ConnectorError(f"the record of pull request {change.pull} is missing or holds something else")
            self._refs.refuse_checked_out(change.pull)

    def _moved(self, change: Change, seen: Seen) -> tuple[str, ...]:
        """Compare the reviewed facts with the repository; a sentence for each that differs."""
        if seen.base is None:
            return (f"branch {change.base} is gone",)
        if isinstance(change, Revision):
            if seen.branch != change.head:
                return (f"branch keyturn/{change.pull} is no longer at the reviewed commit {change.head}",)
            if seen.pull and record_at(self._git, seen.pull).closed:
                return (f"the pull request of action {change.pull} has been closed",)
            merged = self._refs.is_ancestor(change.head, seen.base)
            return (f"the pull request has been merged into {change.base}",) if merged else ()
        if not self._refs.is_ancestor(change.base_commit, seen.base):
            return (f"branch {change.base} no longer contains the reviewed commit {change.base_commit}",)
        with self._git.objects() as objects:
            root = objects.root(seen.base)
            changed = [item.path for item in change.files if _state(objects, root, item.path) != item.before]
        return tuple(f"{path} has changed on {change.base} since the review" for path in changed)

    def _transaction(self, change: Change, action: ActionRef, built: Built, seen: Seen) -> Transaction:
        """Return what is still to be written, its objects stored already; no lines when all is there."""
        transaction = Transaction(len(built.commit))
        landed = self._landed(built, seen)
        if not landed:
            store(self._git, built)
            old = change.head if isinstance(change, Revision) else None
            transaction.move(f"refs/heads/{branch_of(change, action)}", built.commit, old)
        record = self._next_record(change, action, built, seen, landed=landed)
        if record:
            store(self._git, record)
            transaction.move(pull_ref(change, action), record.commit, seen.pull)
        if isinstance(change, Revision) and not seen.marker:
            transaction.move(update_ref(action), built.commit, None)
        if not landed:
            transaction.verify(fence_ref(action), None)
            transaction.verify(f"refs/heads/{change.base}", seen.base)  # the head the facts were compared with
        return transaction

    def _next_record(
        self, change: Change, action: ActionRef, built: Built, seen: Seen, *, landed: bool
    ) -> Built | None:
        """Return the record to be written, None when it is there (or was overtaken by a later update)."""
        if isinstance(change, Opening):
            if seen.pull:
                return None
            return build_record(opening_record(change, action, built.commit), change.patch, None, action)
        if not seen.pull or (landed and seen.branch != built.commit):
            return None
        before = record_at(self._git, seen.pull)
        if action.action in before.updates:
            return None
        patch = whole_patch(self._git, before.base_commit, built.commit)
        return build_record(before.updated(action, built.commit), patch, seen.pull, action)

    # probing

    def _probe(self, change: Change, action: ActionRef) -> Landed | CannotHappen | CannotTell:
        try:
            _check(change, action)
            for _ in range(ATTEMPTS):
                answer = self._settle(change, action)
                if answer:
                    return answer
        except ConnectorError as error:
            return CannotTell(str(error))
        return CannotTell("the fence could not be written; something else holds the refs of this action")

    def _settle(self, change: Change, action: ActionRef) -> Landed | CannotHappen | None:
        seen = self._refs.look(change, action)
        # Without branch, record and marker nothing has landed; the commit need not be worked out, which would
        # fail for good once the reviewed base was pushed away and pruned.
        if seen.branch or seen.pull or seen.marker:
            built = build_change(self._git, change, action)
            if self._landed(built, seen):
                transaction = self._transaction(change, action, built, seen)
                unfinished = bool(transaction.lines) and bool(self._refs.commit(transaction))
                return None if unfinished else Landed(branch_of(change, action), built.commit)
        if seen.fence:
            return CannotHappen("it had not landed, and a fence keeps it from landing")
        return self._fence(change, action, seen)

    def _fence(self, change: Change, action: ActionRef, seen: Seen) -> CannotHappen | None:
        note = f"Action {action.action} was probed and had not landed. This ref keeps it from landing late.\n"
        width = self._refs.width()
        fence = Built(commit="", blobs=(note.encode("utf-8"),), trees=(), commits=())
        store(self._git, fence, width)
        transaction = Transaction(width)
        transaction.verify(f"refs/heads/{branch_of(change, action)}", seen.branch)
        transaction.verify(pull_ref(change, action), seen.pull)
        if isinstance(change, Revision):
            transaction.verify(update_ref(action), seen.marker)
        transaction.move(fence_ref(action), object_id("blob", fence.blobs[0], width), None)
        if self._refs.commit(transaction):
            return None
        return CannotHappen("it had not landed, and a fence now keeps it from landing")


def _check(change: Change, action: ActionRef) -> None:
    action_time(action.action)
    if isinstance(change, Revision):
        action_time(change.pull)
    check_base(change.base)
    check_paths([item.path for item in change.files])


def _file(objects: Objects, root: str, path: str) -> File | None:
    entry = locate(objects, root, path)
    if entry is None:
        return None
    return File(state=FileState(entry.oid, f"{entry.mode:o}"), content=objects.read(entry.oid, "blob", MAX_BLOB))


def _state(objects: Objects, root: str, path: str) -> FileState | str | None:
    """Return what stands at a path now; a sentence, equal to no reviewed state, where it became unreachable."""
    try:
        entry = locate(objects, root, path)
    except ConnectorError as error:
        return str(error)
    return FileState(entry.oid, f"{entry.mode:o}") if entry else None
