"""Checking people's words in entries: the SSH signature, whose key it is, and whether it counts here."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn.approvals.action import Action, Review
from keyturn.approvals.judgement import SKEW, DoesNotCount, judge_review
from keyturn.approvals.statement import (
    ACT_NAMESPACE,
    REASON_FIELD,
    REVIEW_NAMESPACE,
    ActStatement,
    ReviewStatement,
    StatementError,
    read_act_statement,
    read_review_statement,
)
from keyturn.canon import Json
from keyturn.log.entry import Entry
from keyturn.log.kinds import ACT
from keyturn.model.errors import Refused
from keyturn.sshsig import SignatureError, verify


@dataclass(frozen=True, slots=True)
class SignedReview:
    """A review statement with the SSHSIG blob over it."""

    statement: ReviewStatement
    signature: bytes


def check_review(action: Action, signed: SignedReview, seq: int, now: datetime) -> Review:
    """Return the review as it counts for `action` at `now`. Raises `Refused` saying why it does not."""
    try:
        signer = verify(signed.statement.signed_bytes, signed.signature, REVIEW_NAMESPACE)
    except SignatureError as error:
        raise Refused("bad_signature", f"the review's signature does not verify: {error.reason}") from error
    review = Review(
        seq=seq,
        reviewer=signed.statement.reviewer,
        verdict=signed.statement.verdict,
        key=signer.key.fingerprint,
        signed_at=signed.statement.at,
        recorded_at=now,
        present=signer.user_present,
        pinned=signer.user_verified,
    )
    match judge_review(action, signed.statement, review, signer.key.line, now):
        case DoesNotCount(code, reason):
            raise Refused(code, reason)
    return review


def read_review(action: Action, entry: Entry) -> Review:
    """Read the review of an `action.reviewed` entry. Raises `Refused` when the entry could not have counted."""
    try:
        statement = read_review_statement(entry.facts["statement"])
    except StatementError as error:
        raise Refused("bad_statement", str(error)) from error
    signed = SignedReview(statement, base64.b64decode(entry.text("signature"), validate=True))
    review = check_review(action, signed, entry.seq, entry.at)
    said = (statement.log, statement.reviewer, statement.verdict, statement.reason, review.key)
    written = (
        entry.log,
        entry.text("reviewer"),
        entry.text("verdict"),
        entry.data.get(REASON_FIELD),
        entry.text("key"),
    )
    if said != written:
        raise Refused("other_facts", "the entry's facts are not those of the signed statement")
    return review


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What an operator's signed act must say to count: its verb, its object, and the digest of its content."""

    verb: str
    object: str
    digest: str


def check_act(
    act: Mapping[str, Json],
    expected: Act,
    *,
    log: str,
    after: int,
    reviewers: Mapping[str, Sequence[str]],
    now: datetime,
) -> ActStatement:
    """Verify an act against the people of the policy in force. Raises `Refused` saying what does not hold.

    `after` is the seq of the activation of the policy in force: an act signed under another policy is void.
    """
    if wrong := ACT(dict(act)):
        raise Refused("bad_statement", wrong)
    value: Mapping[str, Any] = act
    try:
        statement = read_act_statement(value["statement"])
        signer = verify(statement.signed_bytes, base64.b64decode(value["signature"], validate=True), ACT_NAMESPACE)
    except StatementError as error:
        raise Refused("bad_statement", str(error)) from error
    except SignatureError as error:
        raise Refused("bad_signature", f"the signature does not verify: {error.reason}") from error
    if signer.key.line not in reviewers.get(statement.by, ()):
        raise Refused(
            "not_a_reviewer", f"the policy in force lists no reviewer {statement.by!r} with this signing key"
        )
    if signer.user_present is False:
        raise Refused("nobody_present", "the signature says that nobody touched the hardware key")
    _check_statement(statement, expected, log, after, now)
    return statement


def _check_statement(statement: ActStatement, expected: Act, log: str, after: int, now: datetime) -> None:
    said = Act(verb=statement.verb, object=statement.object, digest=statement.digest)
    if statement.log != log:
        raise Refused("other_log", f"the act was signed for another log, {statement.log}")
    if statement.after != after:
        raise Refused(
            "superseded", f"the act was signed after entry {statement.after}; the policy in force is entry {after}"
        )
    if said != expected:
        raise Refused("other_act", f"the signed act says {said}, not {expected}")
    if statement.at - now > SKEW:
        raise Refused("from_the_future", "the act's time is more than five minutes ahead of the ledger's clock")
