"""Reads a repository's objects through GitHub's git database API, each blob and tree checked against its id.

https://docs.github.com/en/rest/git
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from keyturn.connectors.forge import MAX_BLOB, MAX_SNAPSHOT, File, FileState, Snapshot
from keyturn.connectors.forge.github.answers import count_at, list_at, members, number_at, oid_at, text_at
from keyturn.connectors.forge.names import shown
from keyturn.connectors.forge.objects import FOLDER, LINK, REGULAR, SUBMODULE, TreeEntry, object_id, tree_bytes
from keyturn.connectors.forge.trees import Difference, Trees, compare, locate
from keyturn.connectors.github import GitHub, segment
from keyturn.model.errors import ConnectorError

T = TypeVar("T")

WIDTH = 40
"""Digits of an object id: GitHub's repositories are SHA-1 alone."""
MISSING = frozenset({404})

_MODE = re.compile(r"[0-7]{5,6}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit as GitHub tells it. Its id is GitHub's word; trees and blobs below it are checked."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    message: str


class _Wanted(Exception):
    """A tree that has not been fetched yet."""

    def __init__(self, oid: str) -> None:
        self.oid = oid


@dataclass(slots=True)
class Reading:
    """Reads objects of one repository; trees read once are kept, so make one for each call."""

    hub: GitHub
    _trees: dict[str, dict[bytes, TreeEntry]] = field(default_factory=dict)
    _sizes: dict[str, int] = field(default_factory=dict)

    async def ref(self, name: str) -> str | None:
        """Return the commit of a ref, named without `refs/`, or None where there is no such ref.

        https://docs.github.com/en/rest/git/refs#get-a-reference
        """
        answer = await self.hub.get(f"/git/ref/{segment(name)}", expected=MISSING)
        if answer.status in MISSING:
            return None
        found = answer.json()
        if text_at(found, "ref") != f"refs/{name}" or text_at(found, "object", "type") != "commit":
            raise ConnectorError(f"GitHub shows {shown(name)} as something else than a ref to a commit")
        return oid_at(found, "object", "sha")

    async def branch(self, name: str) -> str | None:
        """Return the head of a branch, or None where there is no such branch."""
        return await self.ref(f"heads/{name}")

    async def commit(self, sha: str) -> Commit:
        """Read a commit. Refused: one that is not there.

        https://docs.github.com/en/rest/git/commits#get-a-commit-object
        """
        answer = await self.hub.get(f"/git/commits/{sha}", expected=MISSING)
        if answer.status in MISSING:
            raise ConnectorError(f"the repository lacks commit {shown(sha)}")
        return commit_in(answer.json())

    async def contains(self, newer: str, older: str) -> bool:
        """Say whether `newer` is `older` or comes after it."""
        if newer == older:
            return True
        found = await self.comparison(older, newer)
        return found is not None and found["status"] in ("ahead", "identical")

    async def comparison(self, base: str, head: str) -> Mapping[str, Any] | None:
        """Return how two commits stand to each other, None where they have nothing in common.

        The second page is asked for: the first one carries the files' diffs, which are not used.
        https://docs.github.com/en/rest/commits/commits#compare-two-commits
        """
        params = {"per_page": "1", "page": "2"}
        answer = await self.hub.get(f"/compare/{base}...{head}", params=params, expected=MISSING)
        if answer.status in MISSING:
            return None
        found = answer.json()
        return {
            "status": text_at(found, "status"),
            "ahead": count_at(found, "ahead_by"),
            "merge_base": oid_at(found, "merge_base_commit", "sha"),
        }

    async def files(self, commit: str, paths: Sequence[str]) -> Snapshot:
        """Read the files at `paths` in a commit; as `Forge.snapshot` says."""
        root = (await self.commit(commit)).tree
        files: dict[str, File | None] = {}
        left = MAX_SNAPSHOT
        for path in paths:
            entry = await self.entry(root, path)
            files[path] = found = await self.file(entry) if entry else None
            left -= len(found.content) if found else 0
            if left < 0:
                raise ConnectorError(f"the files named hold more than {MAX_SNAPSHOT} bytes; name fewer")
        return Snapshot(commit=commit, files=files)

    async def states(self, root: str, paths: Sequence[str]) -> dict[str, FileState | str | None]:
        """Return what stands at each path below a tree; a sentence where something is in the way."""
        states: dict[str, FileState | str | None] = {}
        for path in paths:
            try:
                entry = await self.entry(root, path)
                states[path] = state_of(entry) if entry else None
            except ConnectorError as error:
                if error.kind != "refused":
                    raise
                states[path] = str(error)
        return states

    async def entry(self, root: str, path: str) -> TreeEntry | None:
        """Return the regular file at a path, or None; refused as `locate` refuses."""
        return await self.walk(lambda trees: locate(trees, root, path))

    async def differences(self, old: str, new: str) -> list[Difference]:
        """Return the entries, never folders, that differ between two trees."""
        return await self.walk(lambda trees: compare(trees, old, new))

    async def walk(self, step: Callable[[Trees], T]) -> T:
        """Run a pure function over trees, fetching each tree that it asks for and running it again."""
        while True:
            try:
                return step(_Kept(self._trees))
            except _Wanted as wanted:
                oid = wanted.oid
            self._trees[oid] = await self._tree(oid)

    async def file(self, entry: TreeEntry) -> File:
        """Read the file that a tree's entry names; of a submodule, what git's diffs write for it."""
        if entry.form == SUBMODULE:
            content = f"Subproject commit {entry.oid}\n".encode("ascii")
        else:
            content = await self._blob(entry.oid)
        return File(state=state_of(entry), content=content)

    async def _tree(self, oid: str) -> dict[bytes, TreeEntry]:
        """Read one tree. https://docs.github.com/en/rest/git/trees#get-a-tree"""
        found = members((await self.hub.get(f"/git/trees/{oid}")).json())
        entries: dict[bytes, TreeEntry] = {}
        for item in list_at(found, "tree"):
            entry = TreeEntry(_mode(text_at(item, "mode")), oid_at(item, "sha"))
            entries[text_at(item, "path").encode("utf-8", "surrogatepass")] = entry
            if entry.form == REGULAR and "size" in members(item):
                self._sizes[entry.oid] = number_at(item, "size")
        if found.get("truncated") or object_id("tree", tree_bytes(entries), WIDTH) != oid:
            raise ConnectorError(
                f"GitHub does not show folder {oid} as it is: it is too large, or holds names that are not UTF-8"
            )
        return entries

    async def _blob(self, oid: str) -> bytes:
        """Read one blob. https://docs.github.com/en/rest/git/blobs#get-a-blob"""
        if self._sizes.get(oid, 0) > MAX_BLOB:
            raise ConnectorError(f"object {oid} holds {self._sizes[oid]} bytes; at most {MAX_BLOB} are read")
        found = (await self.hub.get(f"/git/blobs/{oid}")).json()
        content = _decoded(text_at(found, "content"), text_at(found, "encoding"))
        if object_id("blob", content, WIDTH) != oid:
            raise ConnectorError(f"GitHub gave another content for object {oid} than its id says")
        return content


@dataclass(frozen=True, slots=True)
class _Kept:
    """The trees at hand."""

    trees: dict[str, dict[bytes, TreeEntry]]

    def tree(self, oid: str) -> dict[bytes, TreeEntry]:
        found = self.trees.get(oid)
        if found is None:
            raise _Wanted(oid)
        return found


def commit_in(answer: Any) -> Commit:
    """Read a commit from an answer of the git database API."""
    parents = tuple(oid_at(parent, "sha") for parent in list_at(answer, "parents"))
    return Commit(
        sha=oid_at(answer, "sha"),
        tree=oid_at(answer, "tree", "sha"),
        parents=parents,
        message=text_at(answer, "message"),
    )


def state_of(entry: TreeEntry) -> FileState:
    """Return what stands there as plans keep it."""
    return FileState(entry.oid, f"{entry.mode:o}")


def _mode(text: str) -> int:
    mode = int(text, 8) if _MODE.fullmatch(text) else 0
    if mode & 0o170000 in (FOLDER, LINK, SUBMODULE, REGULAR):
        return mode
    raise ConnectorError(f"GitHub shows a file of the unknown mode {shown(text)}")


def _decoded(content: str, encoding: str) -> bytes:
    try:
        if encoding == "base64":
            return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError):
        pass  # told below, as another encoding is
    raise ConnectorError(f"GitHub gave a file in an encoding that cannot be read ({shown(encoding)})")
