"""Works out a change's commit from the reviewed parent, and has GitHub write exactly that one.

The tree is worked out here first, from the parent's trees. GitHub is then given what differs, and its own tree must
have the same id: what is written is what was reviewed, to the byte, or nothing refers to it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from keyturn.canon import Json
from keyturn.connectors.forge import Change, FileChange, Opening
from keyturn.connectors.forge.github.answers import oid_at
from keyturn.connectors.forge.github.marking import Marks, says
from keyturn.connectors.forge.github.reading import WIDTH, Commit
from keyturn.connectors.forge.objects import TreeEntry, object_id
from keyturn.connectors.forge.record import commit_message
from keyturn.connectors.forge.refs import parent_of
from keyturn.connectors.forge.trees import rewrite
from keyturn.connectors.github import GitHub
from keyturn.model.errors import ConnectorError
from keyturn.model.tool import ActionRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A commit worked out but not written: by what it is recognised on GitHub."""

    base_tree: str
    tree: str
    parent: str
    message: str

    def is_it(self, commit: Commit | None) -> bool:
        """Say whether a commit of GitHub's is this one: tree, parent, and message with the action's trailer."""
        return (
            commit is not None
            and commit.tree == self.tree
            and commit.parents == (self.parent,)
            and says(commit, self.message)
        )


async def work_out(marks: Marks, change: Change, action: ActionRef) -> Made:
    """Work out the commit of a change on its parent; reads alone."""
    parent = parent_of(change)
    base = (await marks.reading.commit(parent)).tree
    entries = {item.path: _entry(item) for item in change.files}
    tree, _ = await marks.reading.walk(lambda trees: rewrite(trees, base, entries))
    body = change.body if isinstance(change, Opening) else ""
    return Made(base_tree=base, tree=tree, parent=parent, message=commit_message(change.title, body, action))


async def write(marks: Marks, made: Made, change: Change, action: ActionRef) -> Commit:
    """Have GitHub write blobs, trees and the commit; nothing refers to them yet.

    https://docs.github.com/en/rest/git/trees#create-a-tree
    """
    entries: list[Json] = [await _given(marks.hub, item) for item in change.files]
    body: dict[str, Json] = {"base_tree": made.base_tree, "tree": entries}
    tree = oid_at((await marks.hub.change("POST", "/git/trees", body=body)).json(), "sha")
    if tree != made.tree:
        raise ConnectorError("GitHub made another tree of the files than was reviewed; nothing refers to it")
    return await marks.write(tree, (made.parent,), made.message, action)


def _entry(change: FileChange) -> TreeEntry | None:
    if change.content is None or change.mode is None:
        return None
    return TreeEntry(int(change.mode, 8), object_id("blob", change.content, WIDTH))


async def _given(hub: GitHub, change: FileChange) -> dict[str, Json]:
    """Return one file as the tree is given it: text as such, other bytes as a blob written before."""
    if change.content is None:
        return {"path": change.path, "mode": "100644", "type": "blob", "sha": None}
    entry: dict[str, Json] = {"path": change.path, "mode": change.mode, "type": "blob"}
    try:
        return {**entry, "content": change.content.decode("utf-8")}
    except UnicodeDecodeError:
        return {**entry, "sha": await _blob(hub, change.content)}


async def _blob(hub: GitHub, content: bytes) -> str:
    """Write a blob. https://docs.github.com/en/rest/git/blobs#create-a-blob"""
    body = {"content": base64.b64encode(content).decode("ascii"), "encoding": "base64"}
    oid = oid_at((await hub.change("POST", "/git/blobs", body=body)).json(), "sha")
    if oid != object_id("blob", content, WIDTH):
        raise ConnectorError("GitHub wrote another file than it was given; nothing refers to it")
    return oid
