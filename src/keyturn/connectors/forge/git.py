"""A git repository on this machine as a forge, bare or not: refs and objects only, never a work tree or an index.

What an action leaves behind, all of it moved in one ref transaction:

    refs/heads/keyturn/<action>    the branch; its commit is worked out from the plan, to the byte
    refs/keyturn/pull/<action>     the pull request's record and patch (see `record`)
    refs/keyturn/update/<action>   the marker of an update of somebody's earlier pull request: its commit
    refs/keyturn/fence/<action>    written by a probe: this action can land no more

`apply` verifies in its transaction that the fence is absent, and a probe verifies in its own that the markers still
are as it read them. Git takes the locks of all refs named before it changes one, so exactly one of the two comes
through. Git moves the refs of a transaction one after the other: a crash may leave some of them. As all of them are
determined by the plan, the next `apply` recognises its commit and completes the rest.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from keyturn.connectors.forge import (
    MAX_BLOB,
    MAX_DIFF,
    MAX_SNAPSHOT,
    Change,
    File,
    FileChange,
    FileState,
    Landed,
    Opening,
    Pull,
    PullStatus,
    Revision,
    Snapshot,
)
from keyturn.connectors.forge.names import check_base, check_branch, check_paths, shown
from keyturn.connectors.forge.objects import (
    REGULAR,
    TreeEntry,
    commit_bytes,
    object_id,
    tree_bytes,
    tree_listing,
)
from keyturn.connectors.forge.process import Git, Objects
from keyturn.connectors.forge.record import (
    MAX_RECORD,
    PATCH,
    RECORD,
    Record,
    commit_message,
    opening_record,
    read_record,
)
from keyturn.connectors.forge.trees import Difference, Tree, compare, locate, rewrite
from keyturn.model.diff import file_diff
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.plan import Backend
from keyturn.model.time import action_time
from keyturn.model.tool import ActionRef

ATTEMPTS = 8
"""Times a transaction is tried again because a ref moved between reading and writing."""

_AUTHOR = re.compile(r"[^\w .@+-]")


class Settings(BaseModel):
    """`[forge.<name>]` of the wiring: where the repository lies, relative to the home."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    kind: Literal["git"] = "git"
    path: str = Field(min_length=1, max_length=4096)


