"""What an undo starts from: an action that had an effect, and the call that its plan names as the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keyturn.approvals.action import Action, status
from keyturn.canon import Json
from keyturn.fold.undoing import UNDOING, call_of
from keyturn.gateway.desk import Look
from keyturn.gateway.envelope import result_of
from keyturn.gateway.finding import entries_of, find, find_state
from keyturn.gateway.payloads import read_plan
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused
from keyturn.model.plan import Inverse


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """An action to be undone: its id and digest, and the entries of its request and of its outcome."""

    action: str
    digest: str
    request: int
    outcome: int

    def to_json(self) -> dict[str, Json]:
        """Return it as entries write it."""
        return {"action": self.action, "digest": self.digest, "request": self.request, "outcome": self.outcome}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedUndo:
    """A person who asks for an undo, the salts of the payloads they sign for, and their act once it is signed."""

    by: str
    salts: Mapping[str, bytes]
    act: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """How an action is undone: the governed tool to call for its principal, with these arguments."""

    undone: Undone
    principal: str
    tool: str
    arguments: Mapping[str, Json]


def way_back(view: Look, action_id: str, principal: str | None = None) -> WayBack:
    """Return how to undo an action, for its own `principal` or (None) for a person.

    Raises `Refused`: "not_found" for unknown actions and for another principal's, "not_over" while it may still
    happen, "unknown_outcome", "not_done" where nothing was changed, "no_inverse" with what to do by hand.
    """
    action, state = find_state(view, action_id, principal)
    _require_done(action, state)
    if view.state.undos.forgotten(action.principal, action.id):
        raise Refused("no_inverse", f"so much was undone since action {action.id} that it is undone by hand alone")
    history = entries_of(view, action)
    _require_kept(view, action, history)
    inverse = read_plan(view, history[0]).inverse
    if inverse is None or inverse.tool is None:
        raise Refused("no_inverse", _by_hand(action, inverse))
    return WayBack(
        undone=Undone(action=action.id, digest=action.digest, request=action.seq, outcome=_outcome(history).seq),
        principal=action.principal,
        tool=inverse.tool,
        arguments=call_of(inverse, action.id, result_of(view, history) or {}),
    )


def undo_of(view: Look, action_id: str) -> Action | None:
    """Return the action that undoes another one, or has undone it; None where the way is free for one."""
    known = view.state.undos.of(action_id)
    undoing = None if known is None else find(view, known)
    return undoing if undoing is not None and status(undoing, view.now) in UNDOING else None


def _require_kept(view: Look, action: Action, history: list[Entry]) -> None:
    """Refuse where what tells the way back was erased."""
    needed = ((history[0], "plan"), (history[0], "diff"), (_outcome(history), "outcome"))
    if any(view.erased(entry, field) for entry, field in needed):
        raise Refused("no_inverse", f"what tells the way back from action {action.id} was erased: undo it by hand")


def _require_done(action: Action, state: str) -> None:
    match state:
        case "pending" | "approved":
            text = f"action {action.id} is {state} and has changed nothing yet: cancel it instead"
            raise Refused("not_over", text)
        case "running":
            text = f"action {action.id} is running: wait for its end (get_action, or keyturn action wait), then ask"
            raise Refused("not_over", text)
        case "unknown":
            raise Refused(
                "unknown_outcome",
                f"nobody knows whether action {action.id} happened: it is settled by reading the system, or by "
                "keyturn action resolve; undo it then, if it did",
            )
    if action.effect is not True:
        raise Refused("not_done", f"action {action.id} is {state} and changed nothing: there is nothing to undo")


def _by_hand(action: Action, inverse: Inverse | None) -> str:
    said = f" Its plan says: “{inverse.summary}”" if inverse is not None and inverse.summary else ""
    return f"no call undoes action {action.id} ({action.tool}).{said}"


def _outcome(history: list[Entry]) -> Entry:
    ends = (entry for entry in reversed(history) if entry.kind in {"execution.finished", "execution.resolved"})
    return next(ends)
