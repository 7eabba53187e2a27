"""What people sign: statements of reviews and of operators' acts, as canonical bytes.

A signature covers `canon.encode(statement)`, without a newline, in the namespace of its kind (OpenSSH
PROTOCOL.sshsig). Anyone can check key, namespace and bytes with stock `ssh-keygen -Y verify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from keyturn import canon
from keyturn.canon import Json
from keyturn.log.kinds import ACT_STATEMENT, REVIEW_STATEMENT, Check
from keyturn.model.time import format_timestamp, parse_timestamp

REVIEW_NAMESPACE = "keyturn.review.v1"
ACT_NAMESPACE = "keyturn.act.v1"
REASON_FIELD = "review.reason"


class StatementError(ValueError):
    """A statement is not of its form; the message names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewStatement:
    """One person's word on one action: log, action, digest, verdict ("approve" or "reject"), reason commitment."""

    log: str
    action: str
    digest: str
    verdict: str
    reviewer: str
    reason: str
    at: datetime

    def to_json(self) -> dict[str, Json]:
        """Return the statement as written into entries."""
        return {
            "type": "keyturn.review/v1",
            "log": self.log,
            "action": self.action,
            "digest": self.digest,
            "verdict": self.verdict,
            "reviewer": self.reviewer,
            "reason": self.reason,
            "at": format_timestamp(self.at),
        }

    @property
    def signed_bytes(self) -> bytes:
        """The bytes the reviewer signs."""
        return canon.encode(self.to_json())


@dataclass(frozen=True, slots=True, kw_only=True)
class ActStatement:
    """An operator's act that adds authority, bound to the log and to the place `after` in it.

    `object` names what is acted on; `digest` covers the act's content.
    """

    log: str
    after: int
    verb: str
    object: str
    digest: str
    by: str
    at: datetime

    def to_json(self) -> dict[str, Json]:
        """Return the statement as written into entries."""
        return {
            "type": "keyturn.act/v1",
            "log": self.log,
            "after": self.after,
            "verb": self.verb,
            "object": self.object,
            "digest": self.digest,
            "by": self.by,
            "at": format_timestamp(self.at),
        }

    @property
    def signed_bytes(self) -> bytes:
        """The bytes the operator signs."""
        return canon.encode(self.to_json())


def read_review_statement(value: Json) -> ReviewStatement:
    """Read a review statement strictly. Raises `StatementError`."""
    fields = _checked(value, REVIEW_STATEMENT)
    del fields["type"]
    return ReviewStatement(at=parse_timestamp(str(fields.pop("at"))), **{k: str(v) for k, v in fields.items()})


def read_act_statement(value: Json) -> ActStatement:
    """Read an act statement strictly. Raises `StatementError`."""
    fields = _checked(value, ACT_STATEMENT)
    del fields["type"]
    after = fields.pop("after")
    at = parse_timestamp(str(fields.pop("at")))
    texts = {name: str(text) for name, text in fields.items()}
    return ActStatement(after=after if isinstance(after, int) else -1, at=at, **texts)


def _checked(value: Json, form: Check) -> dict[str, Json]:
    if not isinstance(value, Mapping):
        raise StatementError("a statement is an object")
    fields = dict(value)
    if wrong := form(fields):
        raise StatementError(wrong)
    try:
        canon.check(fields)
    except canon.CanonError as error:
        raise StatementError(str(error)) from error
    return fields
