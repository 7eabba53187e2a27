"""A repository as landing and closing see it: reading refs, judging ancestry, moving refs in one transaction.

`Repository` is one on this machine. One elsewhere overrides how refs are read, how commits get here, how a
transaction is made, and which ref is the fence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.connectors.forge import Change, Closing, Revision
from keyturn.connectors.forge.building import Built, store
from keyturn.connectors.forge.objects import object_id
from keyturn.connectors.forge.process import Git
from keyturn.connectors.forge.refs import (
    Seen,
    Transaction,
    Trouble,
    branch_of,
    close_ref,
    fence_ref,
    pull_ref,
    update_ref,
)
from keyturn.model.errors import ConnectorError
from keyturn.model.tool import ActionRef


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on this machine, as it is at each call."""

    git: Git

    def read(self, *refs: str) -> Mapping[str, str | None]:
        """Return what exactly these refs name, None for those that do not exist."""
        # rev-parse would go on to `refs/heads/refs/…` when the exact name is missing; for-each-ref does not
        return {ref: self._fact(ref, "objectname") for ref in refs}

    def need(self, commit: str) -> None:
        """See to it that a commit's files can be read, if that can be."""

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Say whether `newer` is `older` or comes after it."""
        return older == newer or self.git.run("merge-base", "--is-ancestor", older, newer, accept=(0, 1)).code == 0

    def contains(self, tip: str | None, commit: str) -> bool:
        """Whether `commit`, which may never have been written, is in the history of `tip`."""
        if tip is None or tip == commit:
            return tip == commit
        with self.git.objects() as objects:
            if not objects.has(commit):
                return False
        return self.is_ancestor(commit, tip)

    def count(self, tip: str, base: str) -> int:
        """Return how many commits `tip` has that `base` has not."""
        return int(self.git.run("rev-list", "--count", tip, f"^{base}").output)

    def look(self, change: Change, action: ActionRef) -> Seen:
        """Read the refs that an action is about."""
        base, branch = f"refs/heads/{change.base}", f"refs/heads/{branch_of(change, action)}"
        pull, fence = pull_ref(change, action), fence_ref(action)
        marker = update_ref(action) if isinstance(change, Revision) else pull
        found = self.read(*dict.fromkeys((base, branch, pull, marker, fence)))
        return Seen(
            base=found[base],
            branch=found[branch],
            pull=found[pull],
            marker=found[marker] if marker != pull else None,
            fence=found[fence],
        )

    def look_at_closing(self, closing: Closing, action: ActionRef) -> Seen:
        """Read the refs that a closing is about; its marker is `close_ref`."""
        base, branch = f"refs/heads/{closing.base}", f"refs/heads/keyturn/{closing.pull}"
        pull, marker, fence = f"refs/keyturn/pull/{closing.pull}", close_ref(action), fence_ref(action)
        found = self.read(base, branch, pull, marker, fence)
        return Seen(
            base=found[base], branch=found[branch], pull=found[pull], marker=found[marker], fence=found[fence]
        )

    def refuse_checked_out(self, pull: str) -> None:
        """Refuse to move a branch under somebody's work tree."""
        if self._fact(f"refs/heads/keyturn/{pull}", "worktreepath"):
            raise ConnectorError(f"branch keyturn/{pull} is checked out in a work tree; switch it away first")

    def width(self) -> int:
        """Return the length of ids in this repository."""
        return 64 if self.git.run("rev-parse", "--show-object-format").output.strip() == b"sha256" else 40

    def unfenced(self, transaction: Transaction, action: ActionRef) -> None:
        """Let a transaction come through only where no probe has fenced the action off."""
        transaction.verify(fence_ref(action), None)

    def fence_off(self, transaction: Transaction, marker: str, action: ActionRef) -> None:
        """Let a transaction keep the action from ever landing; each landing of it would create the ref `marker`."""
        del marker  # here the fence is a ref of its own, and the caller verifies the markers
        width = self.width()
        note = (
            f"Action {action.action} was probed and had not landed. This ref keeps it from landing late.\n".encode()
        )
        store(self.git, Built(commit="", blobs=(note,), trees=(), commits=()), width)
        transaction.move(fence_ref(action), object_id("blob", note, width), None)

    def commit(self, transaction: Transaction) -> Trouble | None:
        """Make a transaction; return why it did not come through, None when it did."""
        self._refuse_configured_hooks()
        feed = transaction.feed(self.width())
        ran = self.git.run("update-ref", "--stdin", feed=feed, accept=(0, 1, 128), late="unknown")
        if ran.code == 0:
            return None
        said = ran.said or f"git update-ref failed ({ran.code})"
        return Trouble(said, "retry" if "File exists" in said or " is at " in said else "refused")

    def _fact(self, ref: str, fact: str) -> str | None:
        # for-each-ref lists a ref before any ref below it
        listing = self.git.run("for-each-ref", "--count=1", f"--format=%(refname)%00%({fact})", ref).output
        found, _, value = listing.rstrip(b"\n").partition(b"\0")
        return value.decode("utf-8", "replace") if found == ref.encode("utf-8") else None

    def _refuse_configured_hooks(self) -> None:
        ran = self.git.run("config", "--name-only", "--get-regexp", r"^hook\.", accept=(0, 1))
        if ran.output:
            raise ConnectorError(
                "the repository's configuration defines hooks (hook.*), which git may run; remove them"
            )