def build(name: str, settings: Settings, *, home: Path, environment: Mapping[str, str]) -> GitForge:
    """Return the forge called `name`. Raises `ConfigurationError` naming the setting that is wrong."""
    search = environment.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
    program = shutil.which("git", path=search)
    if program is None:
        raise ConfigurationError(f"forge.{name}: there is no git on PATH; install git (2.36 or later)")
    folder = _git_folder(f"forge.{name}.path", home / settings.path)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    """A commit worked out but not written: its id, and the objects it needs in writing order."""

    commit: str
    blobs: tuple[bytes, ...]
    trees: tuple[Tree, ...]
    commits: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The refs of one action as they were read, None where absent."""

    base: str | None
    branch: str | None
    pull: str | None
    marker: str | None
    fence: str | None


@dataclass(slots=True)
class _Transaction:
    """The lines of one `update-ref --stdin`."""

    width: int
    lines: list[str] = field(default_factory=list)

    def verify(self, ref: str, oid: str | None) -> None:
        """Go on only if the ref is still there as read, or still absent."""
        self.lines.append(f"verify {ref} {oid or '0' * self.width}")

    def move(self, ref: str, new: str, old: str | None) -> None:
        """Set a ref that is `old` (None: absent); never through a symbolic ref to another one."""
        self.lines.append("option no-deref")
        self.lines.append(f"update {ref} {new} {old or '0' * self.width}")


class GitForge:
    """One repository; see `Forge` for what each method promises."""

    def __init__(self, name: str, git: Git) -> None:
        self._git = git
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
        return await anyio.to_thread.run_sync(self._pull, action)

    # reading

    def _snapshot(self, branch: str, paths: Sequence[str]) -> Snapshot:
        check_branch(branch)
        check_paths(paths)
        return self._files(self._existing(branch), paths)

    def _reviewed(self, change: Change) -> Snapshot:
        paths = [item.path for item in change.files]
        check_paths(paths)
        return self._files(_parent(change), paths)

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
        commit = self._ref(f"refs/heads/{branch}")
        if commit is None:
            raise ConnectorError(f"{self._identity.name} has no branch {shown(branch)}")
        return commit

    def _ref(self, ref: str, fact: str = "objectname") -> str | None:
        """Return one fact of exactly this ref, None when it does not exist.

        rev-parse would go on to `refs/heads/refs/…` when the exact name is missing; for-each-ref does not, and it
        lists a ref before any ref below it.
        """
        listing = self._git.run("for-each-ref", "--count=1", f"--format=%(refname)%00%({fact})", ref).output
        found, _, value = listing.rstrip(b"\n").partition(b"\0")
        return value.decode("utf-8", "replace") if found == ref.encode("utf-8") else None

    def _is_ancestor(self, older: str, newer: str) -> bool:
        return older == newer or self._git.run("merge-base", "--is-ancestor", older, newer, accept=(0, 1)).code == 0

    def _contains(self, tip: str | None, commit: str) -> bool:
        """Whether `commit`, which may never have been written, is in the history of `tip`."""
        if tip is None or tip == commit:
            return tip == commit
        with self._git.objects() as objects:
            if not objects.has(commit):
                return False
        return self._is_ancestor(commit, tip)

    # applying

    def _apply(self, change: Change, action: ActionRef) -> Landed | Stale:
        _check(change, action)
        built = self._build(change, action)
        trouble = ""
        for _ in range(ATTEMPTS):
            seen = self._look(change, action)
            landed = self._landed(built, seen)
            if not landed:
                self._refuse_blocked(change, action, seen)
                moved = self._moved(change, seen)
                if moved:
                    return Stale(moved)
            transaction = self._transaction(change, action, built, seen)
            if not transaction.lines:
                return Landed(_branch(change, action), built.commit)
            # A transaction that went through is read back by the next turn, one that did not is judged anew by it.
            trouble = self._commit(transaction)
        kind = "retry" if "File exists" in trouble or " is at " in trouble else "refused"
        raise ConnectorError(f"the branch cannot be written: {trouble}", kind=kind)

    def _look(self, change: Change, action: ActionRef) -> _Seen:
        update = isinstance(change, Revision)
        return _Seen(
            base=self._ref(f"refs/heads/{change.base}"),
            branch=self._ref(f"refs/heads/{_branch(change, action)}"),
            pull=self._ref(_pull_ref(change, action)),
            marker=self._ref(_update_ref(action)) if update else None,
            fence=self._ref(_fence_ref(action)),
        )

    def _landed(self, built: _Built, seen: _Seen) -> bool:
        """Whether the commit is there, in whole or in the part that a crash left.

        The record counts as well as the branch, which people may delete: the commits it is about are its parents.
        """
        return (
            seen.marker == built.commit
            or self._contains(seen.branch, built.commit)
            or self._contains(seen.pull, built.commit)
        )

    def _refuse_blocked(self, change: Change, action: ActionRef, seen: _Seen) -> None:
        if seen.fence:
            raise ConnectorError("a probe has settled that this action cannot land any more; ask for a new one")
        if isinstance(change, Opening) and (seen.branch or seen.pull):
            raise ConnectorError(f"branch {action.marker} or its record is there already and holds something else")
        if isinstance(change, Revision):
            if seen.marker or not seen.pull:
                raise ConnectorError(f"the record of pull request {change.pull} is missing or holds something else")
            place = self._ref(f"refs/heads/{_branch(change, action)}", "worktreepath")
            if place:
                raise ConnectorError(
                    f"branch keyturn/{change.pull} is checked out in a work tree; switch it away first"
                )

    def _moved(self, change: Change, seen: _Seen) -> tuple[str, ...]:
        """Compare the reviewed facts with the repository; a sentence for each that differs."""
        if seen.base is None:
            return (f"branch {change.base} is gone",)
        if isinstance(change, Revision):
            if seen.branch != change.head:
                return (f"branch keyturn/{change.pull} is no longer at the reviewed commit {change.head}",)
            merged = self._is_ancestor(change.head, seen.base)
            return (f"the pull request has been merged into {change.base}",) if merged else ()
        if not self._is_ancestor(change.base_commit, seen.base):
            return (f"branch {change.base} no longer contains the reviewed commit {change.base_commit}",)
        with self._git.objects() as objects:
            root = objects.root(seen.base)
            changed = [item.path for item in change.files if _state(objects, root, item.path) != item.before]
        return tuple(f"{path} has changed on {change.base} since the review" for path in changed)

    def _transaction(self, change: Change, action: ActionRef, built: _Built, seen: _Seen) -> _Transaction:
        """Return what is still to be written, its objects stored already; no lines when all is there."""
        transaction = _Transaction(len(built.commit))
        landed = self._landed(built, seen)
        if not landed:
            self._store(built)
            old = change.head if isinstance(change, Revision) else None
            transaction.move(f"refs/heads/{_branch(change, action)}", built.commit, old)
        record = self._next_record(change, action, built, seen, landed=landed)
        if record:
            self._store(record)
            transaction.move(_pull_ref(change, action), record.commit, seen.pull)
        if isinstance(change, Revision) and not seen.marker:
            transaction.move(_update_ref(action), built.commit, None)
        if not landed:
            transaction.verify(_fence_ref(action), None)
            transaction.verify(f"refs/heads/{change.base}", seen.base)  # the head the facts were compared with
        return transaction

    def _next_record(
        self, change: Change, action: ActionRef, built: _Built, seen: _Seen, *, landed: bool
    ) -> _Built | None:
        """Return the record to be written, None when it is there (or was overtaken by a later update)."""
        if isinstance(change, Opening):
            if seen.pull:
                return None
            return self._build_record(opening_record(change, action, built.commit), change.patch, None, action)
        if not seen.pull or (landed and seen.branch != built.commit):
            return None
        before = self._record(seen.pull)
        if action.action in before.updates:
            return None
        patch = self._whole_patch(before.base_commit, built.commit)
        return self._build_record(before.updated(action, built.commit), patch, seen.pull, action)

    def _commit(self, transaction: _Transaction) -> str:
        """Run a transaction; return what git said when it refused, "" when it went through."""
        self._refuse_configured_hooks()
        feed = "".join(line + "\n" for line in transaction.lines).encode("utf-8")
        ran = self._git.run("update-ref", "--stdin", feed=feed, accept=(0, 1, 128), late="unknown")
        return "" if ran.code == 0 else ran.said or f"git update-ref failed ({ran.code})"

    def _refuse_configured_hooks(self) -> None:
        ran = self._git.run("config", "--name-only", "--get-regexp", r"^hook\.", accept=(0, 1))
        if ran.output:
            raise ConnectorError(
                "the repository's configuration defines hooks (hook.*), which git may run; remove them"
            )

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
        seen = self._look(change, action)
        # Without branch, record and marker nothing has landed; the commit need not be worked out, which would
        # fail for good once the reviewed base was pushed away and pruned.
        if seen.branch or seen.pull or seen.marker:
            built = self._build(change, action)
            if self._landed(built, seen):
                transaction = self._transaction(change, action, built, seen)
                unfinished = bool(transaction.lines) and bool(self._commit(transaction))
                return None if unfinished else Landed(_branch(change, action), built.commit)
        if seen.fence:
            return CannotHappen("it had not landed, and a fence keeps it from landing")
        return self._fence(change, action, seen)

    def _fence(self, change: Change, action: ActionRef, seen: _Seen) -> CannotHappen | None:
        note = f"Action {action.action} was probed and had not landed. This ref keeps it from landing late.\n"
        width = len(seen.branch or self._any_id())
        fence = _Built(commit="", blobs=(note.encode("utf-8"),), trees=(), commits=())
        self._store(fence, width)
        transaction = _Transaction(width)
        transaction.verify(f"refs/heads/{_branch(change, action)}", seen.branch)
        transaction.verify(_pull_ref(change, action), seen.pull)
        if isinstance(change, Revision):
            transaction.verify(_update_ref(action), seen.marker)
        transaction.move(_fence_ref(action), object_id("blob", fence.blobs[0], width), None)
        if self._commit(transaction):
            return None
        return CannotHappen("it had not landed, and a fence now keeps it from landing")

    def _any_id(self) -> str:
        return "0" * (64 if self._git.run("rev-parse", "--show-object-format").output.strip() == b"sha256" else 40)

    # building and storing

    def _build(self, change: Change, action: ActionRef) -> _Built:
        parent = _parent(change)
        body = change.body if isinstance(change, Opening) else ""
        blobs = tuple(item.content for item in change.files if item.content is not None)
        entries = {item.path: _entry(item, len(parent)) for item in change.files}
        with self._git.objects() as objects:
            root, trees = rewrite(objects, objects.root(parent), entries)
        message = commit_message(change.title, body, action)
        return _built(message, action, root=root, parents=(parent,), blobs=blobs, trees=tuple(trees))

    def _build_record(self, record: Record, patch: str, previous: str | None, action: ActionRef) -> _Built:
        # the commit the record is about is its parent too, so that git keeps it when the branch is deleted
        parents = (record.commit,) if previous is None else (previous, record.commit)
        blobs = (record.encoded(), patch.encode("utf-8", "surrogateescape"))
        width = len(record.commit)
        names = zip((RECORD, PATCH), blobs, strict=True)
        tree = {name: TreeEntry(REGULAR | 0o644, object_id("blob", blob, width)) for name, blob in names}
        root = object_id("tree", tree_bytes(tree), width)
        message = commit_message(record.title, "", action)
        return _built(message, action, root=root, parents=parents, blobs=blobs, trees=(tree,))

    def _store(self, built: _Built, width: int = 0) -> None:
        """Write objects, none of which is reachable before a ref names it; git must give the ids we gave."""
        width = width or len(built.commit)
        for blob in built.blobs:
            self._write("blob", blob, width)
        if built.trees:
            feed = b"".join(tree_listing(tree) for tree in built.trees)
            ids = self._git.run("mktree", "-z", "--batch", "--missing", feed=feed).output.decode("ascii").split()
            _same([object_id("tree", tree_bytes(tree), width) for tree in built.trees], ids)
        for commit in built.commits:
            self._write("commit", commit, width)

    def _write(self, kind: str, body: bytes, width: int) -> None:
        ran = self._git.run("hash-object", "-w", "-t", kind, "--stdin", feed=body)
        _same([object_id(kind, body, width)], ran.output.decode("ascii").split())

    # pull requests

    def _record(self, commit: str) -> Record:
        with self._git.objects() as objects:
            entry = objects.tree(objects.root(commit)).get(RECORD)
            if entry is None:
                raise ConnectorError(f"{commit} is not a pull request's record")
            return read_record(objects.read(entry.oid, "blob", MAX_RECORD))

    def _pull(self, action: str) -> Pull:
        action_time(action)
        commit = self._ref(f"refs/keyturn/pull/{action}")
        if commit is None:
            raise ConnectorError(f"{self._identity.name} has no pull request of action {action}")
        record = self._record(commit)
        head = self._ref(f"refs/heads/keyturn/{action}")
        tip, base = head or record.commit, self._ref(f"refs/heads/{record.base}")
        merged = base is not None and self._is_ancestor(tip, base)
        with self._git.objects() as objects:
            differences = compare(objects, objects.root(record.base_commit), objects.root(tip))
        status: PullStatus = "merged" if merged else "open" if head else "deleted"
        return Pull(
            title=record.title,
            base=record.base,
            base_commit=record.base_commit,
            branch=f"keyturn/{action}",
            draft=record.draft,
            head=head,
            status=status,
            commits=int(self._git.run("rev-list", "--count", tip, f"^{record.base_commit}").output),
            files=tuple(_text(path) for path, _, _ in differences),
            base_moved=base != record.base_commit,
        )

    def _whole_patch(self, base_commit: str, commit: str) -> str:
        with self._git.objects() as objects:
            differences = compare(objects, objects.root(base_commit), objects.root(commit))
            try:
                texts = [_difference_text(objects, difference) for difference in differences]
            except ConnectorError:
                texts = []
        patch = "".join(texts)
        if patch and len(patch) <= MAX_DIFF:
            return patch
        return f"Too large to be kept here; see git diff {base_commit} {commit}\n"


def _check(change: Change, action: ActionRef) -> None:
    action_time(action.action)
    if isinstance(change, Revision):
        action_time(change.pull)
    check_base(change.base)
    check_paths([item.path for item in change.files])


def _parent(change: Change) -> str:
    return change.base_commit if isinstance(change, Opening) else change.head


def _branch(change: Change, action: ActionRef) -> str:
    return f"keyturn/{change.pull}" if isinstance(change, Revision) else action.marker


def _pull_ref(change: Change, action: ActionRef) -> str:
    return f"refs/keyturn/pull/{change.pull if isinstance(change, Revision) else action.action}"


def _update_ref(action: ActionRef) -> str:
    return f"refs/keyturn/update/{action.action}"


def _fence_ref(action: ActionRef) -> str:
    return f"refs/keyturn/fence/{action.action}"


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


def _entry(change: FileChange, width: int) -> TreeEntry | None:
    if change.content is None or change.mode is None:
        return None
    return TreeEntry(int(change.mode, 8), object_id("blob", change.content, width))


def _built(
    message: str,
    action: ActionRef,
    *,
    root: str,
    parents: tuple[str, ...],
    blobs: tuple[bytes, ...],
    trees: tuple[Tree, ...],
) -> _Built:
    who = f"{_AUTHOR.sub('', action.principal).strip(' .') or 'assistant'} (Keyturn) <keyturn@keyturn.invalid>"
    commit = commit_bytes(root, parents, who, action_time(action.action), message)
    return _Built(commit=object_id("commit", commit, len(root)), blobs=blobs, trees=trees, commits=(commit,))


def _same(expected: list[str], given: list[str]) -> None:
    if expected != given:
        raise ConnectorError("git wrote other objects than were worked out; nothing refers to them")


def _difference_text(objects: Objects, difference: Difference) -> str:
    path, was, now = difference
    old, new = (_bytes(objects, entry) for entry in (was, now))
    return file_diff(
        _text(path), old, new, f"{was.mode:06o}" if was else None, f"{now.mode:06o}" if now else None
    ).text


def _bytes(objects: Objects, entry: TreeEntry | None) -> bytes | None:
    if entry is None:
        return None
    if entry.mode & 0o170000 == 0o160000:
        return f"Subproject commit {entry.oid}\n".encode("ascii")
    return objects.read(entry.oid, "blob", MAX_BLOB)


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
