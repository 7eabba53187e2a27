"""Closes a pull request of a git repository: its branch deleted, its record saying so, in one ref transaction.

The transaction creates the marker `refs/keyturn/close/<action>`, adds `closed` to the record, deletes the branch at
its reviewed head, and verifies that no probe has fenced the action off. Git makes updates before deletions, "so live
commits remain referenced" (refs/files-backend.c). So a crash may leave the branch behind, but it never takes the
branch without leaving the marker or the record. Either proves the closing, and the next call completes it. Marker and
record keep the branch's commits.
"""

from __future__ import annotations

from keyturn.connectors.forge import Closed, Closing
from keyturn.connectors.forge.building import build_record, store
from keyturn.connectors.forge.landing import ATTEMPTS, half_done, not_done
from keyturn.connectors.forge.names import check_base
from keyturn.connectors.forge.pulls import record_at, whole_patch
from keyturn.connectors.forge.record import Record
from keyturn.connectors.forge.refs import Seen, Transaction, Trouble, close_ref
from keyturn.connectors.forge.repository import Repository
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.time import action_time
from keyturn.model.tool import ActionRef


def close(repository: Repository, closing: Closing, action: ActionRef) -> Closed | Stale:
    """Close the pull request once, or say what moved; as `Forge.close`."""
    _check(closing, action)
    trouble: Trouble | None = None
    for _ in range(ATTEMPTS):
        seen, record = _look(repository, closing, action)
        if not _begun(closing, record, seen, action):
            if trouble and trouble.final:
                break
            _refuse_blocked(closing, record, seen)
            if moved := _moved(repository, closing, record, seen):
                return Stale(moved)
            repository.refuse_checked_out(closing.pull)
        transaction = _transaction(repository, closing, action, record, seen)
        if not transaction.moves:
            return Closed(f"keyturn/{closing.pull}", closing.head)
        if trouble and trouble.final:
            raise half_done(trouble)
        # what went through is read back by the next turn, what did not is judged anew by it
        trouble = repository.commit(transaction)
    raise not_done("the pull request cannot be closed", trouble)


def probe_closing(repository: Repository, closing: Closing, action: ActionRef) -> Closed | CannotHappen | CannotTell:
    """Find the closing and complete it, or fence it off; as `Forge.probe_closing`, but raises `ConnectorError`."""
    _check(closing, action)
    for _ in range(ATTEMPTS):
        if answer := _settle(repository, closing, action):
            return answer
    return CannotTell("the fence could not be written; something else holds the refs of this action")


def _settle(repository: Repository, closing: Closing, action: ActionRef) -> Closed | CannotHappen | None:
    seen, record = _look(repository, closing, action)
    if _begun(closing, record, seen, action):
        transaction = _transaction(repository, closing, action, record, seen)
        unfinished = bool(transaction.moves) and repository.commit(transaction) is not None
        return None if unfinished else Closed(f"keyturn/{closing.pull}", closing.head)
    if seen.fence:
        return CannotHappen("it had not been closed by this action, and a fence keeps it from that")
    return _fence(repository, closing, action, seen)


def _look(repository: Repository, closing: Closing, action: ActionRef) -> tuple[Seen, Record | None]:
    seen = repository.look_at_closing(closing, action)
    return seen, record_at(repository.git, seen.pull) if seen.pull else None


def _begun(closing: Closing, record: Record | None, seen: Seen, action: ActionRef) -> bool:
    """Whether the action closed it, in whole or in the part that a crash left."""
    return seen.marker == closing.head or (record is not None and record.closed == action.action)


def _refuse_blocked(closing: Closing, record: Record | None, seen: Seen) -> None:
    if seen.fence:
        raise ConnectorError("a probe has settled that this action cannot land any more; ask for a new one")
    if record is None or seen.marker:
        raise ConnectorError(f"the record of pull request {closing.pull} is missing or holds something else")


def _moved(repository: Repository, closing: Closing, record: Record | None, seen: Seen) -> tuple[str, ...]:
    if record and record.closed:
        return (f"the pull request of action {closing.pull} has been closed already",)
    if seen.branch != closing.head:
        return (f"branch keyturn/{closing.pull} is no longer at the reviewed commit {closing.head}",)
    merged = seen.base is not None and repository.is_ancestor(closing.head, seen.base)
    return (f"the pull request has been merged into {closing.base}",) if merged else ()


def _transaction(
    repository: Repository, closing: Closing, action: ActionRef, record: Record | None, seen: Seen
) -> Transaction:
    """Return what is still to be done; no moves when all is. A branch that others pushed since is left to them."""
    transaction = Transaction()
    if not _begun(closing, record, seen, action):
        repository.unfenced(transaction, action)
        transaction.verify(f"refs/heads/{closing.base}", seen.base)  # the head that has not merged it
    if record and not record.closed and seen.pull:
        repository.need(record.base_commit)
        patch = whole_patch(repository.git, record.base_commit, closing.head)
        built = build_record(record.closed_by(action, closing.head), patch, seen.pull, action)
        store(repository.git, built)
        transaction.move(f"refs/keyturn/pull/{closing.pull}", built.commit, seen.pull)
    if not seen.marker:
        transaction.move(close_ref(action), closing.head, None)
    if seen.branch == closing.head:
        transaction.delete(f"refs/heads/keyturn/{closing.pull}", closing.head)
    return transaction


def _fence(repository: Repository, closing: Closing, action: ActionRef, seen: Seen) -> CannotHappen | None:
    transaction = Transaction()
    transaction.verify(close_ref(action), seen.marker)
    transaction.verify(f"refs/keyturn/pull/{closing.pull}", seen.pull)
    repository.fence_off(transaction, close_ref(action), action)
    if repository.commit(transaction):
        return None
    return CannotHappen("it had not been closed by this action, and a fence now keeps it from that")


def _check(closing: Closing, action: ActionRef) -> None:
    action_time(action.action)
    action_time(closing.pull)
    check_base(closing.base)
