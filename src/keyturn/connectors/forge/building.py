"""Works out commits to the byte before anything is written, and writes the objects they need."""

from __future__ import annotations

import re
from dataclasses import dataclass

from keyturn.connectors.forge import Change, FileChange, Opening
from keyturn.connectors.forge.objects import REGULAR, TreeEntry, commit_bytes, object_id, tree_bytes, tree_listing
from keyturn.connectors.forge.process import Git
from keyturn.connectors.forge.record import PATCH, RECORD, Record, commit_message
from keyturn.connectors.forge.refs import parent_of
from keyturn.connectors.forge.trees import Tree, rewrite
from keyturn.model.errors import ConnectorError
from keyturn.model.time import action_time
from keyturn.model.tool import ActionRef

FENCE = b"fence.txt"
_AUTHOR = re.compile(r"[^\w .@+-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A commit worked out but not written: its id, and the objects it needs in writing order."""

    commit: str
    blobs: tuple[bytes, ...]
    trees: tuple[Tree, ...]
    commits: tuple[bytes, ...]


def build_change(git: Git, change: Change, action: ActionRef) -> Built:
    """Work out the commit of a change on its parent, whose trees are read."""
    parent = parent_of(change)
    body = change.body if isinstance(change, Opening) else ""
    blobs = tuple(item.content for item in change.files if item.content is not None)
    entries = {item.path: _entry(item, len(parent)) for item in change.files}
    with git.objects() as objects:
        root, trees = rewrite(objects, objects.root(parent), entries)
    message = commit_message(change.title, body, action)
    return _built(message, action, root=root, parents=(parent,), blobs=blobs, trees=tuple(trees))


def build_record(record: Record, patch: str, previous: str | None, action: ActionRef) -> Built:
    """Work out the commit that holds a pull request's record and patch, after the one before it."""
    # the commit the record is about is its parent too, so that git keeps it when the branch is deleted
    parents = (record.commit,) if previous is None else (previous, record.commit)
    blobs = (record.encoded(), patch.encode("utf-8", "surrogateescape"))
    width = len(record.commit)
    names = zip((RECORD, PATCH), blobs, strict=True)
    tree = {name: TreeEntry(REGULAR | 0o644, object_id("blob", blob, width)) for name, blob in names}
    root = object_id("tree", tree_bytes(tree), width)
    message = commit_message(record.title, "", action)
    return _built(message, action, root=root, parents=parents, blobs=blobs, trees=(tree,))


def build_fence(action: str, width: int) -> Built:
    """Work out the commit, without parents, that stands in the marker's place and keeps an action from landing.

    The same one whoever works it out, so that it is recognised by its id. `width` is the length of ids.
    """
    note = f"Action {action} was probed and had not landed. This ref keeps it from landing late.\n"
    blob = note.encode("utf-8")
    tree = {FENCE: TreeEntry(REGULAR | 0o644, object_id("blob", blob, width))}
    root = object_id("tree", tree_bytes(tree), width)
    nobody = ActionRef(action=action, principal="")
    return _built("Fence\n", nobody, root=root, parents=(), blobs=(blob,), trees=(tree,))


def store(git: Git, built: Built, width: int = 0) -> None:
    """Write objects, none of which is reachable before a ref names it; git must give the ids we gave."""
    width = width or len(built.commit)
    for blob in built.blobs:
        _write(git, "blob", blob, width)
    if built.trees:
        feed = b"".join(tree_listing(tree) for tree in built.trees)
        ids = git.run("mktree", "-z", "--batch", "--missing", feed=feed).output.decode("ascii").split()
        _same([object_id("tree", tree_bytes(tree), width) for tree in built.trees], ids)
    for commit in built.commits:
        _write(git, "commit", commit, width)


def author(action: ActionRef) -> tuple[str, str]:
    """Return the name and the mail address that an action's commits are made under."""
    name = _AUTHOR.sub("", action.principal).strip(" .") or "assistant"
    return f"{name} (Keyturn)", "keyturn@keyturn.invalid"


def _write(git: Git, kind: str, body: bytes, width: int) -> None:
    ran = git.run("hash-object", "-w", "-t", kind, "--stdin", feed=body)
    _same([object_id(kind, body, width)], ran.output.decode("ascii").split())


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
) -> Built:
    who = "{} <{}>".format(*author(action))
    commit = commit_bytes(root, parents, who, action_time(action.action), message)
    return Built(commit=object_id("commit", commit, len(root)), blobs=blobs, trees=trees, commits=(commit,))


def _same(expected: list[str], given: list[str]) -> None:
    if expected != given:
        raise ConnectorError("git wrote other objects than were worked out; nothing refers to them")
