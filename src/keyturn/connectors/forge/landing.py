"""Lands changes in a git repository, and settles whether they landed: the way of both back ends that speak git.

What an action leaves behind is named in `refs`. The commit is worked out from the plan, to the byte, before anything
is written, so whoever comes later recognises it. All refs move in one transaction, and what a crash left of one is
completed by the next `apply` or probe. Which ref keeps the two apart is up to the `Repository` that is given.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.connectors.forge import (
    MAX_BLOB,
    MAX_SNAPSHOT,
    Change,
    File,
    FileState,
    Landed,
    Opening,
    Revision,
    Snapshot,
)
from keyturn.connectors.forge.batch import Objects
from keyturn.connectors.forge.building import Built, build_change, build_record, store
from keyturn.connectors.forge.names import check_base, check_branch, check_paths, shown
from keyturn.connectors.forge.pulls import record_at, whole_patch
from keyturn.connectors.forge.record import opening_record
from keyturn.connectors.forge.refs import (
    Seen,
    Transaction,
    Trouble,
    branch_of,
    parent_of,
    pull_ref,
    update_ref,
)
from keyturn.connectors.forge.repository import Repository
from keyturn.connectors.forge.trees import locate
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.time import action_time
from keyturn.model.tool import ActionRef

ATTEMPTS = 8
"""Times a transaction is tried again because a ref moved between reading and writing."""


def snapshot(repository: Repository, forge: str, branch: str, paths: Sequence[str]) -> Snapshot:
    """Read a branch's commit and files; as `Forge.snapshot`, with the repository's name for messages."""
    check_branch(branch)
    check_paths(paths)
    ref = f"refs/heads/{branch}"
    commit = repository.read(ref)[ref]
    if commit is None:
        raise ConnectorError(f"{forge} has no branch {shown(branch)}")
    return _files(repository, commit, paths)


def reviewed(repository: Repository, change: Change) -> Snapshot:
    """Read the files a change touches as they stand in its parent; as `Forge.reviewed`."""
    paths = [item.path for item in change.files]
    check_paths(paths)
    return _files(repository, parent_of(change), paths)


def apply(repository: Repository, change: Change, action: ActionRef) -> Landed | Stale:
    """Land the change once, or say what moved; as `Forge.apply`."""
    _check(change, action)
    repository.need(parent_of(change))
    built = build_change(repository.git, change, action)
    trouble: Trouble | None = None
    for _ in range(ATTEMPTS):
        seen = repository.look(change, action)
        if not _landed(repository, built, seen):
            if trouble and trouble.final:
                break
            _refuse_blocked(repository, change, action, seen)
            if moved := _moved(repository, change, seen):
                return Stale(moved)
        transaction = _transaction(repository, change, action, built, seen)
        if not transaction.moves:
            return Landed(branch_of(change, action), built.commit)
        if trouble and trouble.final:
            raise half_done(trouble)
        # A transaction that went through is read back by the next turn, one that did not is judged anew by it.
        trouble = repository.commit(transaction)
    raise not_done("the branch cannot be written", trouble)


def probe(repository: Repository, change: Change, action: ActionRef) -> Landed | CannotHappen | CannotTell:
    """Find the change and complete it, or fence it off; as `Forge.probe`, but raises `ConnectorError`."""
    _check(change, action)
    for _ in range(ATTEMPTS):
        if answer := _settle(repository, change, action):
            return answer
    return CannotTell("the fence could not be written; something else holds the refs of this action")


def half_done(trouble: Trouble) -> ConnectorError:
    """Return the error of a transaction of which a part is there, and the rest is not to be had."""
    return ConnectorError(f"a part of it is there, the rest is not: {trouble.said}", kind="unknown")


def not_done(what: str, trouble: Trouble | None) -> ConnectorError:
    """Return the error of a transaction that was tried to the end; without trouble, reading it back finds nothing."""
    if trouble is None:
        return ConnectorError(f"{what}: it is not there when it is read back", kind="unknown")
    return ConnectorError(f"{what}: {trouble.said}", kind=trouble.kind)


def _files(repository: Repository, commit: str, paths: Sequence[str]) -> Snapshot:
    repository.need(commit)
    with repository.git.objects() as objects:
        root, left = objects.root(commit), MAX_SNAPSHOT
        files: dict[str, File | None] = {}
        for path in paths:
            files[path] = found = _file(objects, root, path)
            left -= len(found.content) if found else 0
            if left < 0:
                raise ConnectorError(f"the files named hold more than {MAX_SNAPSHOT} bytes; name fewer")
    return Snapshot(commit=commit, files=files)


def _landed(repository: Repository, built: Built, seen: Seen) -> bool:
    """Whether the commit is there, in whole or in the part that a crash left.

    The record counts as well as the branch, which people may delete: the commits it is about are its parents.
    """
    return (
        seen.marker == built.commit
        or repository.contains(seen.branch, built.commit)
        or repository.contains(seen.pull, built.commit)
    )


def _refuse_blocked(repository: Repository, change: Change, action: ActionRef, seen: Seen) -> None:
    if seen.fence:
        raise ConnectorError("a probe has settled that this action cannot land any more; ask for a new one")
    if isinstance(change, Opening) and (seen.branch or seen.pull):
        raise ConnectorError(f"branch {action.marker} or its record is there already and holds something else")
    if isinstance(change, Revision):
        if seen.marker or not seen.pull:
            raise ConnectorError(f"the record of pull request {change.pull} is missing or holds something else")
        repository.refuse_checked_out(change.pull)


def _moved(repository: Repository, change: Change, seen: Seen) -> tuple[str, ...]:
    """Compare the reviewed facts with the repository; a sentence for each that differs."""
    if seen.base is None:
        return (f"branch {change.base} is gone",)
    if isinstance(change, Revision):
        return _moved_from_head(repository, change, seen.base, seen)
    if not repository.is_ancestor(change.base_commit, seen.base):
        return (f"branch {change.base} no longer contains the reviewed commit {change.base_commit}",)
    with repository.git.objects() as objects:
        root = objects.root(seen.base)
        changed = [item.path for item in change.files if _state(objects, root, item.path) != item.before]
    return tuple(f"{path} has changed on {change.base} since the review" for path in changed)


def _moved_from_head(repository: Repository, change: Revision, base: str, seen: Seen) -> tuple[str, ...]:
    if seen.branch != change.head:
        return (f"branch keyturn/{change.pull} is no longer at the reviewed commit {change.head}",)
    if seen.pull and record_at(repository.git, seen.pull).closed:
        return (f"the pull request of action {change.pull} has been closed",)
    merged = repository.is_ancestor(change.head, base)
    return (f"the pull request has been merged into {change.base}",) if merged else ()


def _transaction(repository: Repository, change: Change, action: ActionRef, built: Built, seen: Seen) -> Transaction:
    """Return what is still to be written, its objects stored already; no moves when all is there."""
    transaction = Transaction()
    landed = _landed(repository, built, seen)
    if not landed:
        store(repository.git, built)
        old = change.head if isinstance(change, Revision) else None
        transaction.move(f"refs/heads/{branch_of(change, action)}", built.commit, old)
    record = _next_record(repository, change, action, built, seen, landed=landed)
    if record:
        store(repository.git, record)
        transaction.move(pull_ref(change, action), record.commit, seen.pull)
    if isinstance(change, Revision) and not seen.marker:
        transaction.move(update_ref(action), built.commit, None)
    if not landed:
        repository.unfenced(transaction, action)
        transaction.verify(f"refs/heads/{change.base}", seen.base)  # the head the facts were compared with
    return transaction


def _next_record(
    repository: Repository, change: Change, action: ActionRef, built: Built, seen: Seen, *, landed: bool
) -> Built | None:
    """Return the record to be written, None when it is there (or was overtaken by a later update)."""
    if isinstance(change, Opening):
        if seen.pull:
            return None
        return build_record(opening_record(change, action, built.commit), change.patch, None, action)
    if not seen.pull or (landed and seen.branch != built.commit):
        return None
    before = record_at(repository.git, seen.pull)
    if action.action in before.updates:
        return None
    repository.need(before.base_commit)
    patch = whole_patch(repository.git, before.base_commit, built.commit)
    return build_record(before.updated(action, built.commit), patch, seen.pull, action)


def _settle(repository: Repository, change: Change, action: ActionRef) -> Landed | CannotHappen | None:
    seen = repository.look(change, action)
    # Without branch, record and marker nothing has landed; the commit need not be worked out, which would
    # fail for good once the reviewed base was pushed away and pruned.
    if seen.branch or seen.pull or seen.marker:
        repository.need(parent_of(change))
        built = build_change(repository.git, change, action)
        if _landed(repository, built, seen):
            transaction = _transaction(repository, change, action, built, seen)
            unfinished = bool(transaction.moves) and repository.commit(transaction) is not None
            return None if unfinished else Landed(branch_of(change, action), built.commit)
    if seen.fence:
        return CannotHappen("it had not landed, and a fence keeps it from landing")
    return _fence(repository, change, action, seen)


def _fence(repository: Repository, change: Change, action: ActionRef, seen: Seen) -> CannotHappen | None:
    transaction = Transaction()
    transaction.verify(f"refs/heads/{branch_of(change, action)}", seen.branch)
    transaction.verify(pull_ref(change, action), seen.pull)
    marker = pull_ref(change, action)
    if isinstance(change, Revision):
        marker = update_ref(action)
        transaction.verify(marker, seen.marker)
    repository.fence_off(transaction, marker, action)
    if repository.commit(transaction):
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
