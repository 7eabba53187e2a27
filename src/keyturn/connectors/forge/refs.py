"""The refs of one action: their names, what they were read as, and a transaction of moves."""

from __future__ import annotations

from dataclasses import dataclass, field

from keyturn.connectors.forge import Change, Opening, Revision
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


@dataclass(frozen=True, slots=True)
class Move:
    """One ref that was `old` (None: absent) and becomes `new` (None: deleted)."""

    ref: str
    new: str | None
    old: str | None


@dataclass(slots=True)
class Transaction:
    """Moves that are made together or not at all, provided that other refs still are as they were read."""

    moves: list[Move] = field(default_factory=list)
    verified: dict[str, str | None] = field(default_factory=dict)

    def verify(self, ref: str, oid: str | None) -> None:
        """Go on only if the ref is still there as read, or still absent."""
        self.verified[ref] = oid

    def move(self, ref: str, new: str, old: str | None) -> None:
        """Set a ref that is `old` (None: absent)."""
        self.moves.append(Move(ref, new, old))

    def delete(self, ref: str, old: str) -> None:
        """Delete a ref that is `old`."""
        self.moves.append(Move(ref, None, old))

    def feed(self, width: int) -> bytes:
        """Return it as `git update-ref --stdin` reads it; a symbolic ref is moved itself, not the one it names."""
        none = "0" * width
        lines = []
        for move in self.moves:
            lines.append("option no-deref")
            verb = f"update {move.ref} {move.new}" if move.new else f"delete {move.ref}"
            lines.append(f"{verb} {move.old or none}")
        lines += [f"verify {ref} {oid or none}" for ref, oid in self.verified.items()]
        return "".join(line + "\n" for line in lines).encode("utf-8")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a transaction did not come through: what was said, and the kind of error that it is if it stays so.

    `final`: another try would end likewise, or must not be made before somebody has looked (kind `unknown`).
    """

    said: str
    kind: str
    final: bool = False
