"""A receipt: one entry as a client keeps it, checked against a log's entry keys."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.log.chain import ChainError, Head, parse, verify_signature
from keyturn.log.entry import Entry
from keyturn.log.envelope import EnvelopeError, read_envelope


class ReceiptError(ValueError):
    """A receipt does not prove what it claims; the message says why."""


def read_receipt(value: Mapping[str, object], head: Head) -> Entry:
    """Check a receipt (a DSSE envelope) against the keys in `head` and return its entry.

    Raises `ReceiptError`. That the log still holds this entry is for the reader of the log to compare.
    """
    try:
        envelope = read_envelope(value)
        entry = parse(-1, envelope.body, envelope.signature)
        verify_signature(head, entry)
    except (EnvelopeError, ChainError) as error:
        raise ReceiptError(str(error)) from error
    if envelope.kid != entry.kid:
        raise ReceiptError("the envelope names another key than the entry")
    return entry
