"""Tells how pull requests stand, by their records and branches."""

from __future__ import annotations

from keyturn.connectors.forge import MAX_BLOB, MAX_DIFF, Pull, PullStatus
from keyturn.connectors.forge.batch import Objects
from keyturn.connectors.forge.building import build_fence
from keyturn.connectors.forge.objects import TreeEntry
from keyturn.connectors.forge.process import Git
from keyturn.connectors.forge.record import MAX_RECORD, RECORD, Record, read_record
from keyturn.connectors.forge.repository import Repository
from keyturn.connectors.forge.trees import Difference, compare
from keyturn.model.diff import file_diff
from keyturn.model.errors import ConnectorError
from keyturn.model.time import action_time


def record_at(git: Git, commit: str) -> Record:
    """Read a pull request's record from its commit. Raises `ConnectorError` where there is none."""
    with git.objects() as objects:
        entry = objects.tree(objects.root(commit)).get(RECORD)
        if entry is None:
            raise ConnectorError(f"{commit} is not a pull request's record")
        return read_record(objects.read(entry.oid, "blob", MAX_RECORD))


def read_pull(repository: Repository, forge: str, action: str) -> Pull:
    """Tell how the pull request of an action stands; messages call the repository `forge`."""
    action_time(action)
    here, branch = f"refs/keyturn/pull/{action}", f"refs/heads/keyturn/{action}"
    found = repository.read(here, branch)
    commit, head = found[here], found[branch]
    if commit is None or commit == build_fence(action, len(commit)).commit:
        raise ConnectorError(f"{forge} has no pull request of action {action}")
    record = record_at(repository.git, commit)
    base = repository.read(f"refs/heads/{record.base}")[f"refs/heads/{record.base}"]
    tip = head or record.commit
    for needed in (record.base_commit, tip):
        repository.need(needed)
    merged = base is not None and repository.is_ancestor(tip, base)
    with repository.git.objects() as objects:
        differences = compare(objects, objects.root(record.base_commit), objects.root(tip))
    status: PullStatus = "merged" if merged else "closed" if record.closed else "open" if head else "deleted"
    return Pull(
        title=record.title,
        base=record.base,
        base_commit=record.base_commit,
        branch=f"keyturn/{action}",
        draft=record.draft,
        head=head,
        status=status,
        commits=repository.count(tip, record.base_commit),
        files=tuple(_text(path) for path, _, _ in differences),
        base_moved=base != record.base_commit,
    )


def whole_patch(git: Git, base_commit: str, commit: str) -> str:
    """Return the diff between two commits, or where to look when it is too large to be kept."""
    with git.objects() as objects:
        differences = compare(objects, objects.root(base_commit), objects.root(commit))
        try:
            texts = [_difference_text(objects, difference) for difference in differences]
        except ConnectorError:
            texts = []
    patch = "".join(texts)
    if patch and len(patch) <= MAX_DIFF:
        return patch
    return f"Too large to be kept here; see git diff {base_commit} {commit}\n"


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
