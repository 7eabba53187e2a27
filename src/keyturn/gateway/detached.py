"""Reviewing away from the home: the request carried out in one file, the signed review carried back in another.

What must hold before a carried request is shown, each by its number in the code:

1. The file has exactly the members of its kind, and every value its form.
2. The entry's body parses strictly and asks for something: its leaf hash is the digest to be signed.
3. Every payload the entry commits to is there, none beside them, and each opens its commitment.

The file cannot prove that the ledger holds this entry: that is judged when the signed review is handed in, for the
digest is the entry's own. So nothing in a forged file can make a review of another action.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn import canon
from keyturn.approvals.statement import REASON_FIELD, ReviewStatement, StatementError, read_review_statement
from keyturn.canon import Json
from keyturn.gateway.desk import Look
from keyturn.gateway.finding import find_beginning
from keyturn.gateway.review import ReviewDraft, check_digest, check_reason
from keyturn.gateway.show import Asked, read_asked
from keyturn.log.commitment import commit, opens
from keyturn.log.entry import Entry, EntryError, read_entry
from keyturn.log.envelope import EnvelopeError, read_envelope
from keyturn.log.kinds import REQUESTS
from keyturn.model.errors import LedgerError, Refused

REQUEST_TYPE = "keyturn.request/v1"
REVIEW_TYPE = "keyturn.signed-review/v1"
MAX_FILE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a person says of a carried request: "approve" or "reject", why, and how the digest they saw begins."""

    reviewer: str
    verdict: str
    reason: str
    digest_prefix: str = ""


def export_request(view: Look, action_id: str) -> bytes:
    """Return the file of a request: its entry as a DSSE envelope, and its payloads with their salts.

    Raises `Refused` ("not_found") when no action was requested under this id.
    """
    entry = find_beginning(view, action_id)
    if entry is None or entry.kind not in REQUESTS:
        raise Refused("not_found", f"there is no request {action_id}: what was refused cannot be reviewed")
    envelope: Any = entry.envelope.to_json()
    value: Json = {
        "type": REQUEST_TYPE,
        "entry": envelope,
        "payloads": {field: _carried(view, entry, field) for field in entry.data},
    }
    return canon.encode(value) + b"\n"


def read_request(data: bytes) -> Asked:
    """Return the request in a file. Raises `Refused` saying what does not hold ("bad_file": it was changed)."""
    value = _object(data, REQUEST_TYPE, {"type", "entry", "payloads"})  # 1
    entry = _read_entry(value["entry"])
    payloads = _opened(entry, value["payloads"])
    try:
        return read_asked(entry, payloads.get)
    except (LedgerError, canon.CanonError, TypeError, KeyError, ValueError) as error:
        raise _bad(f"the payloads do not make up a request: {error}") from error


def draft_detached(asked: Asked, said: Said, *, salt: bytes, at: datetime) -> ReviewDraft:
    """Draft a review of a carried request; `at` is this machine's time. Raises `Refused`."""
    check_reason(said.reason, said.verdict)
    check_digest(asked.action.digest, said.digest_prefix)
    statement = ReviewStatement(
        log=asked.entry.log,
        action=asked.action.id,
        digest=asked.action.digest,
        verdict=said.verdict,
        reviewer=said.reviewer,
        reason=commit(salt, REASON_FIELD, canon.encode(said.reason)),
        at=at,
    )
    return ReviewDraft(statement=statement, reason=said.reason, salt=salt)


def write_signed(draft: ReviewDraft, signature: bytes) -> bytes:
    """Return the file of a signed review."""
    value: Json = {
        "type": REVIEW_TYPE,
        "statement": draft.statement.to_json(),
        "signature": _text(signature),
        "reason": draft.reason,
        "salt": _text(draft.salt),
    }
    return canon.encode(value) + b"\n"


def read_signed(data: bytes) -> tuple[ReviewDraft, bytes]:
    """Return the review in a file, and its signature, both yet to be judged. Raises `Refused`."""
    value = _object(data, REVIEW_TYPE, {"type", "statement", "signature", "reason", "salt"})
    try:
        statement = read_review_statement(value["statement"])
    except StatementError as error:
        raise _bad(f"statement: {error}") from error
    if not isinstance(value["reason"], str):
        raise _bad("reason is not a text")
    draft = ReviewDraft(statement=statement, reason=value["reason"], salt=_bytes(value["salt"], "salt"))
    return draft, _bytes(value["signature"], "signature")


def _carried(view: Look, entry: Entry, field: str) -> Json:
    opening = view.opening(entry, field)
    if opening is None:
        raise LedgerError(f"entry {entry.seq}: payload {field} was erased: the request cannot be carried elsewhere")
    return {"salt": _text(opening[0]), "data": _text(opening[1])}


def _read_entry(value: Json) -> Entry:
    try:
        envelope = read_envelope(value if isinstance(value, Mapping) else {})
        entry = read_entry(envelope.body, envelope.signature)  # 2
    except (EnvelopeError, EntryError) as error:
        raise _bad(f"entry: {error}") from error
    if entry.kind not in REQUESTS:
        raise _bad(f"entry: {entry.kind} asks for nothing")
    return entry


def _opened(entry: Entry, value: Json) -> dict[str, bytes]:
    """Return the payloads, each proved to be what the entry committed to."""
    carried: Mapping[str, Json] = value if isinstance(value, Mapping) else {}
    if set(carried) != set(entry.data):
        raise _bad(f"payloads: there are {_names(carried)}; the entry commits to {_names(entry.data)}")
    return {field: _open(entry, field, carried[field]) for field in entry.data}  # 3


def _open(entry: Entry, field: str, value: Json) -> bytes:
    match value:
        case {"salt": salt, "data": data, **rest} if not rest:
            opening = _bytes(salt, f"payloads.{field}.salt"), _bytes(data, f"payloads.{field}.data")
        case _:
            raise _bad(f"payloads.{field} is not a salt with its data")
    if not opens(entry.data[field], opening[0], field, opening[1]):
        raise _bad(f"payloads.{field} is not what the entry committed to: the file was changed")
    return opening[1]


def _object(data: bytes, kind: str, members: set[str]) -> dict[str, Json]:
    if len(data) > MAX_FILE:
        raise _bad(f"the file has {len(data)} bytes; at most {MAX_FILE} are read")
    try:
        value = canon.parse(data)
    except canon.CanonError as error:
        raise Refused("usage", f"this is no file of the kind {kind}: {error}") from error
    if not isinstance(value, dict) or value.get("type") != kind:
        raise Refused("usage", f"this is no file of the kind {kind}")
    if set(value) != members:
        raise _bad(f"the members are {_names(value)}; expected are {_names(dict.fromkeys(members))}")
    return value


def _names(value: Mapping[str, object]) -> str:
    return ", ".join(sorted(value)) or "none"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(value: Json, where: str) -> bytes:
    try:
        return base64.b64decode(value if isinstance(value, str) else "?", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad(f"{where} is not base64") from error


def _bad(why: str) -> Refused:
    return Refused("bad_file", why)
