"""What a signature covers: DSSE pre-authentication encoding and the envelope that travels.

Source: secure-systems-lab/dsse protocol.md and envelope.md, version 1.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

ENTRY_TYPE = "application/vnd.keyturn.entry.v1+json"
KEY_PROOF_TYPE = "application/vnd.keyturn.key-proof.v1+json"
SNAPSHOT_TYPE = "application/vnd.keyturn.snapshot.v1+json"


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's PAE: `DSSEv1 <len(type)> <type> <len(payload)> <payload>`, lengths in bytes."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


class EnvelopeError(ValueError):
    """A DSSE envelope does not have the form it must have."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One DSSE envelope with one signature: exact body, key id, 64-byte Ed25519 signature."""

    body: bytes
    kid: str
    signature: bytes

    def to_json(self) -> dict[str, object]:
        """Return the envelope as JSON writes it (base64 payload and signature)."""
        return {
            "payloadType": ENTRY_TYPE,
            "payload": base64.b64encode(self.body).decode("ascii"),
            "signatures": [{"keyid": self.kid, "sig": base64.b64encode(self.signature).decode("ascii")}],
        }


def read_envelope(value: Mapping[str, object]) -> Envelope:
    """Read an envelope of an entry. Raises `EnvelopeError` naming the field that is wrong."""
    if value.get("payloadType") != ENTRY_TYPE:
        raise EnvelopeError(f"payloadType is not {ENTRY_TYPE}")
    match value:
        case {"payload": str(payload), "signatures": [{"keyid": str(kid), "sig": str(signature)}]}:
            return Envelope(_strict(payload, "payload"), kid, _strict(signature, "signatures[0].sig"))
    raise EnvelopeError("expected payload and exactly one signature with keyid and sig")


def _strict(text: str, field: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EnvelopeError(f"{field} is not base64: {error}") from error
    if base64.b64encode(data).decode("ascii") != text:
        raise EnvelopeError(f"{field} is not canonical base64")
    return data
