"""Reviewing: one person's signed word, checked and made durable; and stopping what waits."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn import canon
from keyturn.approvals.action import Action, status, tallies
from keyturn.approvals.life import reviewed
from keyturn.approvals.statement import REASON_FIELD, ReviewStatement
from keyturn.canon import Json
from keyturn.fold.signatures import SignedReview, check_review
from keyturn.gateway.desk import Desk, Job, Look
from keyturn.gateway.finding import find_beginning
from keyturn.log.commitment import SALT_BYTES, commit, opens
from keyturn.model.errors import Refused

MAX_REASON = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewDraft:
    """A review before it is signed: the statement, and the reason with the salt of its commitment."""

    statement: ReviewStatement
    reason: str
    salt: bytes

    @property
    def to_sign(self) -> bytes:
        """The bytes to sign in the namespace `keyturn.review.v1`."""
        return self.statement.signed_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """A review that counts, and where the action stands with it."""

    action: Action
    status: str
    have: int
    need: int
    seq: int


def find_action(view: Look, action_id: str) -> Action:
    """Return an action that is open or was until lately. Raises `Refused` ("not_found")."""
    action = view.state.actions.get(action_id)
    if action is None:
        if find_beginning(view, action_id) is not None:
            raise Refused("already_decided", f"action {action_id} is over")
        raise Refused("not_found", f"there is no action {action_id}")
    return action


def draft_review(
    desk: Desk, action_id: str, *, reviewer: str, verdict: str, reason: str, digest_prefix: str = ""
) -> ReviewDraft:
    """Draft a review of an action as the ledger has it. `verdict` is "approve" or "reject".

    Raises `Refused` when there is no such action, or when its digest does not begin with `digest_prefix`.
    """
    check_reason(reason, verdict)
    salt = desk.entropy(SALT_BYTES)

    def draft(view: Look) -> ReviewDraft:
        action = find_action(view, action_id)
        check_digest(action.digest, digest_prefix)
        statement = ReviewStatement(
            log=view.head.verifier.origin if view.head.verifier else "",
            action=action.id,
            digest=action.digest,
            verdict=verdict,
            reviewer=reviewer,
            reason=commit(salt, REASON_FIELD, canon.encode(reason)),
            at=_after_own_last(action, reviewer, view.now),
        )
        return ReviewDraft(statement=statement, reason=reason, salt=salt)

    return desk.ledger.look(draft)


def _after_own_last(action: Action, reviewer: str, now: datetime) -> datetime:
    """Return a time later than the reviewer's last statement, which a clock that was ahead may have dated."""
    own = [review.signed_at for review in action.reviews if review.reviewer == reviewer]
    own += [action.signed_after] if action.signed_after else []
    return max([now, *(at + timedelta(microseconds=1) for at in own)])


def submit_review(desk: Desk, draft: ReviewDraft, signature: bytes) -> Reviewed:
    """Record a signed review if it counts. Raises `Refused` with the reason when it does not; nothing is written."""
    return desk.ledger.transact(lambda tx: _record(tx, draft, signature))


def check_digest(digest: str, prefix: str) -> None:
    """Refuse when `prefix` (hex, at least 12 digits, with or without `sha256:`) is not how `digest` begins."""
    wanted = prefix.removeprefix("sha256:").replace(" ", "")
    if not prefix:
        return
    if len(wanted) < 12:
        raise Refused("usage", "--digest needs at least 12 hex digits")
    if not digest.removeprefix("sha256:").startswith(wanted):
        raise Refused("other_digest", f"the action's digest is {digest}, not the one you pinned: look at it again")


def check_reason(reason: str, verdict: str) -> None:
    """Refuse a reason that is too long, that is no text or, for a rejection, missing."""
    if len(reason) > MAX_REASON:
        raise Refused("usage", f"a reason has at most {MAX_REASON} characters")
    try:
        canon.check(reason)
    except canon.CanonError as error:
        raise Refused("usage", f"a reason is text in UTF-8: {error}") from error
    if verdict == "reject" and not reason.strip():
        raise Refused("usage", "a rejection needs a reason: -m REASON")


def _record(tx: Job, draft: ReviewDraft, signature: bytes) -> Reviewed:
    statement = draft.statement
    if tx.head.verifier is None or statement.log != tx.head.verifier.origin:
        raise Refused("other_log", f"the review was signed for another log, {statement.log}")
    words = canon.encode(draft.reason)
    check_reason(draft.reason, statement.verdict)
    if not opens(statement.reason, draft.salt, REASON_FIELD, words):
        raise Refused("other_reason", "the reason is not the one the reviewer signed")
    action = find_action(tx, statement.action)
    review = check_review(action, SignedReview(statement, signature), tx.head.size, tx.now)
    facts: dict[str, Json] = {
        "reviewer": review.reviewer,
        "verdict": review.verdict,
        "key": review.key,
        "statement": statement.to_json(),
        "signature": base64.b64encode(signature).decode("ascii"),
    }
    entry = tx.append(
        "action.reviewed",
        facts,
        action=action.id,
        data={REASON_FIELD: words},
        salts={REASON_FIELD: draft.salt},
    )
    after = reviewed(action, review)
    counts = tallies(after, tx.now)
    return Reviewed(
        action=after,
        status=status(after, tx.now),
        have=sum(min(len(count.approved), count.obligation.quorum) for count in counts),
        need=sum(count.obligation.quorum for count in counts),
        seq=entry.seq,
    )


@dataclass(frozen=True, slots=True)
class Actor:
    """Who stops an action: a principal (its own), or an operating-system account."""

    kind: str
    name: str


def cancel(desk: Desk, action_id: str, by: Actor, reason: str) -> Action:
    """Cancel an action that has not begun. A principal cancels its own; an account any. Raises `Refused`."""
    check_reason(reason, "cancel")

    def job(tx: Job) -> Action:
        if by.kind == "principal" and not _asked_by(tx, action_id, by.name):
            raise Refused("not_found", f"there is no action {action_id}")
        action = find_action(tx, action_id)
        state = status(action, tx.now)
        if state not in {"pending", "approved"}:
            raise Refused("already_decided", f"the action is {state}: it can no longer be cancelled")
        facts: dict[str, Json] = {"by": {"type": by.kind, "name": by.name}}
        tx.append("action.cancelled", facts, action=action.id, data={"cancel.reason": canon.encode(reason)})
        return action

    return desk.ledger.transact(job)


def _asked_by(view: Look, action_id: str, principal: str) -> bool:
    """Say whether a principal asked for an action, over or not: others' are to it as if there were none."""
    begin = find_beginning(view, action_id)
    return begin is not None and begin.facts.get("principal") == principal
