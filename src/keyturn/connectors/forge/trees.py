"""Walks and rewrites trees by our own checked names: hostile entries of a repository are carried, never followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeAlias

from keyturn.connectors.forge.names import shown
from keyturn.connectors.forge.objects import FOLDER, LINK, REGULAR, SUBMODULE, TreeEntry, object_id, tree_bytes
from keyturn.model.errors import ConnectorError

MAX_COMPARED = 5000
"""Files that a comparison of two trees names."""

Tree: TypeAlias = dict[bytes, TreeEntry]
Difference: TypeAlias = tuple[bytes, TreeEntry | None, TreeEntry | None]


class Trees(Protocol):
    """Where trees are read from."""

    def tree(self, oid: str) -> dict[bytes, TreeEntry]:
        """Return the entries, by name, of the tree that has this id."""
        ...


_FORMS = {FOLDER: "a folder", LINK: "a symbolic link", SUBMODULE: "a submodule", REGULAR: "a file"}


def locate(objects: Trees, root: str, path: str) -> TreeEntry | None:
    """Return the regular file at `path`, or None where nothing stands.

    Refused: a path below a file, link or submodule, and one that is itself a folder, link or submodule.
    """
    *folders, name = path.encode("utf-8").split(b"/")
    tree = objects.tree(root)
    for folder in folders:
        entry = tree.get(folder)
        if entry is None:
            return None
        if entry.form != FOLDER:
            raise ConnectorError(f"path {shown(path)}: lies below {_form(entry)}")
        tree = objects.tree(entry.oid)
    entry = tree.get(name)
    if entry is not None and entry.form != REGULAR:
        raise ConnectorError(f"path {shown(path)}: is {_form(entry)}; only regular files are changed")
    return entry


def rewrite(objects: Trees, root: str, changes: Mapping[str, TreeEntry | None]) -> tuple[str, list[Tree]]:
    """Return the id of `root` with the changes made, and every new tree, inner ones first; writes nothing."""
    made: list[Tree] = []
    split = {tuple(path.encode("utf-8").split(b"/")): entry for path, entry in changes.items()}
    oid = _rewritten(objects, root, split, made, len(root))
    if oid is None:
        made.append({})
        oid = object_id("tree", b"", len(root))
    return oid, made


def compare(objects: Trees, old: str, new: str) -> list[Difference]:
    """Return the entries (never folders) that differ between two trees, by path.

    Refused: more than `MAX_COMPARED`.
    """
    found: list[Difference] = []
    waiting: list[tuple[bytes, str | None, str | None]] = [(b"", old, new)]
    while waiting:
        prefix, left, right = waiting.pop()
        before = objects.tree(left) if left else {}
        after = objects.tree(right) if right else {}
        for name in before.keys() | after.keys():
            was, now = before.get(name), after.get(name)
            if was == now:
                continue
            folders = (_folder(was), _folder(now))
            if any(folders):
                waiting.append((prefix + name + b"/", *folders))
            found.extend(_entries(prefix + name, was, now))
        if len(found) + len(waiting) > MAX_COMPARED:
            raise ConnectorError(f"more than {MAX_COMPARED} files differ; compare them with git")
    return sorted(found, key=lambda item: item[0])


def _rewritten(
    objects: Trees,
    root: str | None,
    changes: Mapping[tuple[bytes, ...], TreeEntry | None],
    made: list[Tree],
    width: int,
) -> str | None:
    """Rewrite one folder; None when nothing is left in it, as git keeps no empty folders."""
    tree = dict(objects.tree(root)) if root else {}
    below: dict[bytes, dict[tuple[bytes, ...], TreeEntry | None]] = {}
    for (name, *rest), entry in changes.items():
        if rest:
            below.setdefault(name, {})[tuple(rest)] = entry
        else:
            _put(tree, name, entry)
    for name, inner in below.items():
        folder = tree.get(name)
        oid = _rewritten(objects, folder.oid if folder else None, inner, made, width)
        _put(tree, name, TreeEntry(FOLDER, oid) if oid else None)
    if not tree:
        return None
    made.append(tree)
    return object_id("tree", tree_bytes(tree), width)


def _put(tree: Tree, name: bytes, entry: TreeEntry | None) -> None:
    if entry is None:
        tree.pop(name, None)
    else:
        tree[name] = entry


def _folder(entry: TreeEntry | None) -> str | None:
    return entry.oid if entry is not None and entry.form == FOLDER else None


def _entries(path: bytes, was: TreeEntry | None, now: TreeEntry | None) -> Iterator[Difference]:
    left = None if _folder(was) else was
    right = None if _folder(now) else now
    if left or right:
        yield path, left, right


def _form(entry: TreeEntry) -> str:
    return _FORMS.get(entry.form, "something unknown")
