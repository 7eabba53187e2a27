"""The refs of one action: their names, reading them, and moving them in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

from keyturn.connectors.forge import Change, Closing, Opening, Revision
from keyturn.connectors.forge.process import Git
from keyturn.model.errors import ConnectorError
from keyturn.model.tool import ActionRef


def parent_of(change: Change) -> str:
    """Return the commit that a change is made on."""
    return change.base_commit if isinstance(change, Opening) else change.head


def branch_of(change: Change, action: ActionRef) -> str:
    """Return the branch, without `refs/heads/`, that an action's change lands on."""
    return f"keyturn/{change.pull}" if isinstance(change, Revision) else action.marker


def pull_ref(change: Change, action: ActionRef) -> str:
    """Return the ref of the pull request's record."""
    return f"refs/keyturn/pull/{change.pull if isinstance(change, Revision) else action.action}"


def update_ref(action: ActionRef) -> str:
    """Return the ref that marks an update as landed."""
    return f"refs/keyturn/update/{action.action}"


def close_ref(action: ActionRef) -> str:
    """Return the ref that marks a closing as done; it names the head that the branch had."""
    return f"refs/keyturn/close/{action.action}"


def fence_ref(action: ActionRef) -> str:
    """Return the ref that keeps an action from landing."""
    return f"refs/keyturn/fence/{action.action}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The refs of one action as they were read, None where absent."""

    base: str | None
    branch: str | None
    pull: str | None
    marker: str | None
    fence: str | None


@dataclass(slots=True)
class Transaction:
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

    def delete(self, ref: str, old: str) -> None:
        """Delete a ref that is `old`; of a symbolic ref the ref itself, not the one it names."""
        self.lines.append("option no-deref")
        self.lines.append(f"delete {ref} {old}")


@dataclass(frozen=True, slots=True)
class Refs:
    """The refs of one repository, as they are at each call."""

    git: Git

    def read(self, ref: str, fact: str = "objectname") -> str | None:
        """Return one fact of exactly this ref, None when it does not exist.

        rev-parse would go on to `refs/heads/refs/…` when the exact name is missing; for-each-ref does not, and it
        lists a ref before any ref below it.
        """
        listing = self.git.run("for-each-ref", "--count=1", f"--format=%(refname)%00%({fact})", ref).output
        found, _, value = listing.rstrip(b"\n").partition(b"\0")
        return value.decode("utf-8", "replace") if found == ref.encode("utf-8") else None

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

    def look(self, change: Change, action: ActionRef) -> Seen:
        """Read the refs that an action is about."""
        update = isinstance(change, Revision)
        return Seen(
            base=self.read(f"refs/heads/{change.base}"),
            branch=self.read(f"refs/heads/{branch_of(change, action)}"),
            pull=self.read(pull_ref(change, action)),
            marker=self.read(update_ref(action)) if update else None,
            fence=self.read(fence_ref(action)),
        )

    def look_at_closing(self, closing: Closing, action: ActionRef) -> Seen:
        """Read the refs that a closing is about; its marker is `close_ref`."""
        return Seen(
            base=self.read(f"refs/heads/{closing.base}"),
            branch=self.read(f"refs/heads/keyturn/{closing.pull}"),
            pull=self.read(f"refs/keyturn/pull/{closing.pull}"),
            marker=self.read(close_ref(action)),
            fence=self.read(fence_ref(action)),
        )

    def refuse_checked_out(self, pull: str) -> None:
        """Refuse to move a branch under somebody's work tree."""
        if self.read(f"refs/heads/keyturn/{pull}", "worktreepath"):
            raise ConnectorError(f"branch keyturn/{pull} is checked out in a work tree; switch it away first")

    def width(self) -> int:
        """Return the length of ids in this repository."""
        return 64 if self.git.run("rev-parse", "--show-object-format").output.strip() == b"sha256" else 40

    def commit(self, transaction: Transaction) -> str:
        """Run a transaction; return what git said when it refused, "" when it went through."""
        self._refuse_configured_hooks()
        feed = "".join(line + "\n" for line in transaction.lines).encode("utf-8")
        ran = self.git.run("update-ref", "--stdin", feed=feed, accept=(0, 1, 128), late="unknown")
        return "" if ran.code == 0 else ran.said or f"git update-ref failed ({ran.code})"

    def _refuse_configured_hooks(self) -> None:
        ran = self.git.run("config", "--name-only", "--get-regexp", r"^hook\.", accept=(0, 1))
        if ran.output:
            raise ConnectorError(
                "the repository's configuration defines hooks (hook.*), which git may run; remove them"
            )
