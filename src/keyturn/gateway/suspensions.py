"""The kill switch: suspending a scope at once, asking what is suspended, and lifting it again, signed."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn import canon
from keyturn.approvals.action import Action
from keyturn.approvals.statement import ActStatement
from keyturn.canon import Json
from keyturn.fold.recovery import REASON
from keyturn.fold.state import State
from keyturn.fold.suspensions import LIFT, POLICY, READ_ONLY, SUSPENDED, Scope, Suspension, lift_digest, stricter
from keyturn.gateway.acts import ActDraft, statement_of
from keyturn.gateway.desk import Desk, Job, Look
from keyturn.gateway.payloads import read_value
from keyturn.gateway.review import Actor, check_reason
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ledger
from keyturn.log.commitment import SALT_BYTES, commit
from keyturn.log.entry import Entry
from keyturn.model.decision import Reason
from keyturn.model.errors import Refused


@dataclass(frozen=True, slots=True)
class Halt:
    """One suspension as people see it, with the words of whoever set it."""

    suspension: Suspension
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Halted:
    """What came of suspending a scope.

    entry      place of the new `suspension.set`, or None when it was suspended as far already
    present    what was suspended before, if anything
    cancelled  actions in it that waited and do not any more
    running    actions in it that have begun: nothing stops these
    waiting    actions in it that go on waiting for it to be lifted, until they expire (read-only mode)
    """

    entry: int | None
    present: Suspension | None
    cancelled: tuple[Action, ...] = ()
    running: tuple[Action, ...] = ()
    waiting: tuple[Action, ...] = ()


def suspended(
    view: Look, *, principal: str, tool: str | None, environment: str | None, governed: bool
) -> Reason | None:
    """Return why a call may not go on because of a suspension, or None.

    `environment` None means that it is not known yet: ask again once it is. `governed` is false for reads, which
    read-only mode lets through. The code is "suspended" or "read_only".
    """
    halting = view.state.suspensions.halting
    present = halting(principal=principal, tool=tool, environment=environment, governed=governed)
    if present is None:
        return None
    words = _words(view, present)
    said = f': "{words}"' if words else ""
    who = "the policy" if present.actor == POLICY else "an operator"
    if present.mode == READ_ONLY:
        return Reason("read_only", f"{present.scope} is read-only at present: {who} stopped all changes{said}")
    return Reason("suspended", f"{who} suspended {present.scope}{said}")


def suspended_action(view: Look, action: Action) -> Reason | None:
    """Return why an action may not begin because of a suspension, or None."""
    return suspended(
        view, principal=action.principal, tool=action.tool, environment=action.environment, governed=True
    )


def suspension_of(view: Look, scope: Scope) -> Suspension:
    """Return the suspension of exactly this scope. Raises `Refused` ("not_found") when there is none."""
    present = view.state.suspensions.of(scope)
    if present is None:
        others = ", ".join(str(other.scope) for other in view.state.suspensions.present()) or "nothing"
        raise Refused("not_found", f"{scope} is not suspended; what is: {others}")
    return present


def suspensions_now(view: Look) -> list[Halt]:
    """Return what is suspended now, oldest first."""
    return [Halt(suspension, _words(view, suspension)) for suspension in view.state.suspensions.present()]


def set_suspension(ledger: Ledger[State], scope: Scope, *, mode: str, by: Actor, reason: str) -> Halted:
    """Suspend a scope (`mode` "suspended" or "read-only") and cancel what waits in it, all in one transaction.

    Read-only mode cancels nothing. A scope that is suspended as far already is left as it is. Raises `Refused` for
    words that are no reason.
    """
    check_reason(reason, "suspend")
    return ledger.transact(lambda tx: halt(tx, scope, mode, by, reason))


def draft_lift(desk: Desk, scope: Scope, *, reason: str, by: str) -> ActDraft:
    """Draft the end of a suspension. Raises `Refused` ("not_found") when the scope is not suspended."""
    check_reason(reason, "resume")
    words, salt = canon.encode(reason), desk.entropy(SALT_BYTES)

    def look(view: Look) -> ActStatement:
        meant = lift_digest(suspension_of(view, scope).digest, commit(salt, REASON, words))
        return statement_of(view, LIFT, scope.subject, meant, by)

    def record(tx: Transaction[State], act: dict[str, Json]) -> Entry:
        suspension_of(tx, scope)
        facts: dict[str, Json] = {"scope": scope.to_json(), "act": act}
        return tx.append("suspension.lifted", facts, data={REASON: words}, salts={REASON: salt})

    return ActDraft(desk.ledger.look(look), record)


def halt(tx: Job, scope: Scope, mode: str, by: Actor, reason: str) -> Halted:
    """Do what `set_suspension` does inside a transaction."""
    before = tx.state.suspensions.of(scope)
    inside = [(action, state) for action, state in tx.state.open_actions(tx.now) if _lies_in(scope, action)]
    begun = tuple(action for action, state in inside if state == "running")
    ready = tuple(action for action, state in inside if state in {"pending", "approved"})
    if not stricter(before, mode):
        return Halted(entry=None, present=before, running=begun)
    who: dict[str, Json] = {"type": by.kind, "name": by.name}
    entry = tx.append(
        "suspension.set",
        {"scope": scope.to_json(), "mode": mode, "by": who},
        data={REASON: canon.encode(reason)} if reason else {},
    )
    if mode != SUSPENDED:
        return Halted(entry=entry.seq, present=before, running=begun, waiting=ready)
    why = f"{scope} was suspended" + (f": {reason}" if reason else "")
    for action in ready:
        tx.append("action.cancelled", {"by": who}, action=action.id, data={"cancel.reason": canon.encode(why)})
    return Halted(entry=entry.seq, present=before, cancelled=ready, running=begun)


def _lies_in(scope: Scope, action: Action) -> bool:
    return scope.covers(action.principal, action.tool, action.environment)


def _words(view: Look, suspension: Suspension) -> str:
    words = read_value(view, view.entry(suspension.seq), REASON)
    return words if isinstance(words, str) else ""
