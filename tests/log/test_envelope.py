"""Envelopes and receipts: DSSE's encoding, one strict form, and an entry proved from a receipt alone."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from keyturn.log.entry import read_entry
from keyturn.log.envelope import EnvelopeError, pae, read_envelope
from tests.log.receipts import ReceiptError, read_receipt
from tests.vectors.reading import PUBLIC, chain, head_after
from tests.vectors.story import LOG_KEY

ROWS = chain()
HEAD = head_after(ROWS)


def receipt(seq: int = 9) -> dict[str, Any]:
    return dict(json.loads(json.dumps(read_entry(ROWS[seq].body, ROWS[seq].signature).envelope.to_json())))


def signature_of(value: dict[str, Any]) -> dict[str, Any]:
    signature: dict[str, Any] = value["signatures"][0]
    return signature


def test_the_pre_authentication_encoding_is_that_of_dsse() -> None:
    spec = json.loads((PUBLIC / "dsse" / "spec.json").read_text("utf-8"))
    assert pae(spec["payloadType"], spec["payload"].encode()) == spec["pae"].encode()


def test_lengths_are_counted_in_bytes() -> None:
    assert pae("tüp", "ö\n".encode()) == "DSSEv1 4 tüp 3 ö\n".encode()
    assert pae("", b"") == b"DSSEv1 0  0 "


def test_a_receipt_gives_its_entry_back() -> None:
    entry = read_receipt(receipt(), HEAD)
    assert (entry.body, entry.signature, entry.leaf) == (ROWS[9].body, ROWS[9].signature, ROWS[9].leaf)


def test_a_receipt_of_an_entry_by_the_log_key_is_proved_too() -> None:
    assert read_receipt(receipt(0), HEAD).kind == "log.opened"


def test_the_envelope_of_an_entry_is_read_back() -> None:
    entry = read_entry(ROWS[9].body, ROWS[9].signature)
    assert read_envelope(receipt()) == entry.envelope


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda v: v.update(payloadType="text/plain"), "payloadType is not application/vnd"),
        (lambda v: v.pop("payloadType"), "payloadType is not"),
        (lambda v: v.pop("payload"), "expected payload and exactly one signature"),
        (lambda v: v.update(payload=7), "expected payload and exactly one signature"),
        (lambda v: v.update(signatures=[]), "exactly one signature"),
        (lambda v: v["signatures"].append(v["signatures"][0]), "exactly one signature"),
        (lambda v: signature_of(v).pop("keyid"), "with keyid and sig"),
        (lambda v: v.update(payload="e30"), "payload is not base64"),
        (lambda v: v.update(payload="é"), "payload is not base64"),
        (lambda v: v.update(payload="e31="), "payload is not canonical base64"),
        (lambda v: signature_of(v).update(sig="*"), r"signatures\[0\]\.sig is not base64"),
        (lambda v: v.update(payload=base64.b64encode(b"{}").decode()), "kind is missing"),
        (lambda v: signature_of(v).update(sig=base64.b64encode(bytes(64)).decode()), "the signature is not key"),
        (lambda v: signature_of(v).update(sig=""), "the signature is not key"),
        (lambda v: signature_of(v).update(keyid=LOG_KEY.public.kid), "names another key"),
    ],
)
def test_a_receipt_that_was_tampered_with_is_refused(change: Any, reason: str) -> None:
    value = receipt()
    change(value)
    with pytest.raises(ReceiptError, match=reason):
        read_receipt(value, HEAD)


def test_a_receipt_of_another_log_is_refused() -> None:
    stranger = head_after(ROWS[:1])  # knows the log key only
    with pytest.raises(ReceiptError, match="was not added to this log"):
        read_receipt(receipt(), stranger)


def test_an_envelope_may_carry_more_than_we_read() -> None:
    value = receipt() | {"note": "kept by the client"}
    assert read_receipt(value, HEAD).seq == 9
    with pytest.raises(EnvelopeError):
        read_envelope({})
