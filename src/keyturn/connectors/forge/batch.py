"""Reads objects of a repository by id over one `git cat-file --batch`, each of them checked against its id."""

from __future__ import annotations

from keyturn.connectors.forge.names import shown
from keyturn.connectors.forge.objects import TreeEntry, commit_tree, object_id, parse_tree
from keyturn.connectors.forge.running import Running
from keyturn.model.errors import ConnectorError

MAX_TREE = 8 * 2**20
"""Bytes of a tree, or of a commit, that are read."""


class Damaged(ConnectorError):
    """What should be in a repository is not, or git will not work on it: a copy of it had better be made anew."""


class Objects:
    """Reads objects by id, each one checked against its id."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._trees: dict[str, dict[bytes, TreeEntry]] = {}

    def read(self, oid: str, kind: str, limit: int) -> bytes:
        """Return an object's bytes. Refused: missing, another kind, longer than `limit`, not what its id says."""
        found = self._header(oid)
        if found is None:
            raise Damaged(f"the repository lacks object {oid}")
        actual, size = found
        if size > limit:
            raise ConnectorError(f"object {oid} holds {size} bytes; at most {limit} are read")
        body = self._running.stdout.read(size + 1)[:-1]
        if actual != kind:
            raise ConnectorError(f"object {oid} is a {actual}, not a {kind}")
        if len(body) != size or object_id(kind, body, len(oid)) != oid:
            raise Damaged(f"object {oid} cannot be read whole: {self._why()}")
        return body

    def has(self, oid: str) -> bool:
        """Return whether the repository holds the commit `oid`."""
        found = self._header(oid)
        if found is None:
            return False
        self._running.stdout.read(found[1] + 1)
        return found[0] == "commit"

    def tree(self, oid: str) -> dict[bytes, TreeEntry]:
        """Return a tree's entries by name."""
        if oid not in self._trees:
            self._trees[oid] = parse_tree(self.read(oid, "tree", MAX_TREE), len(oid))
        return self._trees[oid]

    def root(self, commit: str) -> str:
        """Return the id of a commit's tree."""
        return commit_tree(self.read(commit, "commit", MAX_TREE))

    def _header(self, oid: str) -> tuple[str, int] | None:
        if len(oid) not in (40, 64) or not oid.isalnum():
            raise ConnectorError(f"{shown(oid)} is not an object id")
        try:
            self._running.stdin.write(oid.encode("ascii") + b"\n")
            self._running.stdin.flush()
        except BrokenPipeError:
            raise Damaged(f"object {oid} cannot be read: {self._why()}", kind="retry") from None
        line = self._running.stdout.readline(200).split()
        if len(line) == 3 and line[2].isdigit():
            return line[1].decode("ascii", "replace"), int(line[2])
        if line[1:] == [b"missing"]:
            return None
        raise Damaged(f"object {oid} cannot be read: {self._why()}", kind="retry")

    def _why(self) -> str:
        return "git took too long" if self._running.expired else "git fsck in the repository may say more"
