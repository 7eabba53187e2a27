"""Whether a review or a claim counts, and why not when it does not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from keyturn.approvals.action import Action, Review, Tally, eligible, key_shortfall, status, tallies
from keyturn.approvals.statement import ReviewStatement

SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Counts:
    """The review counts."""


@dataclass(frozen=True, slots=True)
class DoesNotCount:
    """The review is refused; `code` is stable, `reason` a sentence for the reviewer."""

    code: str
    reason: str


Judgement: TypeAlias = Counts | DoesNotCount


def judge_review(
    action: Action, statement: ReviewStatement, review: Review, key_line: str, now: datetime
) -> Judgement:
    """Judge a review whose signature over `statement` verified with the key `key_line`.

    It counts when it is about exactly this action, by a listed and eligible person with that person's own key of the
    class asked for, while the action waits, and newer than that person's last review.
    """
    checks = (
        _about_this(action, statement),
        _in_time(action, statement, now),
        _by_a_listed_person(action, statement, key_line),
        _eligible(action, statement, now),
        _newer(action, statement),
        _key_class(action, statement, review, now),
    )
    return next((DoesNotCount(*found) for found in checks if found is not None), Counts())


_Found: TypeAlias = "tuple[str, str] | None"


def _about_this(action: Action, statement: ReviewStatement) -> _Found:
    if statement.action != action.id:
        return "other_action", f"the statement is about action {statement.action}, not {action.id}"
    if statement.digest != action.digest:
        return "other_digest", f"the statement is for {statement.digest}; this action's digest is {action.digest}"
    return None


def _in_time(action: Action, statement: ReviewStatement, now: datetime) -> _Found:
    state = status(action, now)
    if state not in {"pending", "approved"}:
        return "already_decided", f"the action is {state}: it can no longer be reviewed"
    if action.decision != "hold":
        return "nothing_to_review", "the policy let this action run without a review"
    if statement.at - now > SKEW:
        return "from_the_future", "the statement's time is more than five minutes ahead of the ledger's clock"
    if action.requested_at - statement.at > SKEW:
        return "before_the_request", "the statement is older than the action"
    if action.signed_after is not None and statement.at <= action.signed_after:
        return "before_the_restore", "the statement is older than the restored ledger: review the action anew"
    return None


def _by_a_listed_person(action: Action, statement: ReviewStatement, key_line: str) -> _Found:
    if statement.reviewer == action.asked_by:
        return "asker_excluded", f"{statement.reviewer} asks for it and may not review it"
    if statement.reviewer in action.excluded:
        return "owner_excluded", f"{statement.reviewer} answers for this assistant and may not review what it asks"
    listed = action.reviewers.get(statement.reviewer)
    if listed is None:
        return "not_a_reviewer", f"{statement.reviewer} is not among this action's reviewers"
    if key_line not in listed:
        return "key_not_listed", f"the signing key is not one of {statement.reviewer}'s keys in the policy"
    return None


def _eligible(action: Action, statement: ReviewStatement, now: datetime) -> _Found:
    if any(statement.reviewer in eligible(action, obligation, now) for obligation in action.obligations):
        return None
    return "not_eligible_yet", f"{statement.reviewer} may review only after the escalation that names them"


def _newer(action: Action, statement: ReviewStatement) -> _Found:
    before = [review for review in action.reviews if review.reviewer == statement.reviewer]
    if before and statement.at <= before[-1].signed_at:
        return "not_newer", f"{statement.reviewer} has reviewed this action already with a statement as new as this"
    return None


def _key_class(action: Action, statement: ReviewStatement, review: Review, now: datetime) -> _Found:
    """An approval must count for at least one obligation its reviewer is eligible for by now."""
    if statement.verdict == "reject":
        return None
    shortfalls = [
        key_shortfall(obligation.keys, review)
        for obligation in action.obligations
        if statement.reviewer in eligible(action, obligation, now)
    ]
    if shortfalls and all(shortfalls):
        return "key_class", next(reason for reason in shortfalls if reason)
    return None


def unmet(action: Action, now: datetime) -> tuple[str, ...]:
    """Name every obligation that is not met at `now`, by too few approvals or by rejections; empty means all are."""
    return tuple(sentence for count in tallies(action, now) if (sentence := _lacking(count)) is not None)


def _lacking(count: Tally) -> str | None:
    if len(count.rejected) >= count.obligation.rejects:
        return f"{count.obligation.rule}: rejected by {', '.join(sorted(count.rejected))}"
    if count.missing:
        return f"{count.obligation.rule}: {len(count.approved)} of {count.obligation.quorum} approvals"
    return None
